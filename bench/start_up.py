#!/usr/bin/env python3
"""How long a job of many ranks takes from its command to the end of its first step, against one rank.

Both are started by mpirun, in turn, and train the same batch; the first step is ended when its line is in log.jsonl.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from sides import (
    METHODS,
    PRECISIONS,
    ROOT,
    Setting,
    beside,
    machine,
    markdown_table,
    require_mpirun,
    require_programs,
    training_command,
)

# What many ranks may take of one's time.
CEILING = 1.3
POLL = 0.005
# Of the only step: more than the embedded task has classes.
BATCH = 64


def first_step(build: Path, setting: Setting) -> float:
    """Seconds from the command to the first step's line."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log = directory / "run" / "log.jsonl"
        command = ["mpirun", "-np", str(setting.ranks), *training_command(build, setting, directory)]
        begin = time.monotonic()
        with beside(command) as process:
            while process.poll() is None and not (log.exists() and "\n" in log.read_text()):
                time.sleep(POLL)
            seconds = time.monotonic() - begin
        return seconds


def main() -> None:
    """Measures and prints one row a number of ranks."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--ranks", type=int, default=8, help="ranks that are compared with one")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of starts")
    parser.add_argument("--method", choices=METHODS, default="lora", help="what trains")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the matmuls")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build tree")
    options = parser.parse_args()
    require_programs(options.build)
    require_mpirun()
    one = Setting(options.method, options.precision, 1, BATCH, None, epochs=1, batch_size=BATCH, threads_each=1)
    many = replace(one, ranks=options.ranks)
    first_step(options.build, one)  # so that texts are tokenized, and files read
    pairs = []
    for _ in range(options.pairs):
        pairs.append((first_step(options.build, one), first_step(options.build, many)))
        print(f"one rank {pairs[-1][0]:.2f} s, {options.ranks} ranks {pairs[-1][1]:.2f} s", file=sys.stderr)
    ratios = [of_many / of_one for of_one, of_many in pairs]
    print(", ".join(f"{key} {value}" for key, value in machine().items()) + "\n")
    rows = [
        [str(ranks), f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"]
        for ranks, seconds in zip((1, options.ranks), zip(*pairs, strict=True), strict=True)
    ]
    print(markdown_table(["ranks", "start to the end of the first step, median (min to max)"], rows))
    middle = statistics.median(ratios)
    print(f"\nratio {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), at most {CEILING}")
    if middle > CEILING:
        raise SystemExit(f"{options.ranks} ranks take {middle:.2f} times as long as one: expected at most {CEILING}")


if __name__ == "__main__":
    main()
