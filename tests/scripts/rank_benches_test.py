"""bench/rank_efficiency.py and bench/start_up.py with stand-ins for mpirun and the program: what they start, and what they
make of it."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"

MPIRUN = '#!/bin/bash\nexport RANKS=$2\nshift 2\nexec "$@"\n'
# Leaves what a run leaves, as far as it is read, and notes how it was called, with the CPUs that it may use.
DTRAIN = """#!/bin/bash
echo "ranks ${RANKS:-none} cpus $(taskset --cpu-list --pid $$ | sed 's/.*: //') $*" >>"$CALLS"
for option; do case $option in --output=*) output=${option#*=};; --method=*) method=${option#*=};; esac; done
if [ "$method" = "$FAILS" ]; then echo "dtrain: error: no"; exit 3; fi
sleep "$([ "${RANKS:-1}" -gt 1 ] && echo "${SLEEPS:-0}" || echo 0)"
mkdir -p "$output"
echo '{"cost": {"samples_per_second": '"$([ "${RANKS:-1}" -gt 1 ] && echo "${TOGETHER:-20}" || echo 10)"'}}' >"$output/results.json"
echo '{"loss": 1}' >"$output/log.jsonl"
"""


@pytest.fixture
def bench(tmp_path):
    """Runs a script; returns how it ended and what it called."""
    task = tmp_path / "build/share/dtrain/tasks/wordnet"
    task.mkdir(parents=True)
    (task / "dev.tsv").write_text("label\ttext\na\tb\nc\td\n")
    (tmp_path / "build/bench").mkdir()
    for path, text in (("mpirun", MPIRUN), ("build/dtrain", DTRAIN), ("build/bench/dtrain_batch_order", "")):
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o755)

    def start(script, *arguments, **variables):
        calls = tmp_path / "calls"
        calls.write_text("")
        path = f"{tmp_path}:{os.environ['PATH']}"
        ended = subprocess.run([sys.executable, BENCH / script, "--build", tmp_path / "build", *arguments], text=True,
                               env=os.environ | {"PATH": path, "CALLS": str(calls)} | variables, capture_output=True,
                               check=False)
        return ended, calls.read_text().splitlines()

    return start


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_independent_runs_have_a_core_each_and_as_much_to_do_as_a_rank(bench):
    ended, calls = bench("rank_efficiency.py", "--pairs", "3", "--samples", "64")
    assert ended.returncode == 0, ended
    for method in ("full", "lora"):
        assert f"| {method} | 20.0 | 20.0 | 1.000 (1.000 to 1.000) |" in ended.stdout, ended
        own = [call for call in calls if f"--method={method} " in call and "--epochs=3" in call]
        alone = [call for call in own if call.startswith("ranks none")]
        job = [call for call in own if call.startswith("ranks 2")]
        assert len(alone) == 6 and len(job) == 3, calls
        cores = sorted({call.split()[3] for call in alone}, key=int)
        assert len(cores) == 2, alone
        assert {call.split()[3] for call in job} <= {",".join(cores), "-".join(cores)}, job
        assert all("--samples=64 " in call and "--batch-size=32 " in call and "--threads=1 " in call for call in alone)
        assert all("--samples=128 " in call and "--batch-size=64 " in call and "--threads=1 " in call for call in job)
    _, calls = bench("rank_efficiency.py", "--pairs", "1", "--samples", "64", "--strong")
    assert all("--batch-size=32 " in call for call in calls)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_a_ratio_below_the_floor_and_a_run_that_fails_are_said(bench):
    ended, _ = bench("rank_efficiency.py", "--pairs", "1", TOGETHER="19.2")
    assert ended.returncode == 1 and "below the floor: lora" in ended.stderr, ended
    ended, _ = bench("rank_efficiency.py", "--pairs", "1", FAILS="lora")
    assert ended.returncode == 1 and "dtrain: error: no" in ended.stderr, ended


@pytest.mark.parametrize("script", ["start_up.py", "rank_efficiency.py"])
def test_without_mpirun_it_says_so(bench, tmp_path, script):
    (tmp_path / "mpirun").unlink()
    (tmp_path / "tools").mkdir()
    ended, calls = bench(script, PATH=str(tmp_path / "tools"))
    assert ended.returncode == 1 and "mpirun is missing" in ended.stderr and calls == [], ended


def test_the_start_is_timed_up_to_the_first_step(bench):
    ended, calls = bench("start_up.py", "--pairs", "2", "--ranks", "4", SLEEPS="3")
    assert ended.returncode == 1 and "expected at most 1.3" in ended.stderr, ended
    assert [call.split()[1] for call in calls] == ["1", "1", "4", "1", "4"], calls
    assert all("--samples=64 " in call and "--batch-size=64 " in call and "--epochs=1 " in call for call in calls), calls
    one, four = (float(re.search(rf"^\| {ranks} \| ([\d.]+) s", ended.stdout, re.M)[1]) for ranks in (1, 4))
    assert four > 3 and four > one, ended
