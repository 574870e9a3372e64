"""bench/project_scaling.py on steps whose parts are known."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "bench" / "project_scaling.py"

BYTES_A_SECOND = 1e9
PARAMETERS = 10_000_000
# Of a token, a parameter, and of what cannot be hidden.
TOKEN, UPDATE = 1e-4, 1e-9


def link_seconds(ranks, size):
    """Of half an all-reduce over a link without latency."""
    return size * (ranks - 1) / ranks / BYTES_A_SECOND


def point(ranks, tokens, sharded=True, hidden=0.5):
    """A step on ranks that all-reduce and gather all parameters, and hide so much of both."""
    size = 4 * PARAMETERS if ranks > 1 else 0
    gathered = size if sharded else 0
    parts = {"compute_seconds": tokens * TOKEN, "imbalance_seconds": 0.0,
             "exchange_seconds": (1 - hidden) * 2 * link_seconds(ranks, size),
             "optimizer_seconds": UPDATE * PARAMETERS / (ranks if sharded else 1),
             "gather_seconds": (1 - hidden) * link_seconds(ranks, gathered)}
    return parts | {"method": "full", "scaling": "weak", "ranks": ranks, "step_seconds": sum(parts.values()),
                    "tokens_per_step": tokens * ranks, "trainable_parameters": PARAMETERS, "reduced_bytes": size,
                    "gathered_bytes": gathered, "sharded_optimizer": sharded and ranks > 1}


def links(back_end="mpi"):
    return {"back_end": back_end, "ranks": 2,
            "collectives": [{"collective": "all-reduce", "latency_seconds": 0.0, "bus_share": 1.0,
                             "bytes_per_second": BYTES_A_SECOND}]}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("project_scaling", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["project_scaling"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def run(folder, points):
    (folder / "scaling.json").write_text(json.dumps({"machine": "two ranks", "points": points}))
    (folder / "links.json").write_text(json.dumps(links()))
    return subprocess.run([sys.executable, SCRIPT, "scaling.json", "links.json"], cwd=folder, capture_output=True,
                          text=True, check=False)


def model(script, back_end="mpi", **how):
    link = script.measured_link(links(back_end))
    points = [point(ranks, tokens, **how) for ranks in (1, 2) for tokens in (10_000, 20_000)]
    return script.model_of("full", points, link), link


def test_every_part_of_a_step_is_what_it_was_made_of(script):
    made, link = model(script)
    for ranks in (1, 2):
        parts = made.seconds(20_000, ranks, link)
        expected = point(ranks, 20_000)
        for name in ("compute", "exchange", "optimizer", "gather"):
            assert parts[name] == pytest.approx(expected[f"{name}_seconds"], rel=1e-6, abs=1e-9), (name, ranks)


def test_the_update_shrinks_with_the_ranks_and_the_gather_does_not(script):
    made, link = model(script)
    few, many = (made.seconds(20_000, ranks, link) for ranks in (2, 1024))
    assert many["optimizer"] == pytest.approx(few["optimizer"] / 512)
    assert many["gather"] == pytest.approx(few["gather"] * (1023 / 1024) / (1 / 2))
    whole, _ = model(script, sharded=False)
    assert whole.seconds(20_000, 1024, link)["gather"] == 0


def test_no_more_is_hidden_than_the_forward_pass_lasts(script):
    made, link = model(script, hidden=1.0)
    assert made.seconds(20_000, 1024, link)["gather"] == pytest.approx(0)
    tokens = 3  # less than a millisecond of compute, and 40 ms to gather
    parts = made.seconds(tokens, 1024, link)
    assert parts["gather"] == pytest.approx(link_seconds(1024, 4 * PARAMETERS) - parts["compute"] / 3)


@pytest.mark.parametrize("back_end, passes", [("mpi", 2), ("nccl", 1)])
def test_shares_of_gradients_travel_as_the_back_end_has_them(script, back_end, passes):
    """dist/mpi all-reduces, of which each rank takes its share."""
    link = script.measured_link(links(back_end))
    assert link.exchange(8, 1e9, sharded=True) == pytest.approx(passes * link_seconds(8, 1e9))
    assert link.exchange(8, 1e9, sharded=False) == pytest.approx(2 * link_seconds(8, 1e9))


def test_the_script_prints_what_it_projects(tmp_path):
    ended = run(tmp_path, [point(ranks, tokens) for ranks in (1, 2) for tokens in (10_000, 20_000)])
    assert ended.returncode == 0 and "largest error: 0 %" in ended.stdout, ended
    assert "| BERT-base | measured (mpi, 2 ranks) | full |" in ended.stdout, ended


def test_a_file_that_does_not_tell_gathering_from_the_update_is_refused(tmp_path):
    old = {name: value for name, value in point(2, 10_000).items() if name != "gather_seconds"}
    ended = run(tmp_path, [point(1, 10_000), old])
    assert ended.returncode == 2 and "scaling.json: expected gather_seconds in each point" in ended.stderr, ended
