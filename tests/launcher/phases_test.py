"""Every signal in every phase of a run, to either rank: the end that docs/reliability.md promises, and --resume goes on to the
bytes of a run left alone.

hold.cpp holds rank 0 at a moment of the phase; rank 1 then waits for it, or comes to the end of its own part. A few cases
here, in which every phase and every signal comes; by hand all of them, with DTRAIN_PHASES=all.
"""

import collections
import os
import re
import signal

import pytest

from conftest import Dtrain, leftovers, ranks_of, rows, wait_for, write_tsv
from outcomes import KEPT, difference, tree_of, what_was_trained

ALL = os.environ.get("DTRAIN_PHASES") == "all"
# What rank 0 is about to do when it is held, as hold.cpp takes it, and what a stop there says (a regular expression; None: it
# comes too late to stop anything).
Phase = collections.namedtuple("Phase", "call path count collective says")
NOTHING = "stopped by a signal before there was anything to save"
SCORING = "while scoring test; what was trained is in out/model, go on with --resume"
PHASES = {
    "loading the data": Phase("open", "*/train.tsv", 2, 0, NOTHING),
    "writing the token cache": Phase("sync", "*.tokens.*", 1, 0, NOTHING),
    "loading the model": Phase("open", "*/model.safetensors", 1, 0, NOTHING),
    "a step": Phase("write", "*/log.jsonl", 2, 0, "after step [34] of 12; the checkpoint is written"),
    "before an evaluation": Phase("write", "*/log.jsonl", 6, 0, "after step [67] of 12; the checkpoint is written"),
    "an evaluation": Phase("write", "*/log.jsonl", 6, 1, "after step [67] of 12; the checkpoint is written"),
    "writing a checkpoint": Phase("sync", "*/state.safetensors.*", 1, 0, "after step [56] of 12; the checkpoint is written"),
    "naming a checkpoint": Phase("rename", "out/checkpoint/step-4", 1, 0, "after step [56] of 12; the checkpoint is written"),
    "saving the model": Phase("sync", "*/model.part/model.safetensors.*", 1, 0, SCORING),
    "before scoring": Phase("rename", "out/model", 1, 1, SCORING),
    "scoring": Phase("rename", "out/model", 1, 2, None),
    "writing predictions": Phase("sync", "*/predictions/test.tsv.*", 1, 0, None),
    "writing results": Phase("rename", "out/results.json", 1, 0, None),
}
SIGNALS = [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGUSR1]
EVERY = [(phase, number, rank) for phase in PHASES for number in SIGNALS for rank in (0, 1)]
# Of those in which a rank that is stopped is waited for ten times --comm-timeout the last one alone.
SAMPLE = [
    ("loading the data", signal.SIGTERM, 1), ("writing the token cache", signal.SIGKILL, 0),
    ("loading the model", signal.SIGUSR1, 0), ("a step", signal.SIGSTOP, 0), ("before an evaluation", signal.SIGUSR1, 1),
    ("an evaluation", signal.SIGSTOP, 1), ("writing a checkpoint", signal.SIGTERM, 0),
    ("naming a checkpoint", signal.SIGKILL, 1), ("saving the model", signal.SIGKILL, 0),
    ("before scoring", signal.SIGTERM, 1), ("scoring", signal.SIGTERM, 0), ("writing predictions", signal.SIGKILL, 1),
    ("writing results", signal.SIGSTOP, 1)]
RUN = ["--method", "full", "--batch-size", "40", "--max-steps", "12", "--log-steps", "1", "--save-steps", "4",
       "--virtual-ranks", "4", "--output", "out"]


def what_must_be_the_same(out):
    found = what_was_trained(out)
    del found["results"]["ranks"]
    return found


@pytest.fixture(scope="module")
def scored(task, tmp_path_factory):
    """The options of a run in which each rank has two batches to evaluate, of dev and of test: a stop is heard between them."""
    folder = tmp_path_factory.mktemp("scored")
    given = [*task]
    for index, name in enumerate(("dev", "test")):
        given[given.index(f"--{name}") + 1] = write_tsv(folder / f"{name}.tsv", rows(900, 5 + index))
    return given


