"""What fails under a job: a task, a host's network, a host's daemon."""

import os
import re
import signal

import pytest

from conftest import ADAPTER, PROGRAM, ROOT, SOME, STEADY, small

SRUN = ["srun", "--mpi=pmix", "--kill-on-bad-exit", "-N2", "-n2", PROGRAM]


def training(cluster, folder, task, *arguments):
    """A run over both hosts that has a checkpoint."""
    process = cluster.start(*SRUN, "train", *task, *STEADY, "--save-steps", "20", *arguments, "--output", "out", cwd=folder)
    cluster.wait_for(lambda: process.poll() is not None or checkpoints(folder), 60, "training")
    assert process.poll() is None, cluster.finish(process)
    return process


def checkpoints(folder):
    return list((folder / "out" / "checkpoint").glob("step-*[0-9]"))


def test_a_task_that_is_killed_ends_the_step_and_the_next_one_goes_on(cluster, folder, task, trained_alone):
    process = training(cluster, folder, task, "--max-steps", SOME)
    cluster.wait_for(lambda: len(cluster.ranks(PROGRAM)) == 2, 30, "both ranks")
    ranks = cluster.ranks(PROGRAM)
    assert sorted(ranks) == [("n1", 0), ("n2", 1)], ranks
    os.kill(ranks["n2", 1], signal.SIGKILL)
    ended = cluster.finish(process, 20)
    assert ended.code == 137 and "n2: task 1: Killed" in ended.text, ended
    assert checkpoints(folder)
    ended = cluster(*SRUN, "train", *task, *STEADY, "--save-steps", "20", "--max-steps", SOME, "--output", "out", "--resume",
                    cwd=folder)
    assert ended.code == 0 and "resumed at step" in ended.text, ended
    assert re.search(r"takes over the lock that train in SLURM job \d+, process \d+ on n1 left", ended.text), ended
    assert (folder / "out" / ADAPTER).read_bytes() == trained_alone(SOME)


def test_a_host_whose_network_is_cut_is_named_after_the_timeout(cluster, folder, task):
    process = training(cluster, folder, task, "--max-steps", 10**6, "--comm-timeout", "4")
    cluster.set_link("n2", "down")
    try:
        cluster.wait_for(lambda: process.poll() is not None or ("n1", 0) not in cluster.ranks(PROGRAM), 30, "the end of rank 0")
    finally:
        cluster.set_link("n2", "up")
    ended = cluster.finish(process, 30)
    assert ended.code == 5, ended
    # In a collective, or in a message that it waits for.
    assert re.search(r"rank 0: .* did not end within 4.0 s: .*rank 1 (?:is )?on n2\b", ended.text), ended
    assert checkpoints(folder)


def test_a_network_that_is_slow_changes_no_byte(cluster, folder, task, trained_alone):
    process = training(cluster, folder, task, "--max-steps", SOME)
    rate = small.log_lines(folder / "out")[-1]["samples_per_second"]
    how = cluster.slow_link("n2")
    if how is None:
        process.kill()
        pytest.skip("this kernel has neither sch_netem nor sch_tbf, which slow a network")
    try:
        ended = cluster.finish(process, 120)
    finally:
        cluster.restore_link("n2")
    assert ended.code == 0, (how, ended)
    assert small.log_lines(folder / "out")[-1]["samples_per_second"] < rate / 2, f"{how} did not slow the run: {ended}"
    assert (folder / "out" / ADAPTER).read_bytes() == trained_alone(SOME), how


def submitted(cluster, folder, task):
    """A job over both hosts that has a checkpoint."""
    job = cluster.submit(ROOT / "scripts" / "dtrain.sbatch", "train", *task, *STEADY, "--save-steps", "20", "--max-steps", SOME,
                         "--output", "out", cwd=folder, options=["--nodes=2", "--ntasks-per-node=1"])
    cluster.wait_for(lambda: checkpoints(folder), 60, "a checkpoint")
    return job


def test_a_daemon_that_is_killed_and_comes_back_disturbs_no_job(cluster, folder, task, trained_alone):
    job = submitted(cluster, folder, task)
    cluster.kill_slurmd("n2")
    facts = cluster.wait_for_state(job, "COMPLETED", "FAILED", "NODE_FAIL")
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "0"), (folder / f"dtrain-{job}.out").read_text()
    assert (folder / "out" / ADAPTER).read_bytes() == trained_alone(SOME)


def test_a_job_whose_host_is_lost_is_started_again_by_slurm_and_goes_on(cluster, folder, task, trained_alone):
    job = submitted(cluster, folder, task)
    try:
        cluster.lose("n2")
        assert cluster.wait_for_state(job, "PENDING", "FAILED", "NODE_FAIL")["JobState"] == "PENDING"
    finally:
        cluster.revive("n2")
    facts = cluster.wait_for_state(job, "COMPLETED", "FAILED", "NODE_FAIL", seconds=90)
    said = (folder / f"dtrain-{job}.out").read_text()
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1") and "resumed at step" in said, said
    assert (folder / "out" / ADAPTER).read_bytes() == trained_alone(SOME), said
