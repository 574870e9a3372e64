"""bench/peer.py's model is what it is said to be: set up as well as its users can, and no other for it."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from references import REFERENCES  # noqa: E402

ADAPTERS = ROOT / ".venv-adapters" / "bin" / "python"


@pytest.mark.parametrize("layers", [2, 4])
def test_the_peer_trains_the_top_layers_of_any_encoder_and_drops_nothing_below(layers):
    import transformers
    from peer_model import MeanPooledBert

    config = transformers.BertConfig(vocab_size=99, hidden_size=32, num_hidden_layers=layers, num_attention_heads=2,
                                     intermediate_size=64)
    model = REFERENCES["layers:k=2"].attach(MeanPooledBert(config), 1).train()
    trained = {name.split(".")[3] for name, value in model.bert.encoder.named_parameters(prefix="bert.encoder")
               if value.requires_grad}
    assert trained == {str(layers - 2), str(layers - 1)}
    assert [layer.training for layer in model.bert.encoder.layer] == [False] * (layers - 2) + [True] * 2
    assert not model.bert.embeddings.training and not model.bert.embeddings.word_embeddings.weight.requires_grad


@pytest.fixture(scope="module")
def stored():
    """Of each method, what stored_weights.py found."""
    found = {}
    for python, package in ((sys.executable, ("transformers", "peft")), (ADAPTERS, ("adapters",))):
        methods = [method for method, reference in REFERENCES.items() if reference.package in package]
        if not pathlib.Path(python).exists():  # the optional environment
            continue
        ended = subprocess.run([python, ROOT / "tests" / "scripts" / "stored_weights.py", *methods], capture_output=True,
                               text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        found |= json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("method", REFERENCES)
def test_weights_stored_in_bf16_give_the_losses_of_autocast(stored, method):
    if method not in stored:
        pytest.skip(f"{ADAPTERS} is not here")
    found = stored[method]
    assert found["stored"] == found["cast"] and len(set(found["stored"])) > 3
    assert (found["names"] == []) == (method == "full")
    assert not any("embeddings" in name or "LayerNorm" in name or "lora_" in name for name in found["names"])
    if method == "lora:use_dora=true":
        assert not any("base_layer" in name for name in found["names"])
        assert any("key.weight" in name for name in found["names"])
