"""scripts/fuzz.sh with stand-ins for the compiler, the build and the fuzzers, and that every target is built and has inputs."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILER = """#!/bin/sh
case "$1" in --version) echo "a clang";; *) cat >/dev/null; [ -z "$NO_FUZZER" ] || { echo "no libFuzzer" >&2; exit 1; };; esac
"""
NOTE = '#!/bin/sh\necho "$(basename "$0") $*" >>"$CALLS"\n'
# Writes a log as libFuzzer does, and what the test has asked of it: FOUND_target inputs, one each start, or an exit code.
FUZZER = """#!/bin/bash
name=$(basename "$0")
target=${name#fuzz_}
echo "$target $*" >>"$CALLS"
for word; do case $word in -artifact_prefix=*) prefix=${word#*=};; -max_total_time=*) seconds=${word#*=};; esac; done
echo "#2	INITED cov: 40 ft: 50 corp: 3/9b exec/s: 0 rss: 30Mb"
echo "#900	NEW    cov: 57 ft: 80 corp: 5/99b lim: 4 exec/s: 900 rss: 31Mb L: 3/4 MS: 1 ChangeBit-"
echo "#1000	DONE   cov: 57 ft: 80 corp: 5/99b lim: 4 exec/s: 500 rss: 31Mb"
echo "stat::number_of_executed_units: 1000"
echo "stat::peak_rss_mb:              123"
code="CODE_$target" found="FOUND_$target"
if [ -n "${!code}" ]; then exit "${!code}"; fi
if [ "$(ls "$prefix" | wc -l)" -lt "${!found:-0}" ]; then echo x >"${prefix}crash-$(ls "$prefix" | wc -l)"; exit 77; fi
sleep "${TAKES:-0}"
"""


class Tree:
    """The script in a folder of its own, with two targets that are already built."""

    def __init__(self, folder):
        self.folder = folder / "a tree"
        self.calls_file = folder / "calls"
        (self.folder / "scripts").mkdir(parents=True)
        for name in ("fuzz.sh", "debian-packages-fuzz.txt"):
            shutil.copy(ROOT / "scripts" / name, self.folder / "scripts" / name)
        tools, built = folder / "tools", self.folder / "build-fuzz" / "tests" / "fuzz"
        built.mkdir(parents=True)
        tools.mkdir()
        for name, text in (("clang++", COMPILER), ("cmake", NOTE), ("ninja", NOTE)):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        for target in ("one", "two"):
            corpus = self.folder / "tests" / "fuzz" / "corpus" / target
            corpus.mkdir(parents=True)
            (corpus / "first").write_text('{"a_key": "a word", "other-key": 1}' if target == "one" else "x = 1\n")
            (built / f"fuzz_{target}").write_text(FUZZER)
            (built / f"fuzz_{target}").chmod(0o755)
        self.environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(self.calls_file)}

    def run(self, *arguments, **environment):
        """Exit code, standard output and standard error."""
        self.calls_file.write_text("")
        ended = subprocess.run([self.folder / "scripts" / "fuzz.sh", *arguments], env=self.environment | environment,
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.calls = self.calls_file.read_text().splitlines()
        return ended.returncode, ended.stdout, ended.stderr

    def starts(self, target):
        return [call for call in self.calls if call.split()[0] == target]

    def report(self):
        """The cells of the newest report's table, by target."""
        text = sorted((self.folder / "build-fuzz" / "runs").glob("*/report.md"))[-1].read_text()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
        return {row[0]: row[1:] for row in rows[2:]}


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_every_target_is_built_and_run_for_its_time_from_its_corpus(tree):
    code, out, err = tree.run("5s")
    assert code == 0, err
    assert tree.starts("cmake") == ["cmake --preset fuzz"]
    assert re.fullmatch(r"ninja -C build-fuzz -j \d+ fuzz_one fuzz_two", tree.starts("ninja")[0])
    for target in ("one", "two"):
        start, = tree.starts(target)
        assert "-max_total_time=5 " in start and f" build-fuzz/inputs/{target} tests/fuzz/corpus/{target}" in start
    assert tree.report()["one"][0] == "1000" and tree.report()["two"][2:] == ["57", "5", "123", "0"]
    assert re.search(r"^one +1000 +1000 +57 +5 +123 +0$", out, re.M), out


def test_the_time_is_seconds_minutes_or_hours(tree):
    for text, seconds in (("90", 90), ("2m", 120), ("1h", 3600)):
        assert tree.run(text, "two")[0] == 0
        assert tree.starts("one") == [] and f"-max_total_time={seconds} " in tree.starts("two")[0]


def test_words_of_the_corpus_are_the_dictionary(tree):
    tree.run("1", "one", "two")
    assert "-dict=" in tree.starts("one")[0]
    assert "-dict=" not in tree.starts("two")[0], "it has no words, and libFuzzer refuses an empty dictionary"


def test_after_a_finding_a_target_goes_on_and_the_code_says_that_there_was_one(tree):
    code, out, err = tree.run("60", FOUND_one="2")
    assert code == 1, err
    assert len(tree.starts("one")) == 3 and len(tree.starts("two")) == 1
    found = sorted(path.name for path in tree.folder.glob("build-fuzz/runs/*/findings/*/*"))
    assert found == ["crash-0", "crash-1"]
    row = tree.report()["one"]
    assert (row[0], row[5]) == ("3000", "2") and tree.report()["two"][5] == "0"
    assert "found: build-fuzz/runs/" in out


def test_after_ten_findings_a_target_ends(tree):
    assert tree.run("60", "one", FOUND_one="99")[0] == 1
    assert len(tree.starts("one")) == 10 and tree.report()["one"][5] == "10; ended early"


def test_a_target_that_ends_without_a_finding_has_not_run(tree):
    code, _, err = tree.run("60", CODE_two="3")
    assert code == 1, err
    assert len(tree.starts("two")) == 1 and tree.report()["two"][5] == "0; ended early (exit code 3)"


def test_an_interrupt_is_no_fault(tree):
    assert tree.run("60", "one", CODE_one="72")[0] == 0


def test_two_run_at_once_where_that_is_asked_for(tree):
    code, _, err = tree.run("--jobs", "2", "5", TAKES="1")
    assert code == 0 and set(tree.report()) == {"one", "two"}, err


@pytest.mark.parametrize("arguments, says", [
    (["soon"], "expected a time such as 90, 10m or 1h, found 'soon'"),
    (["0"], "found '0'"),
    (["5", "three"], "unknown target 'three'; there are: one two"),
    (["--jobs", "none"], "--jobs: expected a whole number from 1, found 'none'"),
    (["--seconds", "5"], "unknown option '--seconds'"),
])
def test_arguments_that_cannot_be_are_refused(tree, arguments, says):
    code, _, err = tree.run(*arguments)
    assert code == 2 and says in err and tree.calls == []


def test_without_libfuzzer_it_says_what_to_install(tree):
    code, _, err = tree.run("5", NO_FUZZER="1")
    assert code == 1 and tree.calls == []
    assert "no libFuzzer" in err and "apt-get install -y --no-install-recommends clang libclang-rt-14-dev" in err


def test_help_says_how_it_is_called(tree):
    code, out, _ = tree.run("--help")
    assert code == 0 and out.startswith("scripts/fuzz.sh [--jobs N] [TIME [TARGET...]]") and "Exit code" in out


def test_every_target_is_in_cmake_and_has_a_corpus():
    folder = ROOT / "tests" / "fuzz"
    sources = {path.name.removesuffix("_fuzz.cpp") for path in folder.glob("*_fuzz.cpp")}
    built = set(re.findall(r"^dtrain_fuzz_target\((\w+) \w+\)$", (folder / "CMakeLists.txt").read_text(), re.M))
    corpus = {path.name for path in (folder / "corpus").iterdir() if any(path.iterdir())}
    assert sources == built == corpus
