"""bench/gpu_check.sh with stand-ins for the program, the tests, mpirun and a Python that sees GPUs: what it starts, what it
makes of how that ends, and that dtrain has the options."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ["DTRAIN_TEST_PROGRAM"]
PARTS = ["model", "peft", "train", "program", "nccl-1", "nccl-2", "program-2", "high-rate", "peer", "study-1", "study-4"]

# Each notes how it was called. CODE_name is the exit code of what is called so.
NOTE = '#!/bin/bash\nname=$(basename "$0")\necho "$name $*" >>"$CALLS"\n'
END = 'code="CODE_${name//-/_}"\nexit "${!code:-0}"\n'
TOOLS = {
    "mpirun": NOTE + 'shift 2\nexec "$@"\n',
    "python": NOTE + """case "$*" in
*"import torch; n"*) echo "$GPUS A100"; exit;;
*"-m pytest"*) echo "${PASSED:-5 passed in 0.1s}"; name=pytest;;
*compare_with_peer*) for last; do :; done; echo "$PEER" >"$last"; name=peer;;
*) exec "$PYTHON" "$@";;
esac
""" + END,
    # Leaves the results that a run and a study leave, as far as they are read.
    "dtrain": NOTE + """case $1 in --version) echo "dtrain 0"; echo "NCCL $NCCL"; exit;; esac
