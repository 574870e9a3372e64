"""Where the output goes: nothing of the user's is lost, and nothing half-written has a final name."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import Dtrain, leftovers, results, wait_for

STEPS = ["--max-steps", "3"]


def test_a_directory_that_holds_something_is_left_alone(dtrain, task, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    dtrain.refuses("train", *task, *STEPS, "--output", "out", code=2,
                   says=["--output out: the directory is not empty", "--resume", "--overwrite"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("ranks, arguments", [(None, ["--overwrite"]), (2, ["--resume"])])
def test_a_second_run_in_the_same_directory_is_refused_while_the_first_one_lasts(dtrain, task, tmp_path, ranks, arguments):
    first = dtrain.start("train", *task, "--max-steps", "100000", "--log-steps", "1", "--output", "out")
    log = tmp_path / "out" / "log.jsonl"
    wait_for(lambda: first.poll() is not None or (log.exists() and log.stat().st_size > 0), what="training")
    for command in (["train", *task, *STEPS], ["compare", *task]):
        dtrain.refuses(*command, "--output", "out", *arguments, ranks=ranks, code=2,
                       says=["another dtrain works in out", f"(train, process {first.pid} on "])
    first.send_signal(signal.SIGTERM)
    assert dtrain.end(first).code == 75
    assert not (tmp_path / "out" / "dtrain.lock").exists()
    # One that a killed run left is no obstacle.
    (tmp_path / "out" / "dtrain.lock").write_text("train, process 1 on nowhere")
    ended = dtrain.succeeds("train", *task, *STEPS, "--output", "out", "--overwrite", env={"SLURM_JOB_ID": "7"})
    assert "out: takes over the lock that train, process 1 on nowhere left" in ended.out, ended


def test_what_is_refused_leaves_no_directory(dtrain, task, tmp_path):
    dtrain.refuses("train", *task[:4], "--train", "absent.tsv", *STEPS, "--output", "new/out", code=3, says="absent.tsv")
    assert list(tmp_path.iterdir()) == []


def test_overwrite_replaces_what_dtrain_wrote_and_nothing_else(dtrain, task, tmp_path):
    dtrain.succeeds("train", *task, *STEPS, "--save-steps", "1", "--output", "out")
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    dtrain.succeeds("train", *task, *STEPS, "--method", "head", "--output", "out", "--overwrite")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "adapter", "config.ini", "log.jsonl", "predictions", "results.json", "thesis.tex"]


def test_overwrite_keeps_the_old_results_until_the_new_run_has_its_data(dtrain, task, tmp_path):
    dtrain.succeeds("train", *task, *STEPS, "--output", "out")
    before = (tmp_path / "out" / "results.json").read_bytes()
    dtrain.refuses("train", *task[:4], "--train", "absent.tsv", *STEPS, "--output", "out", "--overwrite", code=3,
                   says="absent.tsv")
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    assert (tmp_path / "out" / "model" / "model.safetensors").exists()


def test_an_output_that_is_a_file_or_below_one_is_refused(dtrain, task, tmp_path):
    (tmp_path / "file").write_text("")
    dtrain.refuses("train", *task, *STEPS, "--output", "file", code=2, says="--output file: it is a file")
    dtrain.refuses("train", *task, *STEPS, "--output", "file/below", code=2, says=["file/below", "Not a directory"])


@pytest.fixture
def open_folder():
    """A folder that every user reaches: pytest closes its own to others, again whenever another session starts."""
    with tempfile.TemporaryDirectory(prefix="dtrain-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root, and no setpriv to be another")
def test_an_output_that_is_not_writable_is_refused(dtrain, tiny_model, data, open_folder):
    closed = open_folder / "closed"
    closed.mkdir(mode=0o755)
    home = open_folder / "home"
    home.mkdir()
    before = []
    if os.geteuid() == 0:
        # The tests' folders are closed to others: the other user gets copies.
        for folder in (tiny_model, data):
            shutil.copytree(folder, home / folder.name)
            (home / folder.name).chmod(0o755)
        os.chown(home, 65534, 65534)
        before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run([*before, "test", "-x", dtrain_program()], check=False).returncode != 0:
            pytest.skip(f"this is root, and the user nobody cannot reach {dtrain_program()}")
        model, rows = home / tiny_model.name, home / data.name
    else:
        closed.chmod(0o555)
        model, rows = tiny_model, data
    settings = {"before": before, "env": {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}, "cwd": home}
    run = ["train", "--model", model, "--train", rows / "train.tsv", "--max-length", "32", *STEPS, "--output"]
    for output in (closed, closed / "new"):
        dtrain.refuses(*run, output, code=2, says=[f"--output {output}: {closed} is not writable"], **settings)
    dtrain.succeeds(*run, home / "out", **settings)


def dtrain_program():
    from conftest import PROGRAM
    return PROGRAM


def limited(bytes_):
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))}


def test_a_file_that_cannot_be_ended_leaves_nothing_half_written_under_a_final_name(dtrain, task, tmp_path):
    """A file larger than the process may write fails as on a full disk, in the middle of the file."""
    dtrain.succeeds("train", *task, *STEPS)  # fills the token cache
    ended = dtrain.refuses("train", *task, *STEPS, "--output", "out", code=4,
                           says=["cannot write", "model.safetensors", "Free space"], **limited(1_000_000))
    assert ended.seconds < 30
    assert not (tmp_path / "out" / "model").exists() and not (tmp_path / "out" / "results.json").exists()
    assert leftovers(tmp_path / "out") == []


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(dtrain, task, tmp_path):
    run = ["train", *task, "--max-steps", "6", "--save-steps", "2", "--output", "out"]
    dtrain.refuses(*run, code=4, says="cannot write", **limited(1_000_000))
    assert leftovers(tmp_path / "out") == []
    assert list((tmp_path / "out" / "checkpoint").iterdir()) == []
    dtrain.succeeds(*run, "--resume")
    assert results(tmp_path / "out")["steps"] == 6


def mounted(folder, size):
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=False,
                          stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_full_file_system_ends_the_run_with_its_message(dtrain, task, tmp_path, ranks):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mounted(disk, "2m"):
        pytest.skip("no file system may be mounted here, as in a container without rights")
    try:
        ended = dtrain.refuses("train", *task, *STEPS, "--output", disk / "out", ranks=ranks, code=4,
                               says=["No space left on device", "Free space"])
        assert ended.seconds < 30
        assert leftovers(disk / "out") == [] and not (disk / "out" / "model").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@contextlib.contextmanager
def disk_with_a_quota(tmp_path, size):
    """A file system of btrfs in a file, whose quota also binds root."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("no mkfs.btrfs (Debian: btrfs-progs)")
    with open(image, "wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=False, capture_output=True).returncode != 0:
        pytest.skip("no btrfs may be mounted here")
    try:
        subprocess.run(["btrfs", "quota", "enable", str(disk)], check=True)
        subprocess.run(["btrfs", "qgroup", "limit", size, str(disk)], check=True)
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_quota_ends_the_run_with_its_message_and_leaves_the_checkpoint_before(dtrain, task, tmp_path, ranks):
    run = ["train", *task, "--method", "full", "--max-steps", "7", "--save-steps", "2", "--virtual-ranks", "2", "--output"]
    # Two checkpoints fit, and not a third beside them.
    with disk_with_a_quota(tmp_path, "34M") as disk:
        ended = dtrain.refuses(*run, disk / "out", ranks=ranks, code=4, says=["Disk quota exceeded", "Free space"])
        assert ended.seconds < 30
        assert leftovers(disk / "out") == [] and not (disk / "out" / "model").exists()
        subprocess.run(["btrfs", "qgroup", "limit", "none", str(disk)], check=True)
        ended = dtrain.succeeds(*run, disk / "out", "--resume", ranks=ranks)
        assert "resumed at step 4 of 7" in ended.out, ended
        trained = (disk / "out" / "model" / "model.safetensors").read_bytes()
    dtrain.succeeds(*run, "alone")
    assert trained == (tmp_path / "alone" / "model" / "model.safetensors").read_bytes()


def test_a_run_without_output_says_that_nothing_is_kept(dtrain, task, tmp_path):
    ended = dtrain.succeeds("train", *task, *STEPS)
    assert "nothing is kept: name a directory with --output" in ended.out, ended
    assert list(tmp_path.iterdir()) == []
