#!/usr/bin/env python3
"""Builds the .deb and checks what a machine would get: files, dependencies, and that the program in it starts.

usage: package_test.py BUILD_DIR
"""

import glob
import os
import subprocess
import sys
import tempfile
import unittest

FILES = [
    "./usr/bin/tokenworks",
    "./usr/lib/systemd/system/tokenworks.service",
    "./usr/share/bash-completion/completions/tokenworks",
    "./usr/share/zsh/vendor-completions/_tokenworks",
    "./usr/share/doc/tokenworks/copyright",
]
LIBRARIES = ["libc6", "libstdc++6", "libssl3", "libcurl4", "libpcre2-8-0", "libzip4", "libedit2"]


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        config = os.path.join(BUILD, "CPackConfig.cmake")
        done = subprocess.run(["cpack", "--config", config, "-G", "DEB", "-B", cls.folder.name],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"cpack failed:\n{done.stdout}{done.stderr}")
        cls.deb = glob.glob(os.path.join(cls.folder.name, "*.deb"))[0]

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_files(self):
        entries = {line.split()[5]: line.split()[:2] for line in output("dpkg-deb", "-c", self.deb).splitlines()}
        for path in FILES:
            self.assertIn(path, entries)
        self.assertEqual(entries["./usr/bin/tokenworks"][0], "-rwxr-xr-x")
        for path, (mode, owner) in entries.items():
            self.assertEqual(owner, "root/root", path)
            self.assertNotEqual(mode[8], "w", f"{path} is writable by everyone")
            self.assertTrue(path == "./" or path.startswith("./usr/"), path)

    def test_depends_on_what_it_links(self):
        depends = output("dpkg-deb", "-f", self.deb, "Depends")
        names = {entry.split()[0] for entry in depends.split(",")}
        for library in LIBRARIES:
            self.assertIn(library, names)
        self.assertFalse([n for n in names if n.endswith("-dev") or "test" in n], depends)

    def test_the_program_in_it_starts(self):
        with tempfile.TemporaryDirectory() as root:
            output("dpkg-deb", "-x", self.deb, root)
            text = output(os.path.join(root, "usr/bin/tokenworks"), "--help")
        for verb in ("serve", "run", "pull", "inspect"):
            self.assertIn(verb, text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    BUILD = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
