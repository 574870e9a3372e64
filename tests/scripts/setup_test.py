"""scripts/setup.sh, run.sh and test.sh with every tool that they start replaced by one that notes how it was called.

The scripts are copied beside their inputs, so nothing here installs, builds or downloads.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = (ROOT / "scripts" / "debian-packages.txt").read_text().split()
OF_TESTS = (ROOT / "scripts" / "debian-packages-tests.txt").read_text().split()

NOTE = '#!/bin/sh\necho "$(basename "$0") $*" >>"$CALLS"\n'
TOOLS = {
    # Prints the packages that are installed, as dpkg-query does.
    "dpkg-query": "#!/bin/sh\nfor name in $INSTALLED; do echo \"ii  $name\"; done\n",
    "apt-get": NOTE + 'case "$*" in *"$APT_FAILS"*) echo "E: no such package"; exit 100;; esac\n',
    "id": '#!/bin/sh\necho "$WHO"\n',
    "sudo": '#!/bin/sh\nif [ "$1" = -n ]; then exit "$SUDO_ASKS"; fi\necho "sudo" >>"$CALLS"\nexec "$@"\n',
    # Makes the environment's own python and pip; `-c` asks for the version, or where the embedded model is.
    "python3": NOTE + """case "$1" in
-c) case "$2" in *version_info*) exit "$PYTHON_IS_OLD";; esac; echo "$MODEL_PACKAGE";;
--version) echo "Python 3.9.2";;
-m) for last; do :; done; mkdir -p "$last/bin" "$last/lib/python3.11/site-packages"
    cp "$0" "$last/bin/python"; printf '%s' '""" + NOTE + """' >"$last/bin/pip"; chmod +x "$last/bin/pip";;
esac
""",
    "cmake": NOTE + 'for word; do if [ "$before" = -B ]; then build=$word; fi; before=$word; done\n'
    'mkdir -p "$build"; echo "$*" >"$build/build.ninja"\n'
    'case "$*" in *TESTS=ON*) echo DTRAIN_TESTS:BOOL=ON;; *) echo DTRAIN_TESTS:BOOL=OFF;; esac >"$build/CMakeCache.txt"\n',
    "ninja": """#!/bin/sh
