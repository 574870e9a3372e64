"""--virtual-ranks: the same bytes on any number of ranks."""

import pytest

from conftest import MINILM, results

RANKS = [1, 2, 4]


@pytest.mark.parametrize("method, weights", [("full", "model/model.safetensors"),
                                             ("lora:lora_dropout=0.1", "adapter/adapter_model.safetensors"),
                                             ("head", "adapter/weights.safetensors")])
def test_virtual_ranks_give_the_same_bytes_on_any_number_of_ranks(dtrain, task, tmp_path, method, weights):
    for ranks in RANKS:
        # 10 examples a batch: shards of unequal size.
        dtrain.succeeds("train", *task, "--method", method, "--virtual-ranks", "4", "--batch-size", "10", "--max-steps",
                        "20", "--output", f"out{ranks}", ranks=ranks)
    found = [(tmp_path / f"out{ranks}" / weights).read_bytes() for ranks in RANKS]
    assert found == [found[0]] * 3
    metrics = [results(tmp_path / f"out{ranks}")["metrics"] for ranks in RANKS]
    assert metrics == [metrics[0]] * 3


def test_virtual_ranks_give_the_same_bytes_with_the_embedded_model(dtrain, wordnet, tmp_path):
    for ranks in (1, 4):
        dtrain.succeeds("train", "--train", wordnet / "train.tsv", "--model", MINILM, "--samples", "64", "--max-steps",
                        "2", "--virtual-ranks", "4", "--output", f"out{ranks}", ranks=ranks)
    one, four = ((tmp_path / f"out{ranks}" / "model" / "model.safetensors").read_bytes() for ranks in (1, 4))
    assert one == four


def test_virtual_ranks_exchange_floats_alone(dtrain, task):
    dtrain.refuses("train", *task, "--virtual-ranks", "2", "--reduce-precision", "bf16", code=2,
                   says=["--reduce-precision: expected fp32 with --virtual-ranks", "found bf16"])


# One for each kind of slot and of what trains: everything, a head over kept features, linear layers (added to and
# rotated), attention's keys and values, embeddings, sub-layers, gates over several of them, norms alone (whose gradients
# are long sums over all rows), and training hooks.
KINDS = ["full", "head", "lora:use_dora=true:lora_dropout=0.1", "oft", "prefix", "prompt", "houlsby", "unipelt", "norm",
         "adalora"]


@pytest.mark.parametrize("method", KINDS)
def test_virtual_ranks_give_the_same_bytes_as_users_start_them(dtrain, wordnet, tmp_path, method):
    """Without --threads one rank has two cores and two ranks have one each, on a machine of two."""
    for ranks in (1, 2):
        dtrain.succeeds("train", "--train", wordnet / "train.tsv", "--model", MINILM, "--samples", "64", "--max-steps",
                        "3", "--save-steps", "2", "--method", method, "--virtual-ranks", "2", "--output",
                        f"out{ranks}", ranks=ranks, env={"DTRAIN_THREADS": None})
    runs = [{path.relative_to(tmp_path / f"out{ranks}"): path.read_bytes()
             for path in (tmp_path / f"out{ranks}").rglob("*.safetensors")} for ranks in (1, 2)]
    assert len(runs[0]) >= 3, "the weights, and two checkpoints with the optimiser's state"
    assert runs[0] == runs[1]
    metrics = [results(tmp_path / f"out{ranks}")["metrics"] for ranks in (1, 2)]
    assert metrics[0] == metrics[1]
