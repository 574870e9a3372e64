"""Faults at random moments of a run, one after the other, each followed by --resume: the bytes of a run left alone.

DTRAIN_SOAK_FAULTS says how many (a few here; hundreds by hand), DTRAIN_SOAK_SEED which.
"""

import collections
import os
import random
import signal
import subprocess
import time

from conftest import log_lines, ranks_of, results

FAULTS = int(os.environ.get("DTRAIN_SOAK_FAULTS", "5"))
SEED = int(os.environ.get("DTRAIN_SOAK_SEED", "0"))
MODEL = "model/model.safetensors"


def kill_a_rank(process, ranks, chance):
    os.kill(chance.choice(ranks), signal.SIGKILL)


def kill_the_launcher(process, ranks, chance):
    process.kill()


def ask_all_to_stop(process, ranks, chance):
    process.send_signal(signal.SIGUSR1)


def ask_a_rank_to_stop(process, ranks, chance):
    os.kill(chance.choice(ranks), signal.SIGTERM)


def stop_a_rank_and_kill_the_launcher(process, ranks, chance):
    stopped = chance.choice(ranks)
    os.kill(stopped, signal.SIGSTOP)
    time.sleep(0.3)
    process.kill()
    os.kill(stopped, signal.SIGKILL)


KINDS = (kill_a_rank, kill_the_launcher, ask_all_to_stop, ask_a_rank_to_stop, stop_a_rank_and_kill_the_launcher)


def start_when_free(dtrain, run, folder, ranks, seconds):
    """Starts, once the ranks of the run before are gone; waits so long. The process, and how it ended if it did."""
    for _ in range(100):
        process = dtrain.start(*run, "--output", "out", "--resume", ranks=ranks, cwd=folder)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return process, None
        ended = dtrain.end(process)
        if "another dtrain works in" not in ended.err:
            return process, ended
        time.sleep(0.1)
    raise AssertionError("the directory stays locked")


def test_faults_at_random_moments_leave_a_run_that_goes_on_to_the_same_bytes(dtrain, task, tmp_path):
    chance = random.Random(SEED)
    run = ["train", *task, "--method", "full", "--batch-size", "8", "--max-steps", "150", "--log-steps", "1", "--save-steps", "7",
           "--virtual-ranks", "4", "--shard-optimizer", "on"]
    alone = tmp_path / "alone"
    alone.mkdir()
    seconds = dtrain.succeeds(*run, "--output", "out", ranks=2, cwd=alone).seconds
    done = collections.Counter()
    rounds = 0
    while done.total() < FAULTS:
        rounds += 1
        folder = tmp_path / f"round{rounds}"
        folder.mkdir()
        while True:
            ranks = chance.choice([None, 2, 4])
            most = 1.2 * seconds if done.total() < FAULTS else 90
            process, ended = start_when_free(dtrain, run, folder, ranks, chance.uniform(0.2, most) if most < 90 else most)
            if ended is None:
                fault = chance.choice(KINDS)
                pids = [process.pid] if ranks is None else list(ranks_of(process).values())
                try:
                    fault(process, pids or [process.pid], chance)
                except ProcessLookupError:
                    pass  # it ended meanwhile
                ended = dtrain.end(process, timeout=60)
                done[fault.__name__] += 1
            # Stopped, killed, or lost with the launcher; never refused.
            assert ended.code in (0, 75, 128 + signal.SIGTERM, 128 + signal.SIGUSR1, 128 + signal.SIGKILL, -signal.SIGKILL,
                                  -signal.SIGTERM, -signal.SIGUSR1), ended
            if ended.code == 0:
                break
        said = f"seed {SEED}, round {rounds}, {dict(done)}"
        assert (folder / "out" / MODEL).read_bytes() == (alone / "out" / MODEL).read_bytes(), said
        assert results(folder / "out")["metrics"] == results(alone / "out")["metrics"], said
        assert [line["loss"] for line in log_lines(folder / "out")] == [line["loss"] for line in log_lines(alone / "out")], said
    print(f"{done.total()} faults in {rounds} runs: {dict(done)}")