case "$*" in *" -n "*) if [ -e "$2/built" ]; then echo "ninja: no work to do."; fi; exit 0;; esac
echo "ninja $*" >>"$CALLS"
if [ -n "$NINJA_FAILS" ]; then echo "error: it does not compile"; exit 1; fi
touch "$2/built"; mkdir -p "$2/data"
printf '#!/bin/sh\\nmkdir -p "$2"; echo rows >"$2/train.tsv"\\n' >"$2/data/dtrain_import_wordnet"
chmod +x "$2/data/dtrain_import_wordnet"
""",
    "mpirun": NOTE,
    "ctest": NOTE,
}


class Tree:
    """A copy of the scripts in a folder of their own, and the calls that they have made."""

    def __init__(self, folder):
        self.folder = folder / "a tree"
        (self.folder / "scripts").mkdir(parents=True)
        for script in ("setup.sh", "run.sh", "test.sh", "debian-packages.txt", "debian-packages-tests.txt"):
            shutil.copy(ROOT / "scripts" / script, self.folder / "scripts" / script)
        for name in ("requirements.txt", "requirements-adapters.txt"):
            shutil.copy(ROOT / name, self.folder / name)
        tools = folder / "tools"
        tools.mkdir()
        for name, text in TOOLS.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        package = folder / "package"
        (package / "model" / "1_Pooling").mkdir(parents=True)
        for name in ("README.md", "config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json",
                     "tokenizer_config.json", "vocab.txt", "1_Pooling/config.json"):
            (package / "model" / name).write_text(name)
        # The sums of what the stand-ins make.
        made = subprocess.run(["sha256sum"], input=b"rows\n", capture_output=True, check=True).stdout.split()[0].decode()
        (self.folder / "scripts" / "share.sha256").write_text(f"{made}  tasks/wordnet/train.tsv\n")
        self.calls_file = folder / "calls"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DTRAIN_")}
        self.environment = kept | {
            "PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(self.calls_file), "INSTALLED": " ".join(PACKAGES + OF_TESTS),
            "MODEL_PACKAGE": str(package), "WHO": "0", "APT_FAILS": "nothing of this", "SUDO_ASKS": "1",
            "PYTHON_IS_OLD": "0", "NINJA_FAILS": "", "PYTHON": "python3"}

    def run(self, script="setup.sh", *arguments, **environment):
        """Exit code and standard error; the calls of this run are in `calls`."""
        self.calls_file.write_text("")
        ended = subprocess.run([self.folder / "scripts" / script, *arguments], env=self.environment | environment,
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.calls = self.calls_file.read_text().splitlines()
        return ended.returncode, ended.stderr

    def called(self, tool):
        return [call for call in self.calls if call.split()[0] == tool]


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_missing_packages_are_installed_and_named(tree):
    installed = " ".join(PACKAGES[2:])
    code, said = tree.run(INSTALLED=installed)
    assert code == 0, said
    assert tree.called("apt-get") == ["apt-get update",
                                      f"apt-get install -y --no-install-recommends {' '.join(PACKAGES[:2])}"]
    assert f"installing Debian packages: {' '.join(PACKAGES[:2])} ..." in said


def test_what_the_tests_alone_need_is_installed_for_them_alone(tree):
    assert OF_TESTS and not set(OF_TESTS) & set(PACKAGES)
    assert tree.run(INSTALLED=" ".join(PACKAGES))[0] == 0 and tree.called("apt-get") == []
    assert tree.run("setup.sh", "--tests", INSTALLED=" ".join(PACKAGES))[0] == 0
    assert tree.called("apt-get")[1:] == [f"apt-get install -y --no-install-recommends {' '.join(OF_TESTS)}"]


def test_a_user_with_sudo_installs_through_it(tree):
    code, said = tree.run(INSTALLED="", WHO="1000", SUDO_ASKS="0")
    assert code == 0, said
    assert tree.calls[:2] == ["sudo", "apt-get update"] and tree.calls[2] == "sudo"


def test_a_user_without_sudo_is_told_the_one_line_to_run(tree):
    code, said = tree.run(INSTALLED=" ".join(PACKAGES[1:]), WHO="1000")
    assert code == 1 and tree.calls == []
    assert f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {PACKAGES[0]}\n" in said


def test_a_package_that_cannot_be_installed_ends_it_with_what_apt_said(tree):
    code, said = tree.run(INSTALLED="", APT_FAILS="install")
    assert code == 1 and tree.called("python3") == []
    assert "E: no such package" in said and "failed: installing Debian packages" in said


def test_an_old_python_is_refused_naming_what_was_found(tree):
    code, said = tree.run(PYTHON_IS_OLD="1")
    assert code == 1 and "expected Python 3.11 or newer, found Python 3.9.2" in said
    assert not (tree.folder / ".venv").exists()


def test_the_second_run_does_nothing_and_says_nothing(tree):
    for arguments in ([], ["--tests"]):
        code, said = tree.run("setup.sh", *arguments)
        assert code == 0 and said, said
        code, said = tree.run("setup.sh", *arguments)
        assert (code, said) == (0, "")
        assert tree.calls == []
    # The build tree that has the tests keeps them.
    assert tree.run() == (0, "")


def test_a_build_that_fails_is_said_and_tried_again(tree):
    code, said = tree.run(NINJA_FAILS="1")
    assert code == 1 and "error: it does not compile" in said and "failed: building" in said
    code, said = tree.run()
    assert code == 0 and tree.called("ninja") != [] and tree.called("cmake") == []


def test_data_with_another_sum_is_refused(tree):
    (tree.folder / "scripts" / "share.sha256").write_text(f"{'0' * 64}  tasks/wordnet/train.tsv\n")
    for _ in range(2):
        code, said = tree.run()
        assert code == 1 and "failed: checking the embedded model and task" in said and "train.tsv" in said


def test_new_requirements_are_installed(tree):
    assert tree.run()[0] == 0
    with open(tree.folder / "requirements.txt", "a", encoding="utf-8") as file:
        file.write("\n")
    assert tree.run()[0] == 0
    assert [call for call in tree.called("pip") if "install" in call] != []


def test_run_starts_dtrain_on_the_ranks_that_are_asked_for(tree):
    code, said = tree.run("run.sh", "compare", "--methods", "full,lora:r=4", DTRAIN_RANKS="3")
    assert code == 0, said
    assert tree.called("mpirun") == [f"mpirun -np 3 {tree.folder}/build/dtrain compare --methods full,lora:r=4"]
    assert tree.run("run.sh")[0] == 0
    assert tree.called("mpirun") == [f"mpirun -np 2 {tree.folder}/build/dtrain"]


def test_test_builds_the_tests_and_starts_ctest(tree):
    code, said = tree.run("test.sh", "-L", "model")
    assert code == 0, said
    assert "DTRAIN_TESTS=ON" in tree.called("cmake")[0]
    assert tree.called("ctest")[0].startswith(f"ctest --test-dir {tree.folder}/build ")
    assert tree.called("ctest")[0].endswith(" -L model")
