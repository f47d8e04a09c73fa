# cmake --install and the .deb: the program, completions, the systemd unit, the documents.
# Included last by the root, once the program's target exists.
include(GNUInstallDirs)
install(TARGETS tokenworks RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES packaging/completions/tokenworks.bash
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME tokenworks)
install(FILES packaging/completions/_tokenworks DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES packaging/tokenworks.service DESTINATION lib/systemd/system)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY data/planner DESTINATION ${CMAKE_INSTALL_DATADIR}/tokenworks)  # to read: the program holds them

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tokenworks)
set(CPACK_PACKAGE_VENDOR "The Tokenworks authors")
set(CPACK_PACKAGE_CONTACT "The Tokenworks authors <authors@tokenworks.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "server for open language models on CPUs")
set(CPACK_PACKAGE_DESCRIPTION "Serves GGUF and Hugging Face models over an OpenAI-compatible HTTP interface, with
batching, a paged KV cache, constrained output and a page for the browser. One program; needs no Python to serve.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)            # asks dpkg-shlibdeps (package dpkg-dev) what the program links
set(CPACK_DEBIAN_PACKAGE_DEPENDS "ca-certificates")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "python3-pip")  # only for `tokenworks pull pip:...`
include(CPack)
