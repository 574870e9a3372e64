"""A rank whose memory runs out: by a limit of its address space (ulimit -v), and by a control group, whose kernel kills it."""

import os
import pathlib
import re
import resource

import pytest

from conftest import ranks_of, rows, wait_for, write_tsv

# One step over all examples at once, which takes some hundred megabytes.
RUN = ["--method", "full", "--batch-size", "20000", "--max-steps", "1", "--output", "out"]
ROOM = 128 << 20  # above what a run asks for in small pieces


def held(dtrain, task, folder, call, path, ranks):
    """A run whose first rank is held at that call; the process ids of all, and the file that lets it go on."""
    write_tsv(folder / "large.tsv", rows(20000, 4))
    given = [*task]
    given[given.index("--train") + 1] = folder / "large.tsv"
    moment = folder / "moment"
    process = dtrain.start("train", *given, *RUN, ranks=ranks, env={
        "LD_PRELOAD": os.environ["DTRAIN_TEST_HOLD"], "TEST_HOLD": str(moment), "TEST_HOLD_RANK": "" if ranks is None else "0",
        "TEST_HOLD_CALL": call, "TEST_HOLD_PATH": path, "TEST_HOLD_COUNT": "1"})
    wait_for(lambda: process.poll() is not None or moment.with_suffix(".reached").exists(), what="the moment")
    pids = {0: process.pid} if ranks is None else ranks_of(process)
    assert process.poll() is None, dtrain.end(process)
    return process, pids, moment.with_suffix(".open")


@pytest.mark.parametrize("ranks, victim", [(None, 0), (2, 0), (2, 1)])
def test_a_limit_of_the_address_space_ends_the_job_with_what_needs_less(dtrain, task, tmp_path, ranks, victim):
    process, pids, go_on = held(dtrain, task, tmp_path, "rename", "out/config.ini", ranks)
    status = pathlib.Path(f"/proc/{pids[victim]}/status").read_text()
    limit = (int(re.search(r"VmSize:\s+(\d+) kB", status)[1]) << 10) + ROOM
    resource.prlimit(pids[victim], resource.RLIMIT_AS, (limit, limit))
    go_on.touch()
    ended = dtrain.end(process, timeout=30)
    assert ended.code == 4 and ended.err.count("dtrain: error:") == 1, ended
    assert "out of memory; a smaller --batch-size" in ended.err, ended
    assert ranks is None or f"dtrain: error: rank {victim}: out of memory" in ended.err, ended
    assert not (tmp_path / "out" / "model").exists() and not (tmp_path / "out" / "results.json").exists()


@pytest.fixture
def group():
    """A control group of version 1 or 2 in which there is as good as no memory."""
    first, second = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")
    limit = "memory.limit_in_bytes" if first.is_dir() else "memory.max"
    folder = (first if first.is_dir() else second) / f"dtrain-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group may be made here: {error}")
    try:
        if not (folder / limit).exists():
            pytest.skip("the control groups here do not limit memory")
        (folder / limit).write_text(str(2 << 20))
        yield folder
    finally:
        wait_for(lambda: not (folder / "cgroup.procs").read_text(), 10, "the end of every process in it")
        folder.rmdir()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_the_kernel_kills_for_its_memory_ends_the_job_as_any_kill(dtrain, task, tmp_path, group, victim):
    process, ranks, go_on = held(dtrain, task, tmp_path, "open", "*/model.safetensors", 2)
    (group / "cgroup.procs").write_text(str(ranks[victim]))
    go_on.touch()
    ended = dtrain.end(process, timeout=30)
    assert ended.code == 137, ended
    assert f"rank {victim}" in ended.out + ended.err and "signal 9" in ended.out + ended.err, ended
