"""What a run leaves that must not depend on where it was cut."""

from conftest import log_lines, results


# Of the files of a run those whose bytes follow from its options alone.
KEPT = ("adapter", "model", "predictions")


def tree_of(folder):
    """The content of each file below a folder by its path, None for a folder."""
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


def what_was_trained(out):
    """Of a run, all that must not depend on where it was cut."""
    document = results(out)
    quantities = ("step", "steps", "loss", "gradient_norm", "learning_rate")
    options = [line for line in (out / "config.ini").read_text().splitlines()
               if not line.startswith(("resume", "overwrite", "comm-timeout"))]
    return {
        "files": {name: content for name, content in tree_of(out).items() if name.startswith(KEPT)},
        "names": sorted(name for name in tree_of(out) if not name.startswith("checkpoint")),
        "newest checkpoint": max((int(path.name[5:]) for path in (out / "checkpoint").glob("step-*[0-9]")), default=None),
        "results": {name: document[name] for name in document if name not in ("cost", "machine")},
        "log": [{name: line[name] for name in quantities} for line in log_lines(out)],
        "options": options}


def what_was_found(out):
    """Of a study, all that must not depend on where it was cut: not times, nor what they decide."""
    document = results(out)
    of_cell = ("method", "samples", "learning_rate", "metrics")
    of_trial = ("phase", "method", "samples", "seed", "learning_rate", "steps", "best_step", "metrics")
    return {
        "cells": [{name: cell[name] for name in of_cell} for cell in document["cells"]],
        # In the order in which they ended, which a cut may change.
        "trials": sorted(str({name: trial[name] for name in of_trial}) for trial in document["trials"]),
        "names": sorted(tree_of(out))}


def difference(found, expected):
    return ", ".join(f"{name} differ" for name in expected if found[name] != expected[name])
