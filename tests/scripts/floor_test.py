"""bench/floor.py: what a step computes is what dtrain counts, and the floor follows from it and from the machine's rates."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import floor  # noqa: E402
from machine_rates import MachineRates, least_seconds, ways  # noqa: E402
from step_work import METHODS, PHASES, Matmul, Sizes, Step, Work  # noqa: E402

PROGRAM = os.environ["DTRAIN_TEST_PROGRAM"]
SIZES = Sizes(layers=6, hidden=384, wide=1536, heads=12, embedding_rows=31_036)  # the embedded model's
P = SIZES.matrix_parameters()


class Rates(MachineRates):
    """A machine that multiplies at one rate and moves at another, whatever the shape."""

    def __init__(self, flop_rate, byte_rate):
        self.of_flop, self.of_bytes = flop_rate, byte_rate

    def flop_rate(self, matmul):
        return self.of_flop

    def byte_rate(self, size):
        return self.of_bytes


def step(method, tokens=1600, length=100, precision="fp32"):
    return Step(SIZES, method, precision, tokens, length)


def flop(step, *phases):
    return sum(work.times * work.flop for work in step.work() if work.phase in phases)


def moved(step, *phases):
    return sum(work.times * work.bytes for work in step.work() if work.phase in phases)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Sixteen rows of the same text, which the embedded model's tokenizer makes one number of tokens of."""
    folder = tmp_path_factory.mktemp("texts")
    for name, rows in (("train", 16), ("dev", 2)):
        lines = [f"{label}\t{'the quick brown fox ' * 12}" for label in ["one", "two"] * (rows // 2)]
        (folder / f"{name}.tsv").write_text("label\ttext\n" + "\n".join(lines) + "\n")
    return folder


def given(texts):
    return ["--train", texts / "train.tsv", "--dev", texts / "dev.tsv", "--threads", "1", "--precision", "fp32",
            "--device", "cpu", "--pooling", "mean", "--token-cache", "none", "--batch-size", "16"]


def test_linear_layers_are_6_4_and_2_p_a_token():
    linear = PHASES[:3]
    assert flop(step("full"), *linear) == 6 * P * 1600
    assert flop(step("head"), *linear) == 2 * P * 1600
    # No gradient of what goes into the lowest queries, keys and values.
    assert flop(step("lora"), *linear) == (4 * P - 2 * 3 * 384 * 384) * 1600


@pytest.mark.parametrize("method", METHODS)
def test_what_a_linear_layer_moves_is_in_the_rate_of_its_matmul(method):
    assert moved(step(method), *PHASES[:3], "adapters") == 0


@pytest.mark.parametrize("method", METHODS)
def test_what_is_computed_is_what_dtrain_counts(texts, tmp_path, method):
    command = [PROGRAM, "train", "--method", method, *given(texts), "--max-steps", "2", "--output", tmp_path / "run"]
    if method == "head":
        command += ["--cache-memory", "0"]
    subprocess.run(command, check=True, capture_output=True)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    cost = results["cost"]
    tokens = round(cost["tokens_per_second"] * cost["train_seconds"] / 2)
    assert tokens % 16 == 0 and 16 * 40 < tokens < 16 * 60
    ours = flop(step(method, tokens, tokens / 16), *PHASES)
    if method == "lora":  # dtrain makes, and counts, the gradient of the lowest keys
        ours += 2 * tokens * tokens / 16 * 384
    assert ours == pytest.approx(cost["flop"] / 2, rel=2e-3)


def test_attention_backward_reads_the_probabilities_where_making_them_again_takes_more():
    backward = next(work for work in step("full").attention() if work.instead)
    assert backward.flop == 5 * 2 * 100 * 1600 * 384 and backward.instead.flop == 4 / 5 * backward.flop
    assert backward.instead.bytes - backward.bytes == 4 * 100 * 1600 * 12
    rates = Rates(flop_rate=1, byte_rate=float("inf"))
    assert rates.seconds(backward) == backward.times * backward.instead.flop
    rates = Rates(flop_rate=float("inf"), byte_rate=1)
    assert rates.seconds(backward) == backward.times * backward.bytes
    # Of LoRA's lowest layer no gradient of the keys.
    of_full, of_lora = (flop(step(method), "attention") for method in ("full", "lora"))
    assert of_full - of_lora == 2 * 100 * 1600 * 384


def test_a_rate_of_several_matmuls_is_that_of_their_sum():
    class TwoRates(Rates):
        def flop_rate(self, matmul):
            return 1.0 if matmul.inputs == 384 else 3.0

    works = step("head").linear_layers()
    of_slow = sum(work.times * work.flop for work in works if work.like.inputs == 384)
    of_all = sum(work.times * work.flop for work in works)
    assert TwoRates(1, 1).rate_of(works) == pytest.approx(of_all / (of_slow + (of_all - of_slow) / 3))


def test_the_optimiser_passes_over_what_trains():
    assert moved(step("full"), "optimiser") == 28 * P + 8 * 31_036 * 384
    assert moved(step("full", precision="bf16"), "optimiser") == 30 * P + 8 * 31_036 * 384
    assert moved(step("lora"), "optimiser") == 28 * 6 * 2 * 2 * 8 * 384
    assert moved(step("head"), "optimiser") == 0


@pytest.mark.parametrize("method", METHODS)
def test_twice_the_texts_are_twice_the_work_but_for_the_optimiser(method):
    others = [phase for phase in PHASES if phase != "optimiser"]
    assert flop(step(method, 3200), *others) == 2 * flop(step(method), *others)
    assert moved(step(method, 3200), "attention", "between") == 2 * moved(step(method), "attention", "between")
    # Texts twice as long: attention alone.
    assert flop(step(method, 3200, 200), "attention") == 4 * flop(step(method), "attention")


def test_work_takes_what_takes_longer_of_computing_and_moving():
    matmul = Matmul("forward", 10, 10, 10)
    rates = Rates(flop_rate=100, byte_rate=10)
    assert rates.seconds(Work("forward", 3, flop=2000, like=matmul, bytes=100)) == 3 * 20
    assert rates.seconds(Work("forward", 3, flop=2000, like=matmul, bytes=1000)) == 3 * 100
    assert rates.seconds(Work("between", 2, bytes=10)) == 2


@pytest.mark.parametrize("method, phases", [
    ("full", set(PHASES) - {"adapters"}), ("lora", set(PHASES) - {"weights' gradients"}),
    ("head", {"forward", "attention", "between"})])
def test_the_floor_has_the_phases_that_the_method_has(method, phases):
    seconds = floor.phase_seconds(step(method), Rates(1e11, 1e10))
    assert {phase for phase in PHASES if seconds[phase] > 0} == phases
    # Where moving costs nothing, what is computed is left, and the other way round.
    free = floor.phase_seconds(step(method), Rates(1e11, float("inf")))
    spared = sum(work.times * (work.flop - work.instead.flop) for work in step(method).work() if work.instead)
    assert sum(free.values()) == pytest.approx((flop(step(method), *PHASES) - spared) / 1e11)
    free = floor.phase_seconds(step(method), Rates(float("inf"), 1e10))
    assert sum(free.values()) == pytest.approx(moved(step(method), *PHASES) / 1e10)


@pytest.mark.parametrize("kind", ["forward", "input gradient", "weight gradient"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_way_of_a_matmul_computes_the_same(kind, precision):
    import torch

    matmul = Matmul(kind, 48, 32, 8)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    results = [way().t() if transposed else way() for way, transposed in ways(matmul, dtype)]
    shape = {"forward": (48, 8), "input gradient": (48, 32), "weight gradient": (8, 32)}[kind]
    assert len(results) >= 2 and all(result.shape == shape for result in results)
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=2e-2, atol=2e-1 if precision == "bf16" else 1e-4)


def test_a_rate_is_measured_once():
    rates = MachineRates("fp32", 1)
    matmul = Matmul("forward", 32, 32, 32)
    assert rates.flop_rate(matmul) == rates.flop_rate(Matmul("forward", 32, 32, 32)) > 0
    assert rates.byte_rate(70_000) == rates.byte_rate(100_000) > 0 and len(rates.byte_rates) == 1


def test_the_least_of_the_repeats_counts():
    calls = []
    assert 0 <= least_seconds(lambda: calls.append(1)) < 0.05 and len(calls) > 4


def test_the_step_is_read_from_what_dtrain_prints(texts):
    ended = subprocess.run([PROGRAM, "bench", "step", "--method", "head", *given(texts), "--cache-memory", "0",
                            "--whole-epochs", "--seconds", "0.1"], check=True, capture_output=True, text=True)
    seconds, tokens = floor.read_step(ended.stdout)
    assert 0 < seconds < 10 and 40 < tokens < 60
    with pytest.raises(SystemExit, match="expected the table"):
        floor.read_step("nothing")
