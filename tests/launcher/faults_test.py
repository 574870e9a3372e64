"""Real faults under mpirun: a rank killed or stopped, and the signals that schedulers send."""

import os
import re
import signal
import time

import pytest

from conftest import log_lines, ranks_of, results, wait_for, write_tsv

# Long enough to be stopped in the middle, short steps.
LONG = ["--max-steps", "100000", "--log-steps", "1"]


def training(dtrain, task, tmp_path, *arguments, **settings):
    """A run on two ranks that has made some steps; its ranks' process ids."""
    process = dtrain.start("train", *task, *LONG, *arguments, "--output", "out", ranks=2, **settings)
    log = tmp_path / "out" / "log.jsonl"
    wait_for(lambda: process.poll() is not None or (log.exists() and log.read_text().count("\n") > 5), what="training")
    ranks = ranks_of(process)
    assert process.poll() is None and sorted(ranks) == [0, 1], dtrain.end(process)
    return process, ranks


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_killed_ends_the_job_within_ten_seconds_and_is_named(dtrain, task, tmp_path, victim):
    process, ranks = training(dtrain, task, tmp_path)
    os.kill(ranks[victim], signal.SIGKILL)
    ended = dtrain.end(process, timeout=10)
    assert ended.code == 137, ended
    assert f"rank {victim}" in ended.out + ended.err and "signal 9" in ended.out + ended.err, ended
    # None outlives the job.
    wait_for(lambda: not any(os.path.exists(f"/proc/{rank}") for rank in ranks.values()), 10, "the end of every rank")
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_rank_that_stands_still_is_named_after_the_timeout(dtrain, task, tmp_path):
    process, ranks = training(dtrain, task, tmp_path, "--comm-timeout", "3")
    os.kill(ranks[1], signal.SIGSTOP)
    begin = time.monotonic()
    try:
        ended = dtrain.end(process, timeout=30)
    finally:
        if os.path.exists(f"/proc/{ranks[1]}"):
            os.kill(ranks[1], signal.SIGKILL)
    assert ended.code == 5, ended
    assert 3 <= time.monotonic() - begin < 20, ended
    # It stops in the middle of a step or while it waits itself.
    said = re.search(r"did not end within 3.0 s: (.*)", ended.err)
    assert said and said[1].startswith(("rank 1 did not come", "rank 1 started it and stands still")), ended
    assert "dtrain: error: rank 0:" in ended.err, ended


def test_collectives_that_fail_on_every_rank_end_the_job_with_exit_code_5(dtrain, task, tmp_path):
    """Every rank comes to the end, but what is under way between them cannot be finalised."""
    process, _ = training(dtrain, task, tmp_path, "--comm-timeout", "2",
                          env={"LD_PRELOAD": os.environ["DTRAIN_TEST_DEAF_MPI"], "TEST_DEAF_FROM": str(tmp_path / "deaf")})
    (tmp_path / "deaf").touch()
    ended = dtrain.end(process, timeout=20)
    assert ended.code == 5 and ended.seconds < 15, ended
    assert ended.err.count("dtrain: error:") == 1 and "dtrain: error: rank 0: " not in ended.err, ended
    assert re.search(r"[a-z_]+ #\d+ did not end within 2.0 s", ended.err), ended


def stop(how, process, ranks):
    if how == "SIGUSR1 to mpirun":
        process.send_signal(signal.SIGUSR1)
    elif how == "SIGTERM to all ranks":
        for rank in ranks.values():
            os.kill(rank, signal.SIGTERM)
    else:
        os.kill(ranks[1], signal.SIGTERM)


def test_the_other_ranks_wait_for_a_checkpoint_on_a_slow_disk(dtrain, task, tmp_path):
    process, ranks = training(dtrain, task, tmp_path, "--comm-timeout", "3",
                              env={"LD_PRELOAD": os.environ["DTRAIN_TEST_SLOW_SYNC"]})
    stop("SIGTERM to all ranks", process, ranks)
    ended = dtrain.end(process, timeout=30)
    assert ended.code == 75 and ended.seconds > 5, ended
    [checkpoint] = (tmp_path / "out" / "checkpoint").iterdir()
    assert checkpoint.suffix != ".part", ended


@pytest.mark.parametrize("how", ["SIGUSR1 to mpirun", "SIGTERM to all ranks", "SIGTERM to one rank"])
def test_a_stop_signal_ends_with_a_checkpoint_and_resume_goes_on(dtrain, task, tmp_path, how):
    process, ranks = training(dtrain, task, tmp_path)
    stop(how, process, ranks)
    ended = dtrain.end(process, timeout=20)
    assert ended.code == 75, ended
    assert "dtrain: stopped by a signal after step" in ended.err and "go on with --resume" in ended.err, ended
    assert "error:" not in ended.err, ended
    [checkpoint] = (tmp_path / "out" / "checkpoint").iterdir()
    step = int(checkpoint.name.split("-")[1])
    assert f"after step {step} of 100000" in ended.err, ended
    assert not (tmp_path / "out" / "results.json").exists()

    process = dtrain.start("train", *task, *LONG, "--output", "out", "--resume", ranks=2)
    wait_for(lambda: process.poll() is not None or log_lines(tmp_path / "out")[-1]["step"] > step, what="the next step")
    process.send_signal(signal.SIGUSR1)
    ended = dtrain.end(process, timeout=20)
    assert ended.code == 75 and f"resumed at step {step} of 100000" in ended.out, ended
    steps = [line["step"] for line in log_lines(tmp_path / "out")]
    assert steps == list(range(1, len(steps) + 1)), "every step is in the log once"


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_signal_before_mpi_is_initialised_ends_with_exit_code_75_when_all_is_loaded(dtrain, task, tmp_path, ranks):
    run = ["train", *task, "--method", "head", "--max-steps", "3", "--output", "out"]
    ended = dtrain(*run, ranks=ranks, env={"LD_PRELOAD": os.environ["DTRAIN_TEST_EARLY_SIGNAL"]})
    assert ended.code == 75 and "dtrain: stopped by a signal before there was anything to save" in ended.err, ended
    assert "error:" not in ended.err and not (tmp_path / "out" / "log.jsonl").exists(), ended
    dtrain.succeeds(*run, "--resume", ranks=ranks)


