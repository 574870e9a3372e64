#!/usr/bin/env python3
"""Guards the step's speed by a number that no busy machine moves: the instructions of ten steps, counted by valgrind.

valgrind's tool callgrind runs `dtrain train` on one thread and counts what is executed inside the steps: forward,
backward and the optimiser, of steps 3 to 12. What it shows a program is always the same processor (an Intel with AVX2),
so that LibTorch's libraries and dtrain choose the same code everywhere, and counts hold on other machines. They are
compared with those in instructions.json; more than 3 % above is an error (exit code 1), and so is a cell that is not in
there: what is compared with nothing guards nothing. A count that fell by as much is told, and wants --update, as does a
change that is worth its instructions.

A count is no time: it does not see caches, waiting, or the code for other processors (AVX-512, and oneDNN in place of
MKL on those of others than Intel). Batches are small, so that a cell ends within minutes.

A dtrain that is linked with CUDA is given an empty libtorch_cuda.so: the real one registers its kernels for minutes
under valgrind, and a step on the CPU calls none of them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from long_texts import write_long_texts
from sides import ROOT, embedded_task, environment, markdown_table, model_directory
from step_work import METHODS

EXPECTED = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.03
STEPS = 10
WARM_UP = 2
# Texts of a step, by their tokens.
BATCHES = {17: 4, 128: 2}
# What is counted; a profile is written each time the last of them ends, once a step.
COUNTED = ("dtrain::train::TrainingStep::run(long)", "dtrain::train::AdamW::step(double)")


def write_empty_cuda_library(directory: Path) -> None:
    """A libtorch_cuda.so without anything in it."""
    library = directory / "libtorch_cuda.so"
    command = ["cc", "-shared", "-o", str(library), "-Wl,-soname,libtorch_cuda.so", "-x", "c", "/dev/null"]
    subprocess.run(command, check=True)


def counted_command(build: Path, method: str, tokens: int, directory: Path) -> list[str]:
    """`dtrain train` under callgrind, on texts that the directory is given."""
    batch = BATCHES[tokens]
    write_long_texts(embedded_task(build) / "train.tsv", directory, tokens, 4 * batch)
    valgrind = ["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={directory / 'counts'}"]
    valgrind += [f"--toggle-collect={name}" for name in COUNTED] + [f"--dump-after={COUNTED[-1]}"]
    dtrain = [str(build / "dtrain"), "train", f"--method={method}", "--precision=fp32", "--device=cpu", "--threads=1"]
    dtrain += [f"--train={directory / 'train.tsv'}", f"--dev={directory / 'dev.tsv'}", f"--max-length={tokens}"]
    dtrain += [f"--max-steps={WARM_UP + STEPS}", f"--batch-size={batch}", "--pooling=mean", "--token-cache=none"]
    dtrain += [f"--model={model_directory(build, None)}", f"--output={directory / 'run'}"]
    # Frozen features kept would leave steps of head that compute the head alone.
    return valgrind + dtrain + (["--cache-memory=0"] if method == "head" else [])


def instructions_of(profiles: list[str]) -> int:
    """Executed in the steps after the warm-up, one profile each; what follows the last step has a profile too."""
    totals = [re.search(r"^(?:totals|summary): (\d+)", profile, re.M) for profile in profiles]
    if len(totals) < WARM_UP + STEPS or None in totals:
        raise SystemExit(f"expected a profile of each of {WARM_UP + STEPS} steps, found {len(totals)}")
    return sum(int(total[1]) for total in totals[WARM_UP : WARM_UP + STEPS] if total)


def count(build: Path, method: str, tokens: int) -> int:
    """The instructions of one cell."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_empty_cuda_library(directory)
        paths = [str(directory), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        given = environment() | {"LD_LIBRARY_PATH": ":".join(paths)}
        done = subprocess.run(
            counted_command(build, method, tokens, directory), env=given, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            raise SystemExit(f"{tail}\ndtrain under callgrind ended with exit code {done.returncode}")
        numbered = sorted((int(path.suffix[1:]), path) for path in directory.glob("counts.*"))
        return instructions_of([path.read_text() for _, path in numbered])


def verdict(found: int, expected: int | None) -> str:
    """What a count is beside the expected one: "slower", "faster", "new" or nothing."""
    if expected is None:
        return "new"
    if found > expected * (1 + TOLERANCE):
        return "slower"
    return "faster" if found < expected * (1 - TOLERANCE) else ""


def main() -> None:
    """Counts the cells that were asked for, and compares."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="what trains")
    parser.add_argument(
        "--lengths", nargs="+", type=int, choices=BATCHES, default=tuple(BATCHES), help="tokens of a text"
    )
    parser.add_argument("--update", action="store_true", help="write the counts to instructions.json")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build tree")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is missing: apt-get install valgrind")
    expected = json.loads(EXPECTED.read_text())
    rows, slower, new = [], [], []
    for tokens in options.lengths:
        for method in options.methods:
            cell = f"{method} {tokens}"
            found, before = count(options.build, method, tokens), expected.get(cell)
            said = verdict(found, before)
            beside = [f"{before:,}", f"{found / before - 1:+.1%}"] if before else ["", ""]
            rows.append([cell, f"{found:,}", *beside, said])
            slower += [cell] if said == "slower" else []
            new += [cell] if said == "new" else []
            if options.update:
                expected[cell] = found
                EXPECTED.write_text(json.dumps(expected, indent=2) + "\n")
            print(f"{cell}: {found:,} instructions", file=sys.stderr)
    print(markdown_table(["method, tokens", "instructions", "expected", "difference", ""], rows))
    if slower and not options.update:
        raise SystemExit(f"more than {TOLERANCE:.0%} above what was expected: {', '.join(slower)}")
    if new and not options.update:
        raise SystemExit(f"{EXPECTED.name} has no count of {', '.join(new)}: --update writes it")


if __name__ == "__main__":
    main()
