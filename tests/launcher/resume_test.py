"""A run that is killed with -9 in the middle and resumed ends in the same bytes as the run left alone."""

import os
import signal

import pytest

from conftest import log_lines, ranks_of, results, wait_for, write_tsv

METHODS = {"full": "model/model.safetensors", "lora:lora_dropout=0.1": "adapter/adapter_model.safetensors",
           "head": "adapter/weights.safetensors"}


def run_of(task, method):
    return ["train", *task, "--method", method, "--batch-size", "8", "--max-steps", "60", "--log-steps", "1",
            "--save-steps", "7", "--virtual-ranks", "4"]


def kill_in_the_middle(dtrain, run, folder, ranks):
    """Kills a rank after a checkpoint; the job dies of it."""
    process = dtrain.start(*run, "--output", "out", ranks=ranks, cwd=folder)
    checkpoints = folder / "out" / "checkpoint"
    wait_for(lambda: process.poll() is not None or any(checkpoints.glob("step-*[0-9]")), what="a checkpoint")
    if ranks is None:
        process.kill()
    elif process.poll() is None:
        os.kill(ranks_of(process)[ranks - 1], signal.SIGKILL)
    ended = dtrain.end(process, timeout=20)
    assert ended.code in (137, -signal.SIGKILL), ended
    assert not (folder / "out" / "results.json").exists(), "it was killed too late to show anything"


@pytest.mark.parametrize("method, killed_on, resumed_on", [
    ("full", 2, 4), ("lora:lora_dropout=0.1", 4, None), ("head", 2, 2)])
def test_a_killed_run_resumed_ends_in_the_same_bytes(dtrain, task, tmp_path, method, killed_on, resumed_on):
    run = run_of(task, method)
    alone = tmp_path / "alone"
    cut = tmp_path / "cut"
    alone.mkdir()
    cut.mkdir()
    dtrain.succeeds(*run, "--output", "out", cwd=alone)
    kill_in_the_middle(dtrain, run, cut, killed_on)
    ended = dtrain.succeeds(*run, "--output", "out", "--resume", ranks=resumed_on, cwd=cut)
    assert "resumed at step" in ended.out, ended
    assert (alone / "out" / METHODS[method]).read_bytes() == (cut / "out" / METHODS[method]).read_bytes()
    assert results(alone / "out")["metrics"] == results(cut / "out")["metrics"]
    for quantity in ("step", "loss", "gradient_norm", "learning_rate"):
        assert [line[quantity] for line in log_lines(alone / "out")] == [line[quantity] for line in log_lines(cut / "out")]


def test_without_virtual_ranks_it_does_so_on_as_many_ranks(dtrain, task, tmp_path):
    run = [*run_of(task, "full")[:-2]]
    alone = tmp_path / "alone"
    cut = tmp_path / "cut"
    alone.mkdir()
    cut.mkdir()
    dtrain.succeeds(*run, "--output", "out", ranks=2, cwd=alone)
    kill_in_the_middle(dtrain, run, cut, 2)
    dtrain.succeeds(*run, "--output", "out", "--resume", ranks=2, cwd=cut)
    model = METHODS["full"]
    assert (alone / "out" / model).read_bytes() == (cut / "out" / model).read_bytes()


def test_a_run_goes_on_with_the_reduce_precision_that_it_began_with(dtrain, task, tmp_path):
    run = [*run_of(task, "lora")[:-2]]
    assert "--virtual-ranks" not in run
    rounded = [*run, "--reduce-precision", "bf16"]
    alone = tmp_path / "alone"
    alone.mkdir()
    dtrain.succeeds(*rounded, "--output", "out", ranks=2, cwd=alone)
    kill_in_the_middle(dtrain, rounded, tmp_path, 2)
    dtrain.refuses(*run, "--output", "out", "--resume", ranks=2, code=2,
                   says=["cannot resume from", "reduce precision was 'bf16' and is now 'fp32'"])
    dtrain.succeeds(*rounded, "--output", "out", "--resume", ranks=2)
    weights = "adapter/adapter_model.safetensors"
    assert (alone / "out" / weights).read_bytes() == (tmp_path / "out" / weights).read_bytes()
    dtrain.refuses(*run, "--output", "out", "--resume", ranks=2, code=2,
                   says=["the run in out is finished", "reduce-precision was 'bf16' and is now 'fp32'"])


@pytest.fixture
def interrupted(dtrain, task, tmp_path):
    """A folder with a killed run in `out`, and the options that go on with it."""
    run = run_of(task, "head")
    kill_in_the_middle(dtrain, run, tmp_path, None)
    return run


def test_other_options_are_refused_and_leave_the_run_as_it_was(dtrain, interrupted, tmp_path):
    before = (tmp_path / "out" / "config.ini").read_bytes()
    for arguments, says in ((["--lr", "1e-3"], "learning rate was '0.01' and is now '0.001'"),
                            (["--seed", "3"], "seed was '0' and is now '3'"),
                            (["--samples", "90"], "training data")):
        dtrain.refuses(*interrupted, *arguments, "--output", "out", "--resume", code=2,
                       says=["cannot resume from", says, "--overwrite"])
    assert (tmp_path / "out" / "config.ini").read_bytes() == before
    dtrain.succeeds(*interrupted, "--output", "out", "--resume")


def test_a_resumed_run_keeps_the_precision_it_began_in(dtrain, interrupted):
    ended = dtrain.succeeds(*interrupted, "--output", "out", "--resume", env={"DTRAIN_PRECISION": "auto"})
    assert "fp32 matmuls (as before)" in ended.out, ended