def test_a_signal_before_mpi_is_initialised_ends_at_once_where_nothing_can_be_saved(dtrain):
    ended = dtrain("methods", env={"LD_PRELOAD": os.environ["DTRAIN_TEST_EARLY_SIGNAL"]})
    assert ended.code == -signal.SIGUSR1 and not ended.out, ended


@pytest.mark.parametrize("limit, said", [
    (["--max-time", "5s"], "in 4.5 s (500 ms before the end of --max-time 5s)"),
    ("SLURM_JOB_END_TIME", "before the end of SLURM job 7)"),
    ("squeue", "before the end of SLURM job 7)")])
def test_a_time_limit_ends_with_a_checkpoint_as_a_signal_does(dtrain, task, tmp_path, limit, said):
    arguments = [] if isinstance(limit, str) else limit
    before = []
    env = {"SLURM_JOB_ID": "7"} if isinstance(limit, str) else {}
    if limit == "SLURM_JOB_END_TIME":
        env[limit] = str(int(time.time()) + 6)
    elif limit == "squeue":
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 7))
        squeue = tmp_path / "bin" / "squeue"
        squeue.parent.mkdir()
        squeue.write_text(f"#!/bin/sh\necho >>{tmp_path / 'asked'}\necho {end}\n")
        squeue.chmod(0o755)
        # Set behind the launcher: one that is called by its path puts its own folder first, where squeue may be, too.
        before = ["env", f"PATH={squeue.parent}:{os.environ['PATH']}"]
    ended = dtrain("train", *task, *LONG, *arguments, "--output", "out", ranks=2, env=env, before=before)
    assert ended.code == 75 and ended.out.count("on SIGUSR1 or SIGTERM, and ") == 1 and said in ended.out, ended
    assert "dtrain: stopped by the time limit after step" in ended.err and "go on with --resume" in ended.err, ended
    assert len(list((tmp_path / "out" / "checkpoint").iterdir())) == 1
    assert limit != "squeue" or (tmp_path / "asked").read_text() == "\n", "one rank asks, once"
    # Of a job that SLURM has started again, --overwrite must not remove it.
    again = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}
    ended = dtrain("train", *task, *LONG, "--max-time", "4s", "--output", "out", "--overwrite", ranks=2, env=again)
    assert ended.code == 75 and "resumed at step" in ended.out and "is taken for --resume" in ended.err, ended


def test_a_signal_after_training_leaves_what_was_trained_and_resume_scores_it(dtrain, task, data, tmp_path):
    many = write_tsv(tmp_path / "many.tsv", [("animal", "the old cat in a pine with a small saw and the rose")] * 60000)
    run = ["train", *task, "--method", "lora", "--max-steps", "2", "--ood", f"many={many}", "--output", "out"]
    process = dtrain.start(*run)
    wait_for(lambda: process.poll() is not None or (tmp_path / "out" / "adapter").exists(), what="the adapter")
    process.send_signal(signal.SIGTERM)
    ended = dtrain.end(process, timeout=20)
    assert ended.code == 75 and "what was trained is in out/adapter" in ended.err, ended
    dtrain.succeeds("evaluate", "--run", "out", "--input", data / "test.tsv", "--max-length", "32")
    trained = (tmp_path / "out" / "adapter" / "adapter_model.safetensors").read_bytes()
    ended = dtrain.succeeds(*run, "--resume")
    assert "resumed at step 2 of 2" in ended.out, ended
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").read_bytes() == trained
    assert results(tmp_path / "out")["cost"]["samples_per_second"] > 0
    assert [line["step"] for line in log_lines(tmp_path / "out")] == [2]
    assert not (tmp_path / "out" / "checkpoint").exists(), "nothing goes on from there"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGBUS])
def test_a_signal_while_nothing_can_be_saved_ends_at_once(dtrain, sent):
    process = dtrain.start("bench", "gemm")
    assert "1 rank" in process.stdout.readline()
    process.send_signal(sent)
    ended = dtrain.end(process, timeout=5)
    assert ended.code == -sent, ended


def test_a_signal_to_a_run_without_output_says_that_nothing_is_kept(dtrain, task):
    process = dtrain.start("train", *task, *LONG)
    # The last of the first lines comes before training.
    while not process.stdout.readline().startswith("method:"):
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    ended = dtrain.end(process, timeout=20)
    assert ended.code == 75 and "without --output nothing is kept" in ended.err, ended


def test_a_learning_rate_that_explodes_ends_with_step_and_rate(dtrain, task, tmp_path):
    dtrain.refuses("train", *task, "--lr", "1e30", "--max-grad-norm", "0", "--max-steps", "50", "--output", "out",
                   ranks=2, code=4, says=["step ", "a lower --lr than 1e+30 usually helps"])
    assert not (tmp_path / "out" / "results.json").exists() and not (tmp_path / "out" / "model").exists()
