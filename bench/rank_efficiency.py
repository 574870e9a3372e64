#!/usr/bin/env python3
"""What ranks that train together reach of what they would reach apart.

A pair is as many independent runs at once as there are ranks, each on a core of its own, and one job of that many ranks
of one thread on the same cores; the next pair has them in the other order. Its ratio is the job's samples/s over the
sum of the independent runs'. A rank of the job has as large a batch as an independent run, and makes as many steps;
with --strong the ranks share one such batch. Run it on a machine that does nothing else.
"""

import argparse
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from sides import (
    BATCH_SIZE,
    PRECISIONS,
    ROOT,
    Setting,
    beside,
    machine,
    markdown_table,
    require_mpirun,
    require_programs,
    results_of,
    run_dtrain,
    training_command,
)

# Ratios that dtrain must reach.
FLOORS = {"full": 0.95, "lora": 0.97}
# Three epochs take a core some 20 s in fp32.
SAMPLES = {"full": 256, "lora": 384}


def apart(build: Path, setting: Setting, cores: list[int]) -> float:
    """Samples a second of independent runs at once, one a core, together."""
    with ExitStack() as stack:
        directories = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in cores]
        with ExitStack() as running:
            for core, directory in zip(cores, directories, strict=True):
                command = training_command(build, setting, directory)
                running.enter_context(beside(["taskset", "--cpu-list", str(core), *command]))
        return sum(results_of(directory)["cost"]["samples_per_second"] for directory in directories)


def together(build: Path, setting: Setting) -> float:
    """Samples a second of one job."""
    return run_dtrain(build, setting)["cost"]["samples_per_second"]


def measure(build: Path, alone: Setting, job: Setting, cores: list[int], pairs: int) -> list[tuple[float, float]]:
    """Samples a second apart and together, of each pair."""
    found = []
    for pair in range(pairs):
        sides = [lambda: apart(build, alone, cores), lambda: together(build, job)]
        rates = [side() for side in (sides if pair % 2 == 0 else sides[::-1])]
        found.append(tuple(rates if pair % 2 == 0 else rates[::-1]))
        print(f"{alone.method}: apart {found[-1][0]:.1f}, together {found[-1][1]:.1f} samples/s", file=sys.stderr)
    return found


def main() -> None:
    """Measures and prints a row a method."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=list(FLOORS), default=list(FLOORS), help="what trains")
    parser.add_argument("--ranks", type=int, default=2, help="ranks of the job, and independent runs")
    parser.add_argument("--pairs", type=int, default=5, help="pairs a method")
    parser.add_argument("--samples", type=int, help="of an independent run (some 20 s of a core if unset)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the matmuls")
    parser.add_argument("--strong", action="store_true", help="the ranks share a batch, instead of having one each")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build tree")
    options = parser.parse_args()
    require_programs(options.build)
    require_mpirun()
    cores = sorted(os.sched_getaffinity(0))[: options.ranks]
    if len(cores) < options.ranks:
        raise SystemExit(f"--ranks: expected at most the cores, {len(cores)}, found {options.ranks}")
    described = machine()
    # The job, too: where there are more cores, its ranks would be spread over them.
    os.sched_setaffinity(0, cores)
    rows, below = [], []
    for method in options.methods:
        alone = Setting(method, options.precision, 1, options.samples or SAMPLES[method], None, threads_each=1)
        batch = BATCH_SIZE * (1 if options.strong else options.ranks)
        job = replace(alone, ranks=options.ranks, samples=alone.samples * options.ranks, batch_size=batch)
        # Once, so that no side has the texts to tokenize.
        for setting in (alone, job):
            together(options.build, replace(setting, epochs=1))
        found = measure(options.build, alone, job, cores, options.pairs)
        ratios = [of_job / of_runs for of_runs, of_job in found]
        middle = statistics.median(ratios)
        rates = [f"{statistics.median(side):.1f}" for side in zip(*found, strict=True)]
        rows.append([method, *rates, f"{middle:.3f} ({min(ratios):.3f} to {max(ratios):.3f})", f"{FLOORS[method]:.2f}"])
        if middle < FLOORS[method]:
            below.append(method)
    print(", ".join(f"{key} {value}" for key, value in described.items()))
    kind = f"the ranks share a batch of {BATCH_SIZE}" if options.strong else f"a batch of {BATCH_SIZE} a rank"
    print(f"{options.ranks} ranks of one thread, {options.precision}, {kind}, {options.pairs} pairs\n")
    header = ["method", "samples/s apart, all", "together", "ratio median (min to max)", "floor"]
    print(markdown_table(header, rows))
    if below:
        raise SystemExit(f"below the floor: {', '.join(below)}")


if __name__ == "__main__":
    main()