def test_another_precision_is_refused(dtrain, interrupted):
    dtrain.refuses(*interrupted, "--output", "out", "--resume", env={"DTRAIN_PRECISION": "bf16"}, code=2,
                   says="precision was 'fp32' and is now 'bf16'")


def flipped(content):
    place = len(content) // 2  # of a number
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1:]


@pytest.mark.parametrize("damaged", [lambda content: content[:-10], flipped])
def test_a_torn_or_flipped_checkpoint_is_said_and_the_one_before_is_taken(dtrain, task, tmp_path, damaged):
    run = run_of(task, "head")
    dtrain.succeeds(*run, "--output", "out")
    whole = (tmp_path / "out" / METHODS["head"]).read_bytes()
    (tmp_path / "out" / "results.json").unlink()
    older, newest = sorted((tmp_path / "out" / "checkpoint").iterdir(), key=lambda path: int(path.name[5:]))
    tensors = newest / "state.safetensors"
    tensors.write_bytes(damaged(tensors.read_bytes()))
    ended = dtrain.succeeds(*run, "--output", "out", "--resume")
    assert f"warning: the checkpoint out/checkpoint/{newest.name} is damaged and skipped" in ended.err, ended
    assert f"resumed at step {older.name[5:]} of 60" in ended.out, ended
    assert (tmp_path / "out" / METHODS["head"]).read_bytes() == whole


def test_a_finished_run_is_left_as_it_is(dtrain, task, tmp_path):
    run = run_of(task, "head")
    dtrain.succeeds(*run, "--output", "out")
    before = (tmp_path / "out" / "results.json").stat().st_mtime_ns
    ended = dtrain.succeeds(*run, "--output", "out", "--resume", ranks=2)
    assert "this run is finished, there is nothing to resume" in ended.out, ended
    assert (tmp_path / "out" / "results.json").stat().st_mtime_ns == before


def test_a_finished_run_of_other_options_is_refused_and_left_as_it_is(dtrain, task, data, tmp_path):
    run = run_of(task, "head")
    dtrain.succeeds(*run, "--output", "out")
    before = (tmp_path / "out" / "results.json").read_bytes()
    other = write_tsv(tmp_path / "other.tsv", [("animal", "the cat"), ("plant", "an oak"), ("tool", "a saw")] * 40)
    for arguments, says in ((["--lr", "1e-3"], "lr was not given and is now '1e-3'"),
                            (["--seed", "3"], "seed was '0' and is now '3'"),
                            (["--method", "lora"], "method was 'head' and is now 'lora'"),
                            (["--max-steps", "9"], "max-steps was '60' and is now '9'"),
                            (["--train", other], "its train data were others")):
        given = list(run)
        for name in arguments[::2]:
            if name in given:
                del given[given.index(name):given.index(name) + 2]
        dtrain.refuses(*given, *arguments, "--output", "out", "--resume", code=2,
                       says=["--resume: the run in out is finished", says, "--overwrite"])
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    weights = tmp_path / "weights.json"
    weights.write_text('{"animal": 1, "plant": 2, "tool": 3}')
    dtrain.succeeds(*run, "--class-weights", weights, "--output", "weighed")
    ended = dtrain.succeeds(*run, "--class-weights", weights, "--output", "weighed", "--resume")
    assert "there is nothing to resume" in ended.out, ended
    weights.write_text('{"animal": 1, "plant": 2, "tool": 4}')
    dtrain.refuses(*run, "--class-weights", weights, "--output", "weighed", "--resume", code=2,
                   says=["its class weights of a file were others"])
    # The same data elsewhere, and what changes no result.
    moved = tmp_path / "moved.tsv"
    moved.write_bytes((data / "train.tsv").read_bytes())
    given = list(run)
    given[given.index("--train") + 1] = moved
    ended = dtrain.succeeds(*given, "--output", "out", "--resume", "--comm-timeout", "99")
    assert "this run is finished, there is nothing to resume" in ended.out, ended


def test_resume_of_nothing_starts_at_the_first_step(dtrain, task, tmp_path):
    ended = dtrain.succeeds(*run_of(task, "head"), "--output", "out", "--resume")
    assert "no checkpoint yet: starting at step 0" in ended.out, ended
    assert results(tmp_path / "out")["steps"] == 60


def test_a_rank_needs_no_checkpoint_that_another_of_its_node_reads(dtrain, task, tmp_path):
    # Each has a folder of its own, as in containers: what the first rank writes, the other does not find.
    for rank in (0, 1):
        (tmp_path / f"disk{rank}").mkdir()
    apart = ["bash", "-c", 'cd disk$OMPI_COMM_WORLD_RANK && exec "$@"', "_"]
    options = [*task, "--method", "lora", "--batch-size", "8", "--max-steps", "100000", "--save-steps", "5", "--output", "out"]
    checkpoints = tmp_path / "disk0/out/checkpoint"

    def stopped(*more):
        process = dtrain.start("train", *options, *more, ranks=2, before=apart)
        before = {path.name for path in checkpoints.glob("step-*[0-9]")}
        wait_for(lambda: process.poll() is not None or {path.name for path in checkpoints.glob("step-*[0-9]")} - before,
                 what="a checkpoint")
        process.send_signal(signal.SIGUSR1)
        return dtrain.end(process)

    assert stopped().code == 75
    ended = stopped("--resume")
    assert ended.code == 75 and "resumed at step" in ended.out, ended
