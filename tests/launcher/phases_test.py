"""Every signal in every phase of a run, of a study and of an evaluation, to either rank: the end that docs/reliability.md
promises, and --resume goes on to the bytes of a run left alone, and a study to the same results but for costs; an evaluation is
done again.

hold.cpp holds rank 0 at a moment of the phase; rank 1 then waits for it, or comes to the end of its own part. A few cases
here, in which every phase and every signal comes; by hand all of them, with DTRAIN_PHASES=all.
"""

import collections
import json
import os
import re
import signal

import pytest

from conftest import Dtrain, leftovers, ranks_of, results, rows, wait_for, write_tsv
from outcomes import KEPT, difference, tree_of, what_was_found, what_was_trained

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
# A study of six trials: the journal's third line that is added is that of a trial, the ninth of how the study ran.
JOURNALLED = "of 6 trials are in the journal, what was under way runs again: go on with --resume"
STUDY_PHASES = {
    "beginning the study": Phase("rename", "out/config.ini", 1, 0, JOURNALLED),
    "beginning the journal": Phase("sync", "*/out/journal.jsonl.*.part", 1, 0, JOURNALLED),
    "writing a trial into the journal": Phase("write", "*/out/journal.jsonl", 3, 0, JOURNALLED),
    "syncing a trial in the journal": Phase("sync", "*/out/journal.jsonl", 5, 0, JOURNALLED),
    "ending the journal": Phase("write", "*/out/journal.jsonl", 9, 0, None),
    "writing the study's results": Phase("sync", "*/out/results.json.*.part", 1, 0, None),
    "writing the report": Phase("sync", "*/out/report.html.*.part", 1, 0, None),
    "putting the report in place": Phase("rename", "out/report.html", 1, 0, None),
}
# Nothing is to be saved: a signal does what it does to any program.
EVALUATION_PHASES = {
    "loading what was trained": Phase("open", "*/adapter_model.safetensors", 1, 0, None),
    "loading the examples": Phase("open", "*/test.tsv", 1, 0, None),
    "scoring the examples": Phase("rename", "out/config.ini", 1, 1, None),
    "writing the evaluation": Phase("sync", "*/out/results.json.*.part", 1, 0, None),
    "naming the evaluation": Phase("rename", "out/results.json", 1, 0, None),
}
SIGNALS = [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGUSR1]


def cases(phases, sample):
    """All of them, or CTest's. Of those in which a rank that is stopped is waited for ten times --comm-timeout one alone."""
    every = [(phase, number, rank) for phase in phases for number in SIGNALS for rank in (0, 1)]
    return pytest.mark.parametrize("name, number, rank", every if ALL else sample,
                                   ids=lambda value: str(getattr(value, "name", value)))


RUN = ["--method", "full", "--batch-size", "40", "--max-steps", "12", "--log-steps", "1", "--save-steps", "4",
       "--virtual-ranks", "4", "--output", "out"]
STUDY = ["--methods", "head,bitfit", "--samples", "60", "--max-steps", "4", "--seeds", "1", "--lrs", "0.001,0.01",
         "--ranks-per-trial", "1", "--output", "out"]


def held(dtrain, command, phase, folder, timeout):
    """A command on two ranks whose rank 0 has come to the phase; its ranks' process ids, and the file that lets it go on."""
    moment = folder / "moment"
    process = dtrain.start(*command, "--comm-timeout", timeout, ranks=2, env={
        "LD_PRELOAD": os.environ["DTRAIN_TEST_HOLD"], "XDG_CACHE_HOME": str(folder / "cache"), "TEST_HOLD": str(moment),
        "TEST_HOLD_RANK": "0", "TEST_HOLD_CALL": phase.call, "TEST_HOLD_PATH": phase.path,
        "TEST_HOLD_COUNT": str(phase.count), "TEST_HOLD_COLLECTIVE": str(phase.collective)})
    wait_for(lambda: process.poll() is not None or moment.with_suffix(".reached").exists(), what="the phase")
    ranks = ranks_of(process)
    assert process.poll() is None and sorted(ranks) == [0, 1], dtrain.end(process)
    return process, ranks, moment.with_suffix(".open")


def disturbed(dtrain, command, phase, number, rank, folder):
    """How a command ends whose rank gets the signal in the phase."""
    # Short where it is waited for; ten times as long where one rank reads or writes for the others.
    process, ranks, go_on = held(dtrain, command, phase, folder, "2" if number == signal.SIGSTOP else "600")
    os.kill(ranks[rank], number)
    # One that is killed ends the job, whether the other comes out of its hold or not.
    if number != signal.SIGKILL:
        go_on.touch()
    ended = dtrain.end(process, timeout=90)
    wait_for(lambda: not any(os.path.exists(f"/proc/{each}") for each in ranks.values()), 10, "the end of every rank")
    return ended


def check_killed(ended, number, rank):
    """The end of a job of which a rank was killed by the signal."""
    assert ended.code == 128 + number and ended.seconds < 10, ended
    assert f"rank {rank}" in ended.out + ended.err and f"signal {number:d}" in ended.out + ended.err, ended


def check_end(ended, phase, number, rank):
    """It ended as docs/reliability.md says."""
    if number == signal.SIGKILL:
        check_killed(ended, number, rank)
    elif number == signal.SIGSTOP:
        assert ended.code == 5, ended
        said = re.search(rf"dtrain: error: rank {1 - rank}: (.* (?:did not end within|has been silent for) .*)", ended.err)
        assert said and f"rank {rank} " in said[1].replace("the first rank", "rank 0"), ended
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


