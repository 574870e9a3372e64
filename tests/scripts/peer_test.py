"""bench/peer.py's model is what it is said to be: set up as well as its users can, and no other for it."""

import json
import os
import pathlib
import re
import subprocess
import sys
from dataclasses import replace

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from references import REFERENCES  # noqa: E402
from sides import PEER_ALLOCATOR, Setting, run_peer  # noqa: E402

BUILD = pathlib.Path(os.environ["DTRAIN_TEST_PROGRAM"]).parent
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


def test_the_peers_memory_is_kept_as_dtrains(monkeypatch):
    text = (ROOT / "launcher" / "main.cpp").read_text()
    ours = {f"MALLOC_{name}_": eval(value, {"INT_MAX": 2**31 - 1})  # noqa: S307
            for name, value in re.findall(r"mallopt\(M_(\w+), ([\w <]+)\);", text)}
    assert len(ours) == 3 and {name: int(value) for name, value in PEER_ALLOCATOR.items()} == ours
    given = {}

    def start(command, variables=None):
        given.update(variables)
        output = next(word.split("=")[1] for word in command if word.startswith("--output="))
        pathlib.Path(output).write_text("{}")

    monkeypatch.setattr("sides.start", start)
    run_peer(BUILD, Setting("forward", "fp32", 1, 64, None))
    assert given == PEER_ALLOCATOR


# Compiling takes a minute a method.
@pytest.mark.parametrize("method", ["lora", "forward"] if os.environ.get("DTRAIN_TEST_WHOLE") else ["forward"])
def test_all_compiling_is_before_the_clock(tmp_path, method):
    import transformers
    from sides import model_directory

    transformers.AutoTokenizer.from_pretrained(model_directory(BUILD, None)).save_pretrained(tmp_path)
    config = transformers.BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    transformers.BertModel(config).save_pretrained(tmp_path)
    setting = Setting(method, "bf16", 1, 96, 1e-3, epochs=2, model=tmp_path)
    found = run_peer(BUILD, replace(setting, compiled=True))
    assert found["compiled"] and found["graphs"] >= 1 and found["recompiles"] == 0
    if method == "lora":
        eager = run_peer(BUILD, setting)
        assert "recompiles" not in eager and len(found["losses"]) == len(eager["losses"]) == 6
        assert found["losses"][0] == pytest.approx(eager["losses"][0], rel=0.05)


def test_what_torch_compile_says_of_a_model_is_kept():
    import torch
    from peer_compilation import compile_before

    class Odd(torch.nn.Linear):
        def forward(self, rows):
            raise RuntimeError("one line\nand more")

    model = Odd(2, 2)
    assert compile_before(model, [lambda: model(torch.ones(1, 2))]) == "RuntimeError: one line"
