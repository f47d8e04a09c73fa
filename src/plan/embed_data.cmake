# cmake -DOUT=shipped_data.cc -DDIR=data/planner -P embed_data.cmake
# Writes a C++ file that holds each CSV file of the planner as a raw string literal.
file(GLOB_RECURSE names RELATIVE ${DIR} ${DIR}/*.csv)
file(WRITE ${OUT} "// Made by embed_data.cmake from data/planner.\n#include \"plan/shipped.h\"\n\nnamespace tw::plan {\nnamespace {\n\n")
set(number 0)
set(list "")
foreach(name ${names})
  file(READ ${DIR}/${name} content)
  file(APPEND ${OUT} "const char kFile${number}[] = R\"csv(${content})csv\";\n")
  # By sizeof: a string_view would count the characters of a constant at compile time.
  string(APPEND list "    {\"${name}\", {kFile${number}, sizeof(kFile${number}) - 1}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(APPEND ${OUT} "\nconst ShippedFile kFiles[] = {\n${list}};\n\n}  // namespace\n\nstd::span<const ShippedFile> shipped_files() { return kFiles; }\n\n}  // namespace tw::plan\n")