@cases(PHASES, [
    ("loading the data", signal.SIGTERM, 1), ("writing the token cache", signal.SIGKILL, 0),
    ("loading the model", signal.SIGUSR1, 0), ("a step", signal.SIGSTOP, 0), ("before an evaluation", signal.SIGUSR1, 1),
    ("an evaluation", signal.SIGSTOP, 1), ("writing a checkpoint", signal.SIGTERM, 0),
    ("naming a checkpoint", signal.SIGKILL, 1), ("saving the model", signal.SIGKILL, 0),
    ("before scoring", signal.SIGTERM, 1), ("scoring", signal.SIGTERM, 0), ("writing predictions", signal.SIGKILL, 1),
    ("writing results", signal.SIGSTOP, 1)])
def test_a_signal_ends_a_run_as_promised_and_it_goes_on_to_the_same_bytes(dtrain, scored, alone, tmp_path, name, number, rank):
    run = ["train", *scored, *RUN]
    ended = disturbed(dtrain, run, PHASES[name], number, rank, tmp_path)
    check_end(ended, PHASES[name], number, rank)
    check_files(tmp_path / "out", alone, ended, number)
    resumed = dtrain.succeeds(*run, "--resume", env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    expected = what_must_be_the_same(alone)
    assert not difference(what_must_be_the_same(tmp_path / "out"), expected), (ended, resumed)
    assert leftovers(tmp_path / "out") == [], resumed


@pytest.fixture(scope="module")
def study_alone(task, cache, tmp_path_factory):
    """The output of the study that nothing happens to."""
    folder = tmp_path_factory.mktemp("study")
    Dtrain(folder, cache).succeeds("compare", *task, *STUDY)
    return folder / "out"


def check_study_files(out, alone, ended, number):
    """What has a final name is whole: it can be read, and ends as that of a study left alone does."""
    for name in ("plan.json", "study.json", "results.json"):
        if (out / name).exists():
            json.loads((out / name).read_text())
    for name in ("report.md", "report.html"):
        if (out / name).exists():
            found, expected = ((folder / name).read_text().splitlines()[-1] for folder in (out, alone))
            assert found == expected, (name, ended)
    if (out / "trials.csv").exists():
        found, expected = ((folder / "trials.csv").read_text() for folder in (out, alone))
        assert [line.count(",") for line in found.splitlines()] == [line.count(",") for line in expected.splitlines()], ended
    if (out / "journal.jsonl").exists():
        journal = (out / "journal.jsonl").read_text()
        assert journal.endswith("\n") and all(json.loads(line) for line in journal.splitlines()), (journal, ended)
    if number in (signal.SIGTERM, signal.SIGUSR1):
        assert leftovers(out) == [] and (out / "report.html").exists() == (ended.code == 0), ended


@cases(STUDY_PHASES, [
    ("beginning the study", signal.SIGSTOP, 1), ("beginning the journal", signal.SIGKILL, 0),
    ("writing a trial into the journal", signal.SIGTERM, 0), ("syncing a trial in the journal", signal.SIGKILL, 1),
    ("writing the study's results", signal.SIGTERM, 1), ("putting the report in place", signal.SIGKILL, 0)])
def test_a_signal_ends_a_study_as_promised_and_it_goes_on_to_the_same_results(dtrain, task, study_alone, tmp_path, name, number,
                                                                              rank):
    study = ["compare", *task, *STUDY]
    ended = disturbed(dtrain, study, STUDY_PHASES[name], number, rank, tmp_path)
    check_end(ended, STUDY_PHASES[name], number, rank)
    check_study_files(tmp_path / "out", study_alone, ended, number)
    resumed = dtrain.succeeds(*study, "--resume", env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert not difference(what_was_found(tmp_path / "out"), what_was_found(study_alone)), (ended, resumed)
    check_study_files(tmp_path / "out", study_alone, resumed, None)
    assert leftovers(tmp_path / "out") == [], resumed


@pytest.fixture(scope="module")
def evaluation(task, scored, cache, tmp_path_factory):
    """An evaluation of what was trained, and what it finds when nothing happens to it."""
    folder = tmp_path_factory.mktemp("trained")
    started = Dtrain(folder, cache)
    started.succeeds("train", *task, "--method", "lora", "--max-steps", "4", "--output", "trained")
    given = ["evaluate", "--run", folder / "trained", "--max-length", "32", "--input", scored[scored.index("--test") + 1],
             "--output", "out"]
    started.succeeds(*given)
    return given, results(folder / "out")


@cases(EVALUATION_PHASES, [
    ("loading what was trained", signal.SIGTERM, 0), ("scoring the examples", signal.SIGKILL, 1),
    ("naming the evaluation", signal.SIGUSR1, 1)])
def test_a_signal_ends_an_evaluation_which_is_done_again(dtrain, evaluation, tmp_path, name, number, rank):
    given, expected = evaluation
    ended = disturbed(dtrain, given, EVALUATION_PHASES[name], number, rank, tmp_path)
    if number == signal.SIGSTOP:
        check_end(ended, EVALUATION_PHASES[name], number, rank)
    else:
        check_killed(ended, number, rank)
    found = tmp_path / "out" / "results.json"
    assert not found.exists() or results(found.parent) == expected, ended
    again = dtrain.succeeds(*given, "--overwrite", env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert results(tmp_path / "out") == expected and leftovers(tmp_path / "out") == [], again