sleep "${SLEEPS:-0}"
for last; do :; done
mkdir -p "$last"
case $last in
*/high-rate) echo '{"metrics": {"dev": {"log_loss": '"${LOSS:-1}"'}}}';;
*/study-1) echo "$STUDY";;
*) echo "${STUDY_4:-$STUDY}";;
esac >"$last/results.json"
""" + END,
    "test": NOTE + 'echo "${TESTS:-[  PASSED  ] 7 tests.}"\n' + END,
}
STUDY = {"trials": [{}, {}], "run": {"seconds": 4}, "cells": [
    {"method": "full", "samples": 500, "learning_rate": 0.1, "metrics": {"test": {"accuracy": {"mean": 0.5}}}}]}
PEER = {"cells": [{"method": "lora", "ratio": {"median": 1.5}, "dtrain": {"median": 1000}}]}


class Machine:
    """A build folder and tools of a machine with one GPU and NCCL 2.30."""

    def __init__(self, folder):
        self.build, self.output, self.calls_file = folder / "a build", folder / "out", folder / "calls"
        tools = folder / "tools"
        for path, text in [(tools / name, TOOLS[name]) for name in ("mpirun", "python")] + [
                (self.build / "dtrain", TOOLS["dtrain"])] + [
                (self.build / "tests" / name, TOOLS["test"])
                for name in ("model/test_model", "peft/test_peft", "train/test_train", "dist/test_dist_nccl")]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        for name in ("models/minilm-l6-h384/vocab.txt", "models/minilm-l6-h384/model.safetensors", "tasks/wordnet/train.tsv"):
            self.file(f"share/dtrain/{name}")
        self.file("bench/dtrain_batch_order")
        self.file("tests/reference/made")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DTRAIN_")}
        self.environment = kept | {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(self.calls_file), "GPUS": "1",
                                   "NCCL": "2.30.1", "PYTHON": sys.executable, "STUDY": json.dumps(STUDY),
                                   "PEER": json.dumps(PEER)}

    def file(self, name):
        (self.build / name).parent.mkdir(parents=True, exist_ok=True)
        (self.build / name).write_text("x")

    def run(self, *arguments, **environment):
        """Exit code, standard output, standard error; the table's rows are in `rows`, the calls in `calls`."""
        self.calls_file.write_text("")
        ended = subprocess.run(
            [ROOT / "bench" / "gpu_check.sh", "--build", self.build, "--python", "python", "--output", self.output, *arguments],
            env=self.environment | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.calls = self.calls_file.read_text().splitlines()
        self.rows = {}
        if (self.output / "table.md").exists():
            lines = (self.output / "table.md").read_text().splitlines()[2:]
            self.rows = {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}
        return ended.returncode, ended.stdout, ended.stderr

    def called(self, name, word=""):
        return [call for call in self.calls if call.startswith(f"{name} ") and word in call]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_every_part_is_run_and_has_a_line(machine):
    code, out, err = machine.run()
    assert code == 0, out + err
    assert list(machine.rows) == PARTS
    assert {row[0] for row in machine.rows.values()} == {"passed"}, out
    what = {part: row[2] for part, row in machine.rows.items()}
    assert what["peft"] == "7 tests passed" and what["program"] == "5 passed in 0.1s"
    assert what["high-rate"].startswith("log-loss on dev 1.00")
    assert what["peer"] == "times as fast as the peer: lora 1.50 (1000 samples/s)"
    assert what["study-4"] == "2 trials in 4 s, 1.0 times as fast as one rank, the same results"
    assert machine.called("python", "-k two_ranks") and machine.called("mpirun", "-np 4")


def test_the_tests_that_ctest_has_for_gpus_are_those_that_run(machine):
    machine.run("model", "peft", "train")
    lines = "\n".join(path.read_text() for path in (ROOT / "tests").glob("*/CMakeLists.txt"))
    filters = dict(re.findall(r'^dtrain_cuda_test\((\w+) "([^"]*)"', lines, re.M))
    assert set(filters) == {"model", "peft", "train"}
    assert sorted(call for call in machine.calls if call.startswith("test_")) == [
        f"test_{room} --gtest_filter={filters[room]}" for room in sorted(filters)]


def test_dtrain_has_the_options(machine):
    assert machine.run()[0] == 0
    started = [call.split()[1:] for call in machine.called("dtrain") if "--version" not in call]
    assert {words[0] for words in started} == {"train", "compare"}
    for command, *words in started:
        text = subprocess.run([PROGRAM, command, "--help"], capture_output=True, text=True, check=True).stdout
        known = set(re.findall(r"^ *(--[\w-]+)", text, re.M))
        asked = {word for word in words if word.startswith("--")}
        assert asked and asked <= known, asked - known


def test_the_peers_script_has_the_options(machine):
    machine.run("peer")
    call, = machine.called("python", "compare_with_peer.py")
    text = (ROOT / "bench" / "compare_with_peer.py").read_text()
    known = set(re.findall(r'"(--[\w-]+)"', text))
    assert {word for word in call.split() if word.startswith("--")} <= known


def test_without_a_gpu_it_says_so(machine):
    code, _, err = machine.run(GPUS="0")
    assert code == 77 and "no GPU is visible here; nothing was run" in err
    assert not machine.output.exists()


def test_ranks_do_not_share_a_gpu_through_an_older_nccl(machine):
    code, _, _ = machine.run("nccl-1", "nccl-2", "program-2", NCCL="2.28.9")
    assert code == 0
    assert [machine.rows[part][0] for part in ("nccl-1", "nccl-2", "program-2")] == ["passed", "skipped", "skipped"]
    assert machine.rows["nccl-2"][2] == "one GPU, and NCCL 2.28.9: ranks share one from 2.30 on"
    machine.output = machine.output.with_name("other")
    machine.run("nccl-2", NCCL="2.28.9", GPUS="2")
    assert machine.rows["nccl-2"][0] == "passed"


def test_what_is_not_here_is_skipped_by_name(machine):
    (machine.build / "bench" / "dtrain_batch_order").unlink()
    code, _, _ = machine.run("peer", "study-1")
    assert code == 0 and machine.rows["study-1"][0] == "passed"
    assert machine.rows["peer"][0] == "skipped" and machine.rows["peer"][2].endswith("a build/bench/dtrain_batch_order")


@pytest.mark.parametrize("part, environment, says", [
    ("peft", {"CODE_test_peft": "1", "TESTS": "[  FAILED  ] 2 tests, listed below:"}, "0 tests passed, 2 failed; exit code 1"),
    ("model", {"TESTS": "[  PASSED  ] 0 tests."}, "0 tests passed"),
    ("program", {"PASSED": "5 skipped in 0.1s"}, "5 skipped"),
    ("program", {"CODE_pytest": "1", "PASSED": "1 failed, 4 passed in 0.1s"}, "1 failed, 4 passed in 0.1s; exit code 1"),
    ("high-rate", {"LOSS": "3.7"}, "log-loss on dev 3.70"),
    ("high-rate", {"CODE_dtrain": "4"}, "exit code 4"),
    ("peer", {"CODE_peer": "1"}, "lora 1.50 (1000 samples/s); exit code 1"),
    ("study-1", {"SLEEPS": "30"}, "no end within"),
])
def test_a_part_that_fails_fails_the_check(machine, part, environment, says):
    limit = ["--limit", "6"] if "SLEEPS" in environment else []
    code, out, err = machine.run(*limit, part, **environment)
    assert code == 1 and machine.rows[part][0] == "failed", out + err
    assert says in machine.rows[part][2]


def test_a_study_on_four_ranks_has_the_results_of_one(machine):
    other = STUDY | {"cells": [STUDY["cells"][0] | {"learning_rate": 0.2}]}
    code, _, _ = machine.run("study-1", "study-4", STUDY_4=json.dumps(other))
    assert code == 1 and machine.rows["study-1"][0] == "passed"
    assert machine.rows["study-4"][0] == "failed" and "OTHER RESULTS" in machine.rows["study-4"][2]


def test_tests_that_skip_themselves_are_skipped(machine):
    code, _, _ = machine.run("nccl-1", CODE_test_dist_nccl="77", TESTS="[  SKIPPED ] not run: no GPU for each rank")
    assert code == 0 and machine.rows["nccl-1"][0] == "skipped" and "no GPU for each rank" in machine.rows["nccl-1"][2]


def test_a_part_without_time_is_skipped(machine):
    code, _, _ = machine.run("--limit", "2", "study-1")
    assert code == 0 and machine.rows["study-1"][2] == "no time is left of the 2 s (--limit)"


@pytest.mark.parametrize("arguments, says", [
    (["speed"], "unknown part 'speed'"),
    (["--limit", "short"], "--limit: expected seconds, found 'short'"),
    (["--device", "cuda"], "unknown option '--device'"),
    (["--build", "nowhere"], "nowhere/dtrain, the program"),
])
def test_arguments_that_cannot_be_are_refused(machine, arguments, says):
    code, _, err = machine.run(*arguments)
    assert code == 2 and says in err and machine.calls == []


def test_help_names_every_part():
    ended = subprocess.run([ROOT / "bench" / "gpu_check.sh", "--help"], capture_output=True, text=True, check=True)
    assert all(part in ended.stdout for part in PARTS) and "Exit code: 0, 1 where a part failed" in ended.stdout
