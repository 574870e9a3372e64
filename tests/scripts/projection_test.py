"""bench/project_scaling.py on steps whose parts are known, and what bench/draw_projection.py hands to dtrain_chart."""

import json
import math
import os
import pathlib
import subprocess
import sys
import xml.dom.minidom

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

import draw_projection  # noqa: E402
import step_model  # noqa: E402

BYTES_A_SECOND, LATENCY = 1e9, 1e-5
DENSE = step_model.MINILM.dense("full")
PARAMETERS = DENSE + step_model.MINILM.table()
BUCKET = 4 << 20
BUCKETS = math.ceil(4 * DENSE / BUCKET)
# Of a token; of an update by each rank, and dealt to them.
TOKEN, EACH, DEALT = 1e-4, 2e-3, 8e-3


def rows_at(tokens):
    """Word embeddings that so many tokens reach."""
    return 5 * tokens**0.5


def reduce_seconds(ranks, size, messages):
    return 2 * math.log2(ranks) * LATENCY * messages + 2 * size * (ranks - 1) / ranks / BYTES_A_SECOND


def gather_seconds(ranks, size, messages):
    return (ranks - 1) * LATENCY * messages + size * (ranks - 1) / ranks / BYTES_A_SECOND


def point(ranks, tokens, sharded=True, hidden=0.5, beside=0.0, jitter=0.0, share=1.0):
    """A step on ranks that hide so much of what they exchange, of which `beside` is in compute instead."""
    sharded = sharded and ranks > 1
    table = 4 * 30522 + 4 * 384 * rows_at(tokens * ranks)
    reduced = 4 * DENSE + table if ranks > 1 else 0
    gathered = 4 * PARAMETERS if sharded else 0
    exchange = reduce_seconds(ranks, reduced, BUCKETS + 3) if ranks > 1 else 0
    gather = gather_seconds(ranks, gathered, BUCKETS + 2) if sharded else 0
    compute = tokens * TOKEN + (beside if ranks > 1 else 0)
    parts = {"compute_seconds": compute, "imbalance_seconds": compute * jitter * step_model.largest_of(ranks),
             "exchange_seconds": (1 - hidden) * exchange, "optimizer_seconds": EACH + DEALT / (ranks if sharded else 1),
             "gather_seconds": (1 - hidden) * gather}
    parts = {name: share * seconds for name, seconds in parts.items()}
    return parts | {"method": "full", "scaling": "weak", "ranks": ranks, "step_seconds": sum(parts.values()),
                    "tokens_per_step": tokens * ranks, "trainable_parameters": PARAMETERS, "dense_parameters": DENSE,
                    "reduced_bytes": reduced, "gathered_bytes": gathered, "moment_bytes": 8 * PARAMETERS / ranks,
                    "sharded_optimizer": sharded}


def links(back_end="mpi"):
    def line(collective, steps, bus_share):
        return {"collective": collective, "latency_seconds": steps * LATENCY, "bus_share": bus_share,
                "bytes_per_second": BYTES_A_SECOND / bus_share}

    return {"back_end": back_end, "ranks": 2, "collectives": [line("all-reduce", 2, 1.0), line("all-gather", 1, 0.5)]}


def measured(points, cores=64):
    return {"machine": "some ranks", "threads": 1, "cores": cores, "ranks_of_node": 64, "reduce_precision": "fp32",
            "bucket_bytes": BUCKET, "points": points}


def run(folder, points, *more, cores=64):
    (folder / "scaling.json").write_text(json.dumps(measured(points, cores)))
    (folder / "links.json").write_text(json.dumps(links()))
    return subprocess.run([sys.executable, BENCH / "project_scaling.py", "scaling.json", "links.json", *more], cwd=folder,
                          capture_output=True, text=True, check=False)


def points_of(ranks=(1, 2), **how):
    return [point(each, tokens, **how) for each in ranks for tokens in (10_000, 20_000)]


def model(points, back_end="mpi", cores=64):
    link = step_model.measured_link(links(back_end))
    return step_model.model_of("full", points, link, step_model.machine_of(measured(points, cores))), link


def test_every_part_of_a_step_is_what_it_was_made_of():
    made, link = model(points_of())
    for ranks in (1, 2, 8):
        expected = point(ranks, 20_000)
        parts = step_model.seconds_of_point(made, expected, link)
        for name in ("compute", "exchange", "optimizer", "gather"):
            assert parts[name] == pytest.approx(expected[f"{name}_seconds"], rel=1e-5, abs=1e-9), (name, ranks)