@pytest.fixture(scope="module")
def alone(scored, cache, tmp_path_factory):
    """The output of the run that nothing happens to."""
    folder = tmp_path_factory.mktemp("alone")
    Dtrain(folder, cache).succeeds("train", *scored, *RUN)
    return folder / "out"


def held(dtrain, scored, phase, folder, timeout):
    """A run on two ranks whose rank 0 has come to the phase; its ranks' process ids, and the file that lets it go on."""
    moment = folder / "moment"
    process = dtrain.start("train", *scored, *RUN, "--comm-timeout", timeout, ranks=2, env={
        "LD_PRELOAD": os.environ["DTRAIN_TEST_HOLD"], "XDG_CACHE_HOME": str(folder / "cache"), "TEST_HOLD": str(moment),
        "TEST_HOLD_RANK": "0", "TEST_HOLD_CALL": phase.call, "TEST_HOLD_PATH": phase.path,
        "TEST_HOLD_COUNT": str(phase.count), "TEST_HOLD_COLLECTIVE": str(phase.collective)})
    wait_for(lambda: process.poll() is not None or moment.with_suffix(".reached").exists(), what="the phase")
    ranks = ranks_of(process)
    assert process.poll() is None and sorted(ranks) == [0, 1], dtrain.end(process)
    return process, ranks, moment.with_suffix(".open")


def check_end(ended, phase, number, rank):
    """It ended as docs/reliability.md says."""
    if number == signal.SIGKILL:
        assert ended.code == 137 and ended.seconds < 10, ended
        assert f"rank {rank}" in ended.out + ended.err and "signal 9" in ended.out + ended.err, ended
    elif number == signal.SIGSTOP:
        assert ended.code == 5, ended
        said = re.search(rf"dtrain: error: rank {1 - rank}: (.* did not end within .*)", ended.err)
        assert said and f"rank {rank} " in said[1], ended
    else:
        assert ended.code == (0 if phase.says is None else 75), ended
        assert phase.says is None or "dtrain: stopped by a signal" in ended.err and re.search(phase.says, ended.err), ended
        assert "error:" not in ended.err, ended


def check_files(out, alone, ended, number):
    """Nothing has a final name and is not whole."""
    expected = tree_of(alone)
    for name, content in tree_of(out).items() if out.exists() else ():
        if name.startswith(KEPT) and ".part" not in name:
            assert content == expected[name], f"{name} is not whole: {ended}"
    if number in (signal.SIGTERM, signal.SIGUSR1):
        assert leftovers(out) == [] and (out / "results.json").exists() == (ended.code == 0), ended


@pytest.mark.parametrize("name, number, rank", EVERY if ALL else SAMPLE, ids=lambda value: str(getattr(value, "name", value)))
def test_a_signal_ends_a_run_as_promised_and_it_goes_on_to_the_same_bytes(dtrain, scored, alone, tmp_path, name, number, rank):
    phase = PHASES[name]
    # Short where it is waited for; ten times as long where one rank reads or writes for the others.
    process, ranks, go_on = held(dtrain, scored, phase, tmp_path, "2" if number == signal.SIGSTOP else "600")
    os.kill(ranks[rank], number)
    # One that is killed ends the job, whether the other comes out of its hold or not.
    if number != signal.SIGKILL:
        go_on.touch()
    ended = dtrain.end(process, timeout=90)
    wait_for(lambda: not any(os.path.exists(f"/proc/{each}") for each in ranks.values()), 10, "the end of every rank")
    check_end(ended, phase, number, rank)
    check_files(tmp_path / "out", alone, ended, number)
    resumed = dtrain.succeeds("train", *scored, *RUN, "--resume", env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    expected = what_must_be_the_same(alone)
    assert not difference(what_must_be_the_same(tmp_path / "out"), expected), (ended, resumed)
    assert leftovers(tmp_path / "out") == [], resumed
