"""Jobs that end before their work: by a signal, a time limit, or their user."""

import json
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


def test_a_job_stops_before_its_time_limit_without_a_signal_and_goes_on_to_its_end(cluster, folder, task):
    # So many steps that one start is too short for them, and the next is not.
    ended = cluster("srun", "--mpi=pmix", "-N2", "-n2", PROGRAM, "train", *task, *STEADY, "--max-steps", SOME, "--output",
                    "timed", cwd=folder)
    assert ended.code == 0, ended
    rate = json.loads((folder / "timed" / "results.json").read_text())["cost"]["samples_per_second"] / 8
    steps = int(80 * rate)
    job = start_training(cluster, folder, task, "--max-steps", steps, options=["--time=1", "--signal=URG@1"])
    facts = cluster.wait_for_state(job, "PENDING", "FAILED", "TIMEOUT", seconds=70)
    said = said_by(folder, job)
    assert facts["JobState"] == "PENDING" and facts["Restarts"] == "1", said
    assert re.search(rf"SLURM job {job}, ends at [-\d]+ [:\d]+; on SIGUSR1 or SIGTERM, and in [345]\d\.\d s \(", said), said
    assert "stopped by the time limit after step" in said and "the checkpoint is written" in said, said
    [checkpoint] = (folder / "out" / "checkpoint").glob("step-*")
    facts = cluster.wait_for_state(job, "COMPLETED", "FAILED", "TIMEOUT", seconds=150)
    said = said_by(folder, job)
    assert facts["JobState"] == "COMPLETED" and int(facts["Restarts"]) >= 1, said
    assert f"resumed at {checkpoint.name.replace('-', ' ')} of {steps}" in said, said
    logged = [json.loads(line)["step"] for line in (folder / "out" / "log.jsonl").read_text().splitlines()]
    assert logged == list(range(1, steps + 1)), "every step is in the log once"


STUDY = ["--methods", "head", "--samples", "30", "--lrs", "1e-2", "--max-steps", "6000", "--seeds", "8", "--budget", "none"]


def results_of(study):
    """The lines of the journal, as far as they are whole, that are results."""
    journal = study / "journal.jsonl"
    lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
    return [line for line in lines if json.loads(line).get("phase") == "result"]


def stop_in_the_middle(cluster, folder, job, study):
    """Gives a study a signal when it has its first result; returns those it had, once it has gone on to its end."""
    cluster.wait_for(lambda: results_of(study) or cluster.facts(job).get("JobState") == "FAILED", 60, "a result")
    cluster("scancel", "--signal=USR1", job)
    facts = cluster.wait_for_state(job, "PENDING", "COMPLETED", "FAILED")
    before = results_of(study)
    assert (facts["JobState"], facts["Restarts"]) == ("PENDING", "1"), said_by_studies(folder)
    facts = cluster.wait_for_state(job, "COMPLETED", "FAILED", seconds=90)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1"), said_by_studies(folder)
    return before


def said_by_studies(folder):
    return "\n".join(path.read_text() for path in folder.glob("dtrain-study-*.out"))


def test_one_study_of_an_array_that_gets_a_signal_is_started_again_alone(cluster, folder, task):
    job = cluster.submit(ROOT / "scripts" / "study.sbatch", *task, *STUDY, "--subset-seed", "%a", "--output", "study-%a",
                         cwd=folder, options=["--array=3-4", "--nodes=1", "--ntasks-per-node=2"])
    # The last of an array has the array's own number as its SLURM_JOB_ID, and is not the array.
    before = stop_in_the_middle(cluster, folder, f"{job}_4", folder / "study-4")
    facts = cluster.wait_for_state(f"{job}_3", "COMPLETED", "FAILED")
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "0"), said_by_studies(folder)
    assert before and results_of(folder / "study-4")[:len(before)] == before
    for number in (3, 4):
        assert len(results_of(folder / f"study-{number}")) == 8
        assert json.loads((folder / f"study-{number}" / "results.json").read_text())["plan"]["subset_seed"] == number


def test_a_study_over_two_hosts_that_gets_a_signal_is_started_again_and_keeps_its_trials(cluster, folder, task):
    job = cluster.submit(ROOT / "scripts" / "study.sbatch", *task, *STUDY, "--output", "study", cwd=folder, options=TWO_HOSTS)
    before = stop_in_the_middle(cluster, folder, job, folder / "study")
    said = said_by_studies(folder)
    assert re.search(r"[1-9]\d* trials are finished already", said) and f"SLURM job {job}, started again 1 time" in said, said
    assert before and results_of(folder / "study")[:len(before)] == before
    assert len(results_of(folder / "study")) == 8 and (folder / "study" / "results.json").exists()


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