def test_what_is_dealt_shrinks_with_the_ranks_and_what_each_does_and_gathers_does_not():
    made, link = model(points_of())
    few, many = (step_model.seconds_of_point(made, point(ranks, 20_000), link) for ranks in (2, 1024))
    assert few["optimizer"] == pytest.approx(EACH + DEALT / 2, rel=1e-5)
    assert many["optimizer"] == pytest.approx(EACH + DEALT / 1024, rel=1e-5)
    assert many["gather"] > few["gather"]
    whole, _ = model(points_of(sharded=False))
    assert step_model.seconds_of_point(whole, point(1024, 20_000, sharded=False), link)["gather"] == 0


def test_the_time_of_an_exchange_that_is_in_compute_is_not_hidden():
    """MPI moves data inside of calls, on the core that computes."""
    whole = reduce_seconds(2, point(2, 20_000)["reduced_bytes"], BUCKETS + 3)
    free, _ = model(points_of(hidden=1.0))
    paid, link = model(points_of(hidden=1.0, beside=whole))
    assert free.overlap == pytest.approx(1) and paid.overlap == pytest.approx(0, abs=1e-5)
    assert paid.contention == pytest.approx(0, abs=1e-5)
    fast = step_model.link_of("a fast one", 1e-6, 1e12)
    # Over a faster link it takes less; on the same one what was measured.
    work = step_model.work_of_point(point(2, 20_000), paid.machine)
    assert sum(paid.seconds(20_000, 2, link, work).values()) == pytest.approx(
        point(2, 20_000, hidden=1.0, beside=whole)["step_seconds"], rel=1e-4)
    assert paid.seconds(20_000, 2, fast, work)["exchange"] < 0.01 * whole
    # What compute takes more than the links do is contention, whatever the link.
    slowed, _ = model(points_of(sharded=False, hidden=1.0, beside=whole + 0.2))
    assert slowed.contention == pytest.approx(0.2 / (20_000 * TOKEN), rel=1e-4)


def test_no_more_is_hidden_than_the_forward_pass_lasts():
    made, link = model(points_of(hidden=1.0))
    few = point(1024, 3, hidden=1.0)  # less than a millisecond of compute
    whole = gather_seconds(1024, few["gathered_bytes"], BUCKETS + 2)
    parts = step_model.seconds_of_point(made, few, link)
    assert parts["gather"] == pytest.approx(whole - parts["compute"] / 3, rel=1e-5)
    assert step_model.seconds_of_point(made, point(8, 20_000), link)["gather"] == pytest.approx(0)


def test_the_slowest_of_many_ranks_is_slower_than_that_of_few():
    made, _ = model(points_of(jitter=0.03))
    assert made.jitter == pytest.approx(0.03, rel=1e-4)
    assert made.compute(20_000, 1024) / made.compute(20_000, 1) == pytest.approx(1 + 0.03 * 3.235, rel=1e-3)


def test_ranks_that_train_a_trial_each_wait_for_nobody():
    """What they cost each other is what two ranks took from each other's memory, whatever they exchanged."""
    made, link = model(points_of(jitter=0.03, sharded=False, hidden=1.0, beside=0.2))
    whole = reduce_seconds(2, point(2, 20_000)["reduced_bytes"], BUCKETS + 3)
    work = made.work(step_model.MINILM, 20_000, 1024)
    apart, alone = (made.apart(20_000, ranks, work) for ranks in (1024, 1))
    assert alone == {"compute": pytest.approx(20_000 * TOKEN, rel=1e-4), "exchange": 0, "gather": 0,
                     "optimizer": pytest.approx(EACH + DEALT, rel=1e-5)}
    assert apart["compute"] - alone["compute"] == pytest.approx(0.2 - whole, rel=1e-3)
    assert {name: apart[name] for name in ("exchange", "optimizer", "gather")} == {
        name: alone[name] for name in ("exchange", "optimizer", "gather")}
    together = made.seconds(20_000, 1024, link, work)
    assert sum(apart.values()) < together["compute"] and together["exchange"] > 0
    # A sharded optimizer deals nothing to ranks that train apart.
    sharded, _ = model(points_of())
    assert sharded.apart(20_000, 1024, work)["optimizer"] == pytest.approx(EACH + DEALT, rel=1e-5)
    # An encoder of twice the work of a token, on ranks four times as fast.
    wide = step_model.Encoder("wide", 12, 384)
    fast = sharded.apart(20_000, 8, sharded.work(wide, 20_000, 8), wide, speedup=4)
    assert fast["compute"] == pytest.approx(20_000 * TOKEN * 2 / 4, rel=1e-4)


