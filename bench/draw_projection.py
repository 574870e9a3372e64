#!/usr/bin/env python3
"""Draws what `bench/project_scaling.py --json` projects: a figure an encoder, efficiency over ranks.

bench/draw_projection.py projection.json docs/figures
"""

import argparse
import json
import subprocess
from pathlib import Path

from sides import ROOT


def series_of(steps: list[dict]) -> list[dict]:
    """A line a method and link, with a band from hiding nothing to hiding all that fits behind compute."""
    series: dict[str, list[dict]] = {}
    for step in steps:
        low, high = step["hiding_nothing"], step["hiding_all"]
        link = step["link"].removesuffix(" (published)").removeprefix("none: ")
        points = series.setdefault(f"{step['method']}, {link}", [])
        points.append({"x": step["ranks"], "y": step["efficiency"], "low": low, "high": high})
    return [{"name": name, "points": points} for name, points in series.items()]


def chart_of(report: dict, encoder: str) -> dict:
    """What dtrain_chart draws."""
    steps = [step for step in report["projection"] if step["encoder"] == encoder]
    # Methods side by side: full's colours first, LoRA's after.
    steps.sort(key=lambda step: step["method"] != "full")
    kind = "GPUs" if report["gpus"] else "ranks"
    assumed = f", {kind} {report['speedup']:g} times as fast as measured" if report["speedup"] != 1 else ""
    return {
        "title": f"{encoder}, weak scaling, projected",
        "description": f"Efficiency over the number of {kind}, {report['tokens']:.0f} tokens each{assumed}; bands from "
        "steps that hide nothing of the exchange to those that hide all that fits behind compute. R trials at once: "
        "each rank trains its own.",
        "x": {"title": f"{kind} (logarithmic)", "at": sorted({step["ranks"] for step in steps})},
        "y": {"title": "efficiency", "low": 0, "high": 1},
        "levels": [{"at": 1, "name": f"as many times as fast as there are {kind}"}],
        "series": series_of(steps),
    }


def main() -> None:
    """Writes projection-ENCODER.svg for each encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("projection", type=Path, help="of bench/project_scaling.py --json")
    parser.add_argument("folder", type=Path, help="where the figures go")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build tree")
    options = parser.parse_args()
    program = options.build / "bench" / "dtrain_chart"
    if not program.exists():
        raise SystemExit(f"{program} is missing: ninja -C {options.build} dtrain_chart")
    report = json.loads(options.projection.read_text())
    for encoder in dict.fromkeys(step["encoder"] for step in report["projection"]):
        name = f"projection-{encoder.lower()}"
        drawn = subprocess.run(
            [program, name], input=json.dumps(chart_of(report, encoder)), capture_output=True, text=True, check=False
        )
        if drawn.returncode != 0:
            raise SystemExit(drawn.stderr.strip())
        (options.folder / f"{name}.svg").write_text(drawn.stdout)
        print(options.folder / f"{name}.svg")


if __name__ == "__main__":
    main()
