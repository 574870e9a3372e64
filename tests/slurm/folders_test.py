"""Folders that both hosts share, and folders that each has for itself."""

from conftest import PROGRAM, STEADY, steps_logged

SRUN = ["srun", "--mpi=pmix", "-N2", "-n2", PROGRAM]


def test_an_output_that_one_host_has_for_itself_is_said(cluster, folder, task):
    ended = cluster(*SRUN, "train", *task, *STEADY, "--max-steps", "3", "--output", "/tmp/out", cwd=folder)
    assert ended.code == 0, ended
    assert "warning: /tmp/out is not on a disk that all nodes share: n2 does not see it" in ended.text, ended
    # The next job may have its first rank there, and finds nothing.
    ended = cluster(*SRUN, "train", *task, *STEADY, "--max-steps", "3", "--output", "out", cwd=folder)
    assert ended.code == 0 and "not on a disk" not in ended.text, ended


def test_data_that_one_host_lacks_is_refused_by_its_name(cluster, folder, task, data):
    own = "/tmp/train.tsv"
    assert cluster("srun", "-w", "n1", "cp", data / "train.tsv", own).code == 0
    given = [own if value == data / "train.tsv" else value for value in task]
    ended = cluster(*SRUN, "train", *given, *STEADY, "--max-steps", "3", "--output", "out", cwd=folder)
    assert ended.code == 3 and f"dtrain: error: rank 1: cannot read {own}" in ended.text, ended


def test_a_second_job_in_the_same_folder_is_refused_and_the_first_is_named(cluster, folder, task):
    job = cluster.submit("--wrap", f"srun --mpi=pmix {PROGRAM} train {' '.join(map(str, [*task, *STEADY]))} "
                         "--max-steps 1000000 --output out", options=["--nodes=1", "--nodelist=n1"], cwd=folder)
    cluster.wait_for(lambda: steps_logged(folder / "out") > 5, 60, "training")
    ended = cluster("srun", "--mpi=pmix", "--nodelist=n2", PROGRAM, "train", *task, *STEADY, "--max-steps", "3", "--output", "out",
                    "--resume", cwd=folder)
    assert ended.code == 2 and f"another dtrain works in out (train in SLURM job {job}, process " in ended.text, ended
    assert " on n1)" in ended.text, ended
