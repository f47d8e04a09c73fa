#!/usr/bin/env python3
"""scripts/setup against stand-ins of dpkg-query, apt-get, id and sudo: what it asks for, and when it stops.

usage: setup_test.py
"""

import os
import subprocess
import tempfile
import unittest

SETUP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scripts", "setup")
# Every stand-in notes its call in $LOG. dpkg-query knows the packages in $HAVE, or all if that is "all".
STAND_INS = {
    "dpkg-query": 'for p in "${@:3}"; do if [[ $HAVE == all || " $HAVE " == *" $p "* ]]; then echo "$p installed"; '
                  'else echo "$p not-installed"; fi; done',
    "id": 'echo "${UID_NOW:-0}"',
    "sudo": 'if [[ $1 == -n ]]; then exit "${SUDO_STATUS:-0}"; fi; exec "$@"',
    "apt-get": 'case " $* " in\n'
               '  *" -s "*) n=$(grep -c "^apt-get -s" "$LOG"); [[ $n -le ${SIMULATE_FAILS:-0} ]] && echo "E: none" && exit 100;\n'
               '            echo "Inst x"; echo "${SIMULATED:-}";;\n'
               '  *" update "*) exit "${UPDATE_STATUS:-0}";;\n'
               '  *" install "*) n=$(grep -c "no-remove" "$LOG"); [[ $n -le ${INSTALL_FAILS:-0} ]] && exit 100;;\n'
               'esac\nexit 0',
}
TOOLS = ["bash", "env", "awk", "tail", "sed", "grep", "node", "npm", "cat"]


class Setup(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.bin = os.path.join(self.scratch.name, "bin")
        self.log = os.path.join(self.scratch.name, "log")
        os.mkdir(self.bin)
        open(self.log, "w", encoding="utf-8").close()
        for name, body in STAND_INS.items():
            self.write(name, f'echo "{name} $*" >>"$LOG"\n{body}\n')
        for name in TOOLS:
            self.write(name, "") if name in ("node", "npm") else os.symlink(f"/usr/bin/{name}", os.path.join(self.bin, name))

    def tearDown(self):
        self.scratch.cleanup()

    def write(self, name, body):
        path = os.path.join(self.bin, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/bash\n" + body)
        os.chmod(path, 0o755)

    def run_setup(self, *arguments, **environment):
        """(status, all output, the calls made)"""
        env = {"PATH": self.bin, "LOG": self.log, "HAVE": "", **environment}
        done = subprocess.run(["/bin/bash", SETUP, *arguments], env=env, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        with open(self.log, encoding="utf-8") as file:
            return done.returncode, done.stdout, file.read()

    def test_does_nothing_when_all_is_there(self):
        status, out, calls = self.run_setup("check", HAVE="all", UID_NOW="1000")
        self.assertEqual(status, 0)
        self.assertIn("nothing to do", out)
        self.assertNotIn("apt-get", calls)
        self.assertNotIn("sudo", calls)

    def test_installs_only_what_is_missing_and_never_removes(self):
        status, out, calls = self.run_setup("run", HAVE="g++ cmake")
        self.assertEqual(status, 0, out)
        install = [line for line in calls.splitlines() if "--no-remove" in line]
        self.assertEqual(len(install), 1)
        self.assertIn("libboost-dev", install[0])
        self.assertNotIn("g++", install[0].split())
        self.assertNotIn("libgtest-dev", install[0])
        self.assertNotIn(" update", calls)

    def test_sets_grow(self):
        _, out, _ = self.run_setup("test")
        self.assertIn("libgtest-dev", out)
        self.assertNotIn("clang-19", out)
        _, out, _ = self.run_setup("check")
        self.assertIn("clang-tidy-19", out)
        self.assertNotIn("nodejs", out)  # node is there, though not from Debian

    def test_stops_when_apt_would_remove(self):
        status, out, calls = self.run_setup("run", SIMULATED="Remv libboost1.81-dev [1.81]")
        self.assertNotEqual(status, 0)
        self.assertIn("libboost1.81-dev", out)
        self.assertNotIn("--no-remove", calls)

    def test_refreshes_the_lists_when_they_lack_a_package(self):
        status, out, calls = self.run_setup("run", SIMULATE_FAILS="1")
        self.assertEqual(status, 0, out)
        self.assertIn(" update", calls)

    def test_refreshes_the_lists_when_they_are_stale(self):
        status, out, calls = self.run_setup("run", INSTALL_FAILS="1")
        self.assertEqual(status, 0, out)
        self.assertEqual(calls.count("--no-remove"), 2)

    def test_says_so_without_a_network(self):
        status, out, _ = self.run_setup("run", SIMULATE_FAILS="9", UPDATE_STATUS="100")
        self.assertNotEqual(status, 0)
        self.assertIn("network", out)
        self.assertIn("libboost-dev", out)

    def test_says_what_to_run_without_root_or_sudo(self):
        os.remove(os.path.join(self.bin, "sudo"))
        status, out, calls = self.run_setup("run", UID_NOW="1000")
        self.assertNotEqual(status, 0)
        self.assertIn("As root, run: apt-get install", out)
        self.assertNotIn("apt-get -s", calls)

    def test_does_not_hang_on_a_password(self):
        status, out, _ = self.run_setup("run", UID_NOW="1000", SUDO_STATUS="1")
        self.assertNotEqual(status, 0)
        self.assertIn("password", out)

    def test_goes_through_sudo(self):
        status, out, calls = self.run_setup("run", UID_NOW="1000")
        self.assertEqual(status, 0, out)
        self.assertIn("sudo env DEBIAN_FRONTEND=noninteractive apt-get", calls)

    def test_says_so_on_another_system(self):
        os.remove(os.path.join(self.bin, "apt-get"))
        status, out, _ = self.run_setup("run")
        self.assertNotEqual(status, 0)
        self.assertIn("not a Debian system", out)

    def test_refuses_an_unknown_set(self):
        status, out, calls = self.run_setup("everything")
        self.assertNotEqual(status, 0)
        self.assertIn("run, test or check", out)
        self.assertEqual(calls, "")


if __name__ == "__main__":
    unittest.main()