def test_the_largest_of_two_normal_numbers_is_expected_where_it_is():
    assert step_model.largest_of(1) == 0
    assert step_model.largest_of(2) == pytest.approx(1 / math.sqrt(math.pi), rel=0.05)


def test_ranks_that_share_a_core_are_said_to_and_say_nothing_of_those_that_do_not(tmp_path):
    crowded = points_of(ranks=(4,), share=2.2)
    made, link = model(points_of() + crowded, cores=2)
    assert made.crowding == pytest.approx(1.1, rel=1e-4)
    assert made.per_token == pytest.approx(TOKEN, rel=1e-4)
    assert sum(step_model.seconds_of_point(made, crowded[0], link).values()) == pytest.approx(
        crowded[0]["step_seconds"], rel=1e-4)
    ended = run(tmp_path, points_of() + crowded, cores=2)
    assert "| full | weak | 4 | 0.5 |" in ended.stdout and "each thread has 0.5 of a core" in ended.stdout, ended
    assert "1.10 times as long as their share" in ended.stdout, ended


@pytest.mark.parametrize("back_end, passes", [("mpi", 2), ("nccl", 1)])
def test_shares_of_gradients_travel_as_the_back_end_has_them(back_end, passes):
    """dist/mpi all-reduces, of which each rank takes its share."""
    link = step_model.measured_link(links(back_end))
    assert link.reduce_seconds(8, 1e9, 0, shares=True) == pytest.approx(passes * 1e9 * 7 / 8 / BYTES_A_SECOND)
    assert link.reduce_seconds(8, 1e9, 0, shares=False) == pytest.approx(2 * 1e9 * 7 / 8 / BYTES_A_SECOND)


def test_word_embeddings_travel_by_the_rows_that_the_texts_of_all_ranks_reach():
    made, _ = model(points_of())
    base = step_model.Encoder("BERT-base", 12, 768)
    few, many = (made.work(base, 128, ranks) for ranks in (8, 1024))
    assert many.reduced - few.reduced == pytest.approx(4 * 768 * (rows_at(1024 * 128) - rows_at(8 * 128)), rel=1e-4)
    assert made.work(base, 1e9, 1024).reduced == pytest.approx(
        4 * (base.dense("full") + 30522 + base.table()))  # no more than there are
    # On a GPU all of them, and what a sharded optimizer gathers is nothing.
    gpus = made.work(base, 128, 8, gpus=True)
    assert gpus.reduced == 4 * (base.dense("full") + base.table()) and gpus.gathered == 0


def test_sizes_are_those_of_the_models_themselves():
    """What `dtrain methods` and transformers count."""
    assert DENSE == 10_646_784 + 198_144 + 45 * 385
    assert step_model.MINILM.dense("lora") == 91_053
    base = step_model.Encoder("BERT-base", 12, 768)
    assert base.dense("full") + base.table() - 45 * 769 == 108_891_648  # BertModel without its pooler


def test_the_script_prints_and_writes_what_it_projects(tmp_path):
    ended = run(tmp_path, points_of(), "--json", "projection.json", "--within", "0.15", "--link", "slow:50:1")
    assert ended.returncode == 0 and "largest error: 0 %" in ended.stdout, ended
    assert "| BERT-base | measured (mpi, 2 ranks) | full |" in ended.stdout, ended
    assert "| BERT-large | slow | full |" in ended.stdout, ended
    assert "| BERT-large | none: R trials at once, one a rank | full |" in ended.stdout, ended
    report = json.loads((tmp_path / "projection.json").read_text())
    assert len(report["projection"]) == 2 * 4 * (4 + 1) and len(report["check"]) == 4
    for step in report["projection"]:
        assert 0 < step["hiding_nothing"] <= step["efficiency"] + 1e-9 <= step["hiding_all"] + 2e-9, step
    chart = draw_projection.chart_of(report, "BERT-base")
    assert [series["name"] for series in chart["series"]][0] == "full, measured (mpi, 2 ranks)"
    assert [point["x"] for point in chart["series"][0]["points"]] == chart["x"]["at"] == [1, 8, 64, 1024]
    assert [series["name"] for series in chart["series"]][-1] == "full, R trials at once, one a rank"
    # These points say of nothing that ranks take from each other.
    assert [point["y"] for point in chart["series"][-1]["points"]] == [pytest.approx(1, rel=1e-5)] * 4


