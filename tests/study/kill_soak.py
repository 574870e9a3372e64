#!/usr/bin/env python3
"""kill -9 of mpirun at random moments of a study, each followed by --resume, until it ends: the same results?

With --budget the plan follows from measured times, and two studies may have other counts, seeds and rates: then the same
results in each trial that both have, no trial twice, and of each study what it planned at its end.

Run by hand; the environment as for compare_test.py: DTRAIN, DTRAIN_SHARE, MPIEXEC.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare_test import STUDY, command, results, without_times, write_material


def run_to_end(arguments):
    """The seconds that a study takes."""
    begin = time.monotonic()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.monotonic() - begin


def start_when_free(arguments):
    """Starts a study once the ranks of the one before are gone: they hold its directory for a moment."""
    for _ in range(100):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            text, _ = process.communicate(timeout=2)
        except subprocess.TimeoutExpired:
            return process
        if process.returncode == 0:
            return process
        if "another dtrain works in" not in text:
            raise SystemExit(f"exit code {process.returncode}:\n{text}")
        time.sleep(0.1)
    raise SystemExit("the directory stayed locked")


def journal_lines(output):
    return [json.loads(line) for line in (output / "journal.jsonl").read_text().splitlines()]


def trials_of(output):
    """What each trial in the journal found, by what it was: but for times, and where and when it ran."""
    found = {}
    for line in journal_lines(output):
        if "phase" not in line:
            continue
        key = tuple(line[name] for name in ("phase", "method", "samples", "learning_rate", "seed", "length"))
        if key in found:
            raise SystemExit(f"{key} is in {output}/journal.jsonl twice")
        found[key] = {name: line[name] for name in line if name not in ("cost", "seconds", "group", "started", "spent")}
    return found


def describe_plan(name, output):
    """Counts, seeds and search, and what the study had to give up."""
    document = results(output)
    plan, facts = document["plan"], document["run"]
    print(f"{name}: {len(trials_of(output))} trials, {plan['samples']} samples, {len(plan['result_seeds'])} seeds, "
          f"changes: {facts['changes']}")


def same_results(folder, budget):
    """Whether the study that was killed found what the other one did, in all that they must agree in."""
    if budget is None:
        return without_times(results(folder / "whole")["cells"]) == without_times(results(folder / "killed")["cells"])
    found = {name: trials_of(folder / name) for name in ("whole", "killed")}
    for name in found:
        describe_plan(name, folder / name)
    both = found["whole"].keys() & found["killed"].keys()
    differing = [key for key in both if found["whole"][key] != found["killed"][key]]
    print(f"{len(both)} trials in both, {len(differing)} of them with other results {differing[:3]}")
    return bool(both) and not differing


def study_of(budget):
    """The study that is killed, of half a minute or as long as the budget."""
    if budget is None:
        return ["300" if word == "40" else word for word in STUDY]
    # Groups of one rank: whether a trial has one or two may follow from measured times, and sums of two round otherwise.
    return ["--methods", "full,head,lora", "--max-steps", "200", "--budget", budget, "--ranks-per-trial", "1"]


def main():
    """Prints one line a kill, and ends with exit code 1 where the results differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--budget", help="a time such as 60s, which chooses the plan")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_material(folder)
        study = study_of(options.budget)
        whole = [str(word) for word in command(folder, *study, "--output", folder / "whole")]
        seconds = run_to_end(whole)
        print(f"left alone: {seconds:.1f} s", flush=True)
        killed = [str(word) for word in command(folder, *study, "--output", folder / "killed", "--resume")]
        for kill in range(1, options.kills + 1):
            process = start_when_free(killed)
            # The first two seconds have passed; half of the times it is killed before a tenth of what a study takes.
            time.sleep(moments.choice([0.1, 0.5]) * seconds * moments.random())
            if process.poll() is not None:
                print(f"ended before kill {kill}")
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            journal = folder / "killed" / "journal.jsonl"
            trials = sum('"phase"' in line for line in journal.read_text().splitlines()) if journal.exists() else 0
            print(f"kill {kill}: {trials} trials in the journal", flush=True)
        last = start_when_free(killed)
        text, _ = last.communicate()
        if last.returncode != 0:
            raise SystemExit(f"exit code {last.returncode}:\n{text}")
        same = same_results(folder, options.budget)
        print("the same results" if same else "DIFFERENT results")
        sys.exit(0 if same else 1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
