"""Jobs that end before their work: by a signal, a time limit, or their user."""

import re

from conftest import ADAPTER, PROGRAM, ROOT, SOME, STEADY, steps_logged

SCRIPT = ROOT / "scripts" / "dtrain.sbatch"
TWO_HOSTS = ["--nodes=2", "--ntasks-per-node=1"]


def said_by(folder, job):
    return (folder / f"dtrain-{job}.out").read_text()


def start_training(cluster, folder, task, *arguments, options=()):
    job = cluster.submit(SCRIPT, "train", *task, *STEADY, *arguments, "--output", "out", cwd=folder,
                         options=[*TWO_HOSTS, *options])
    cluster.wait_for(lambda: steps_logged(folder / "out") > 5 or cluster.facts(job)["JobState"] == "FAILED", 60, "training")
    assert cluster.facts(job)["JobState"] == "RUNNING", said_by(folder, job)
    return job


def test_a_job_that_gets_a_signal_is_started_again_and_ends_in_the_bytes_of_a_run_left_alone(
        cluster, folder, task, trained_alone):
    # --overwrite must not remove what the first start wrote.
    job = start_training(cluster, folder, task, "--max-steps", SOME, "--overwrite")
    cluster("scancel", "--signal=USR1", job)
    facts = cluster.wait_for_state(job, "COMPLETED", "FAILED", seconds=90)
    said = said_by(folder, job)
    assert facts["JobState"] == "COMPLETED" and facts["Restarts"] == "1", said
    stopped = re.search(rf"stopped by a signal after step (\d+) of {SOME}; the checkpoint is written", said)
    assert stopped, said
    assert f"SLURM job {job}, started again 1 time" in said and "--overwrite would remove what it wrote" in said, said
    assert f"resumed at step {stopped[1]} of {SOME}" in said, "both are in one file:\n" + said
    assert (folder / "out" / ADAPTER).read_bytes() == trained_alone(SOME)


def test_a_job_stops_before_its_time_limit_without_a_signal(cluster, folder, task):
    job = start_training(cluster, folder, task, "--max-steps", 10**6, options=["--time=1", "--signal=URG@1"])
    facts = cluster.wait_for_state(job, "PENDING", "FAILED", "TIMEOUT", seconds=70)
    said = said_by(folder, job)
    assert facts["JobState"] == "PENDING" and facts["Restarts"] == "1", said
    assert re.search(rf"SLURM job {job}, ends at [-\d]+ [:\d]+; on SIGUSR1 or SIGTERM, and in [345]\d\.\d s \(", said), said
    assert "stopped by the time limit after step" in said and "the checkpoint is written" in said, said
    assert len(list((folder / "out" / "checkpoint").glob("step-*"))) == 1


def test_max_time_stops_a_run_and_a_study_with_exit_code_75(cluster, folder, task):
    srun = ["srun", "--mpi=pmix", "-N2", "-n2", PROGRAM]
    ended = cluster(*srun, "train", *task, *STEADY, "--max-steps", 10**6, "--max-time", "5s", "--output", "run", cwd=folder)
    assert ended.code == 75 and "stopped by the time limit after step" in ended.text, ended
    # Trials long enough that no machine ends all of them in twice the time.
    study = ["compare", *task, "--methods", "head", "--samples", "30", "--lrs", "1e-2", "--max-steps", 3000, "--seeds", "500",
             "--budget", "none", "--output", "study"]
    ended = cluster(*srun, *study, "--max-time", "12s", cwd=folder, timeout=150)
    assert ended.code == 75 and "stopped by the time limit;" in ended.text, ended
    trials = len((folder / "study" / "journal.jsonl").read_text().splitlines())
    ended = cluster(*srun, *study, "--max-time", "12s", "--resume", cwd=folder, timeout=150)
    assert ended.code == 75 and re.search(r"[1-9]\d* trials are finished already", ended.text), ended
    assert len((folder / "study" / "journal.jsonl").read_text().splitlines()) > trials


def test_a_study_whose_trials_are_longer_than_its_time_is_not_started_again_for_ever(cluster, folder, task):
    ended = cluster("srun", "--mpi=pmix", "-N2", "-n2", PROGRAM, "compare", *task, "--methods", "head", "--samples", "30",
                    "--lrs", "1e-2", "--max-steps", 10**6, "--seeds", "2", "--max-time", "6s", "--output", "study", cwd=folder)
    assert ended.code == 4 and "the time limit came before a single trial had ended" in ended.text, ended


def test_a_job_that_its_user_cancels_leaves_a_checkpoint_and_stays_ended(cluster, folder, task):
    job = start_training(cluster, folder, task, "--max-steps", 10**6)
    cluster("scancel", job)
    facts = cluster.wait_for_state(job, "CANCELLED")
    cluster.wait_until_idle()
    said = said_by(folder, job)
    assert facts["Restarts"] == "0" and cluster.facts(job)["JobState"] == "CANCELLED", said
    assert len(list((folder / "out" / "checkpoint").glob("step-*[0-9]"))) == 1, said
    assert not (folder / "out" / "dtrain.lock").exists(), said
