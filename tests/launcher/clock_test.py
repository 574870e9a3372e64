"""The clock of the machine is set while a run goes on: by a day, back and forth."""

import os
import signal

import pytest

from conftest import Dtrain, results, wait_for
from outcomes import difference, what_was_trained

RUN = ["--method", "lora", "--batch-size", "8", "--max-steps", "150", "--log-steps", "1", "--virtual-ranks", "4", "--tensorboard",
       "--max-time", "1h", "--output", "out"]
DAY = 24 * 60 * 60


@pytest.fixture(scope="module")
def alone(task, cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    Dtrain(folder, cache).succeeds("train", *task, *RUN, ranks=2)
    return folder / "out"


def without_events(found):
    """Names of event files say when they began."""
    found["names"] = [name for name in found["names"] if not name.startswith("tensorboard/")]
    return found


@pytest.mark.parametrize("jump", [-DAY, DAY])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_clock_that_is_set_changes_nothing(dtrain, task, tmp_path, alone, jump, stopped):
    begin = tmp_path / "begin"
    process = dtrain.start("train", *task, *RUN, ranks=2, env={
        "LD_PRELOAD": os.environ["DTRAIN_TEST_JUMPING_CLOCK"], "TEST_CLOCK_JUMPS_FROM": str(begin), "TEST_CLOCK_JUMP": str(jump)})
    log = tmp_path / "out" / "log.jsonl"

    def has_steps(count):
        return process.poll() is not None or (log.exists() and log.read_text().count("\n") > count)

    wait_for(lambda: has_steps(5), what="training")
    begin.touch()
    if stopped:
        wait_for(lambda: has_steps(10), what="training")
        process.send_signal(signal.SIGUSR1)
    ended = dtrain.end(process)
    assert ended.code == (75 if stopped else 0), ended
    if stopped:  # and gone on with at the right time
        ended = dtrain.succeeds("train", *task, *RUN, "--resume", ranks=2)
    assert not difference(without_events(what_was_trained(tmp_path / "out")), without_events(what_was_trained(alone))), ended
    assert 0 < results(tmp_path / "out")["cost"]["train_seconds"] < 60
