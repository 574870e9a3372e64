"""What starts dtrain on two hosts: srun, mpirun in an allocation, and a job array."""

import json
import re

import pytest

from conftest import ADAPTER, PROGRAM, ROOT, STEADY

STEPS = ["--max-steps", "6"]


@pytest.mark.parametrize("ranks", [2, 4])
def test_srun_over_both_hosts_trains_the_bytes_of_one_rank(cluster, folder, task, trained_alone, ranks):
    ended = cluster("srun", "--mpi=pmix", "-N2", f"-n{ranks}", f"--ntasks-per-node={ranks // 2}", PROGRAM, "train", *task,
                    *STEADY, *STEPS, "--output", "out", cwd=folder)
    assert ended.code == 0 and f"{ranks} ranks (back end mpi)" in ended.text, ended
    assert (folder / "out" / ADAPTER).read_bytes() == trained_alone(6), ended
    assert ended.text.count("SLURM job") == 1, "it is said once"
    assert "its end is not known" in ended.text and "on SIGUSR1 or SIGTERM it writes a checkpoint" in ended.text, ended


def test_mpirun_in_an_allocation_trains_the_bytes_of_one_rank(cluster, folder, task, trained_alone):
    ended = cluster("salloc", "-N2", "--ntasks-per-node=2", "--time=5", "mpirun", "-np", "4", PROGRAM, "train", *task, *STEADY,
                    *STEPS, "--output", "out", cwd=folder)
    assert ended.code == 0 and "4 ranks (back end mpi)" in ended.text, ended
    # This SLURM tells it who asks.
    assert re.search(r"SLURM job \d+, ends at [-\d]+ [:\d]+; on SIGUSR1 or SIGTERM, and in 4 min ", ended.text), ended
    assert (folder / "out" / ADAPTER).read_bytes() == trained_alone(6), ended


# Debian's OpenMPI knows PMIx alone; what it says of another PMI is its own.
@pytest.mark.parametrize("kind, code, says", [
    ("none", 2, "SLURM started 2 tasks, but MPI sees 1 rank: srun and OpenMPI do not speak the same PMI. Use srun --mpi=pmix"),
    ("pmi2", 1, "PMI support")])
def test_tasks_that_do_not_see_each_other_are_refused(cluster, folder, task, kind, code, says):
    ended = cluster("srun", f"--mpi={kind}", "-N2", "-n2", PROGRAM, "train", *task, *STEPS, "--output", "out", cwd=folder)
    assert ended.code == code and says in ended.text, ended
    assert ended.text.count("dtrain: error:") == (1 if code == 2 else 0), ended
    assert not (folder / "out").exists(), ended


def test_a_job_array_runs_a_study_for_each_number(cluster, folder, task):
    study = ["--methods", "head", "--lrs", "1e-2", "--samples", "30", "--max-steps", "4", "--seeds", "2", "--subset-seed", "%a",
             "--output", "study-%a"]
    job = cluster.submit(ROOT / "scripts" / "study.sbatch", *task, *study, cwd=folder,
                         options=["--array=3-4", "--nodes=1", "--ntasks-per-node=2"])
    for number in (3, 4):
        facts = cluster.wait_for_state(f"{job}_{number}", "COMPLETED", "FAILED")
        assert facts["JobState"] == "COMPLETED", [path.read_text() for path in folder.glob("dtrain-study-*.out")]
        assert json.loads((folder / f"study-{number}" / "results.json").read_text())["plan"]["subset_seed"] == number
    ended = cluster(PROGRAM, "report", "study-3", "study-4", "--output", "all.html", cwd=folder)
    assert ended.code == 0 and (folder / "all.html").exists(), ended


def test_the_script_for_scaling_times_a_rank_a_host_and_both(cluster, folder, task):
    given = [argument for option in ("--model", "--max-length", "--train", "--dev")
             for argument in (option, task[task.index(option) + 1])]
    job = cluster.submit(ROOT / "scripts" / "scaling.sbatch", *given, "--methods", "head", cwd=folder,
                         options=["--nodes=2", "--ntasks-per-node=2", "--overcommit"])
    facts = cluster.wait_for_state(job, "COMPLETED", "FAILED", seconds=120)
    said = (folder / f"dtrain-scaling-{job}.out").read_text()
    assert facts["JobState"] == "COMPLETED", said
    points = json.loads((folder / f"scaling-{job}.json").read_text())["points"]
    assert [point["ranks"] for point in points if point["scaling"] == "weak"] == [1, 2, 4], said
    assert (folder / f"scaling-{job}.svg").exists()
    assert [json.loads((folder / f"links-{job}-{nodes}.json").read_text())["ranks"] for nodes in (1, 2)] == [2, 4], said
