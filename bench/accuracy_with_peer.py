#!/usr/bin/env python3
"""Quality of dtrain against transformers + peft: the embedded task, the same rows, batches and learning rates.

Each method is trained by both sides from several seeds (of the head, the order and dropout) on one draw of the training
set; both keep the epoch that is best on dev by log-loss. Test and out-of-domain accuracy are compared by their means.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from sides import PRECISIONS, ROOT, Setting, machine, markdown_table, require_programs, run_dtrain, run_peer

LEARNING_RATES = {"full": 3e-4, "lora": 3e-3, "head": 1e-2}
SPLITS = {"test": "test", "ood.examples": "out of domain"}


def find_metrics(results: dict, split: str) -> dict[str, float]:
    """What both sides measure on a split: dtrain nests the splits' names, the peer does not."""
    found = results["metrics"][split]
    return {name: found[name] for name in ("accuracy", "macro_f1", "log_loss")}


def measure(build: Path, setting: Setting) -> dict:
    """Both sides at one seed."""
    run: dict = {"method": setting.method, "seed": setting.seed}
    for side, start_side in (("peer", run_peer), ("dtrain", run_dtrain)):
        results = start_side(build, setting)
        run[side] = {split: find_metrics(results, split) for split in SPLITS}
        accuracy = ", ".join(f"{name} {run[side][split]['accuracy']:.4f}" for split, name in SPLITS.items())
        print(f"{setting.method} seed {setting.seed} {side}: accuracy {accuracy}", file=sys.stderr)
    return run


def table(runs: list[dict]) -> str:
    """Means over the seeds, with the standard deviation between seeds, in Markdown."""
    rows = []
    for method in dict.fromkeys(run["method"] for run in runs):
        for split, name in SPLITS.items():
            for metric in ("accuracy", "macro_f1", "log_loss"):
                values = {s: [r[s][split][metric] for r in runs if r["method"] == method] for s in ("dtrain", "peer")}
                means = {side: statistics.mean(found) for side, found in values.items()}
                cells = [
                    f"{means[side]:.4f}" + (f" ± {statistics.stdev(values[side]):.4f}" if len(values[side]) > 1 else "")
                    for side in ("dtrain", "peer")
                ]
                rows.append([method, name, metric, *cells, f"{means['dtrain'] - means['peer']:+.4f}"])
    return markdown_table(["method", "set", "metric", "dtrain", "peer", "difference"], rows)


def main() -> None:
    """Trains what was asked for and prints the means."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=LEARNING_RATES, default=("full", "lora"), help="which methods")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each method and side")
    parser.add_argument("--samples", type=int, default=10000, help="training examples")
    parser.add_argument("--epochs", type=int, default=3, help="passes over them")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16", help="of both sides")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build tree")
    parser.add_argument("--output", type=Path, help="JSON file of all that was measured")
    options = parser.parse_args()
    require_programs(options.build)
    runs: list[dict] = []
    for seed in range(options.seeds):
        for method in options.methods:
            lr = LEARNING_RATES[method]
            setting = Setting(method, options.precision, 1, options.samples, lr, seed, options.epochs, evaluate=True)
            runs.append(measure(options.build, setting))
            if options.output:
                # After every pair, so that a run that is cut short leaves what it has.
                report = {"machine": machine(), "samples": options.samples, "epochs": options.epochs, "runs": runs}
                options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{options.samples} samples, {options.epochs} epochs, {options.precision}, {options.seeds} seeds\n")
    print(table(runs))


if __name__ == "__main__":
    main()