def test_a_link_is_taken_from_what_was_measured_over_it(tmp_path):
    slow = links()
    for each in slow["collectives"]:
        each["bytes_per_second"] /= 50
    (tmp_path / "tcp.json").write_text(json.dumps(slow))
    ended = run(tmp_path, points_of(), "--json", "projection.json", "--link", "TCP, loopback:tcp.json")
    assert ended.returncode == 0, ended
    report = json.loads((tmp_path / "projection.json").read_text())
    [link] = [each for each in report["links"] if each["name"] == "TCP, loopback (measured)"]
    assert link["reduce"] == {"latency": pytest.approx(LATENCY), "bandwidth": pytest.approx(BYTES_A_SECOND / 50)}
    assert not link["scatters"] and link["measured"]
    over = {(step["link"], step["ranks"]): step["efficiency"] for step in report["projection"] if step["encoder"] == "BERT-base"}
    assert over["TCP, loopback (measured)", 8] < over["measured (mpi, 2 ranks)", 8]
    (tmp_path / "tcp.json").write_text(json.dumps(slow | {"ranks": 1}))
    for file, says in (("tcp.json", "expected collectives of two ranks or more"), ("no.json", "found no file")):
        ended = run(tmp_path, points_of(), "--link", f"TCP:{file}")
        assert ended.returncode == 2 and f"{file}: " in ended.stderr and says in ended.stderr, ended


def test_a_step_that_the_model_does_not_tell_fails_the_script(tmp_path):
    points = points_of()
    points[-1]["step_seconds"] *= 1.3
    ended = run(tmp_path, points, "--within", "0.15")
    assert ended.returncode == 1 and "expected an error of at most 15%, found 23%" in ended.stderr, ended


def test_a_file_that_does_not_tell_gathering_from_the_update_is_refused(tmp_path):
    old = {name: value for name, value in point(2, 10_000).items() if name != "gather_seconds"}
    ended = run(tmp_path, [point(1, 10_000), old])
    assert ended.returncode == 2 and "scaling.json: expected gather_seconds in each point" in ended.stderr, ended


def test_collectives_of_one_rank_and_steps_without_cores_of_their_own_are_refused(tmp_path):
    ended = run(tmp_path, points_of(ranks=(4,)), cores=2)
    assert ended.returncode == 2 and "expected steps of full on ranks that have a core for each thread" in ended.stderr, ended
    (tmp_path / "links.json").write_text(json.dumps(links() | {"ranks": 1}))
    ended = subprocess.run([sys.executable, BENCH / "project_scaling.py", "scaling.json", "links.json"], cwd=tmp_path,
                           capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "links.json: expected collectives of two ranks or more" in ended.stderr, ended


CHART = pathlib.Path(os.environ.get("DTRAIN_TEST_BUILD", "build")) / "bench" / "dtrain_chart"


@pytest.mark.skipif("DTRAIN_TEST_BUILD" not in os.environ, reason="no build tree")
def test_the_figures_are_drawn(tmp_path):
    run(tmp_path, points_of(), "--json", "projection.json")
    ended = subprocess.run([sys.executable, BENCH / "draw_projection.py", "projection.json", ".", "--build",
                            os.environ["DTRAIN_TEST_BUILD"]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended
    for encoder in ("base", "large"):
        drawn = xml.dom.minidom.parse(str(tmp_path / f"projection-bert-{encoder}.svg")).documentElement
        assert drawn.tagName == "svg" and drawn.getAttribute("xmlns"), encoder
        assert "full, NVLink" in drawn.toxml() and ">1024<" in drawn.toxml(), encoder
    wrong = subprocess.run([CHART, "x"], input='{"title": "t"}', capture_output=True, text=True, check=False)
    assert wrong.returncode == 3 and "dtrain_chart: standard input:" in wrong.stderr, wrong
    wrong = subprocess.run([CHART, "x"], input="{", capture_output=True, text=True, check=False)
    assert wrong.returncode == 3 and "dtrain_chart: " in wrong.stderr, wrong
