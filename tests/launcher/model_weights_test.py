"""Weights and heads of model directories as others write them, and files that are meant to do harm."""

import json
import pathlib
import shutil

import pytest
import torch
import transformers
from transformers import AutoModelForSequenceClassification

from model_directories import TEXTS, assert_same, copy_of, directories, of_transformers, patch, probe

# --- Weights ------------------------------------------------------------------------------------------------------------

def as_pickle(folder, shards=1):
    from safetensors.torch import load_file
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = list(tensors)
    if shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
        return folder
    where = {}
    for shard in range(shards):
        file = f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        torch.save({name: tensors[name] for name in names[shard::shards]}, folder / file)
        where |= {name: file for name in names[shard::shards]}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(dict(metadata={}, weight_map=where)))
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_weights_that_torch_saved_are_read(directories, copy_of, probe, shards):
    expected = of_transformers(directories["bert"])
    assert_same(probe(as_pickle(copy_of("bert"), shards), TEXTS), expected)


def test_a_state_dict_with_its_metadata_is_read(directories, copy_of, probe):
    folder = copy_of("bert")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert_same(probe(folder, TEXTS), of_transformers(directories["bert"]))


class Code:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return pathlib.Path.touch, (self.file,)


def test_code_in_weights_is_not_run(copy_of, probe, tmp_path):
    folder = copy_of("bert")
    (folder / "model.safetensors").unlink()
    for content, found in (({"bert.pooler.dense.weight": Code(tmp_path / "ran")}, "which is not run"),
                           (Code(tmp_path / "ran"), "which is not run"), ({"a": 1}, 'no tensor under "a"'),
                           ({1: torch.ones(1)}, "a key that is no text"), ([1], "something that is no dictionary")):
        torch.save(content, folder / "pytorch_model.bin")
        error = probe(folder, TEXTS)["error"]
        assert "pytorch_model.bin: expected a dictionary of tensors" in error and found in error
    torch.save({"a": torch.ones(1)}, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert "torch.save of PyTorch 1.6 or later" in probe(folder, TEXTS)["error"]
    assert not (tmp_path / "ran").exists()


def with_pickle(path, change):
    """The file that torch.save wrote, with another program in it."""
    import zipfile
    with zipfile.ZipFile(path) as archive:
        records = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records.items():
            archive.writestr(name, change(content) if name.endswith("/data.pkl") else content)


def test_views_and_other_types_are_read_as_torch_reads_them(directories, copy_of, probe):
    folder = copy_of("bert")
    model = AutoModelForSequenceClassification.from_pretrained(folder).double()
    state = {name: torch.nn.Parameter(value.T.contiguous().T) if value.dim() == 2 else torch.stack([value, value])[1]
             for name, value in model.state_dict().items() if value.is_floating_point()}
    state["bert.embeddings.position_ids"] = torch.arange(5)
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin", pickle_protocol=4)
    assert_same(probe(folder, TEXTS), of_transformers(directories["bert"]))


def test_a_pickle_that_is_damaged_is_refused(copy_of, probe):
    import random
    chance = random.Random(5)
    folder = as_pickle(copy_of("bert"))
    whole = (folder / "pytorch_model.bin").read_bytes()

    def damaged(content):
        content = bytearray(content)
        for _ in range(chance.choice([1, 1, 3, 20])):
            content[chance.randrange(len(content))] = chance.choice([chance.randrange(256), *b"(0tRbQsueqh}]).NK"])
        return bytes(content[:chance.choice([len(content), chance.randrange(len(content))])])

    refused = 0
    for _ in range(300):
        (folder / "pytorch_model.bin").write_bytes(whole)
        with_pickle(folder / "pytorch_model.bin", damaged)
        refused += "error" in probe(folder, TEXTS[:1])
    assert refused > 200
    for size in range(0, len(whole), len(whole) // 20):
        (folder / "pytorch_model.bin").write_bytes(whole[:size])
        assert "pytorch_model.bin: expected" in probe(folder, TEXTS)["error"]


@pytest.mark.parametrize("name", ["../outside", "sub/inside", "/tmp/outside", "..", ""])
@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_an_index_that_leads_out_of_its_directory_is_refused(copy_of, probe, tmp_path, name, index):
    folder = copy_of("bert")
    (folder / "sub").mkdir()
    for place in (tmp_path / "outside", folder / "sub" / "inside"):
        shutil.copy(folder / "model.safetensors", place)
    (folder / "model.safetensors").unlink()
    (folder / index).write_text(json.dumps(dict(weight_map={"classifier.weight": name})))
    error = probe(folder, TEXTS)["error"]
    assert f"{index}: weight_map: tensor 'classifier.weight': expected the name of a file beside this one" in error


# --- Heads --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("head", ["BertForTokenClassification", "BertForQuestionAnswering", "BertForMultipleChoice",
                                  "BertForMaskedLM", "BertForPreTraining", "BertForNextSentencePrediction"])
def test_a_head_for_another_task_is_no_trained_classifier(directories, copy_of, probe, head):
    folder = patch(copy_of("bert"), "config.json", architectures=[head])
    error = probe(folder, TEXTS)["error"]
    assert f"'architectures': expected a trained BertForSequenceClassification, found {head}" in error


def test_a_body_with_another_head_is_trained_on_a_new_one(dtrain, tmp_path, data):
    from conftest import MINILM
    folder = tmp_path / "ner"
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=64, max_position_embeddings=64, num_labels=5)
    transformers.BertForTokenClassification(config).save_pretrained(folder)
    shutil.copy(MINILM / "vocab.txt", folder / "vocab.txt")
    dtrain.succeeds("train", "--model", folder, "--train", data / "train.tsv", "--dev", data / "dev.tsv", "--max-length",
                    "32", "--max-steps", "2", "--pooling", "mean", "--output", "out")
    config = json.loads((dtrain.folder / "out" / "model" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert sorted(config["id2label"].values()) == ["animal", "plant", "tool"]
    dtrain.refuses("predict", "--run", folder, "--input", data / "test.tsv", "--output", "predicted", "--max-length",
                   "32", code=3, says=["config.json", "'architectures'", "BertForTokenClassification"])


# --- Files that are meant to do harm ------------------------------------------------------------------------------------

@pytest.mark.parametrize("file, content", [
    ("config.json", '{"model_type": ' + "[" * 2_000_000 + "]" * 2_000_000 + "}"),
    ("tokenizer.json", '{"a":' * 500_000 + "1" + "}" * 500_000),
    ("tokenizer_config.json", '{"a":' * 500_000 + "1" + "}" * 500_000),
    ("special_tokens_map.json", "[" * 2_000_000),
    ("added_tokens.json", '{"a":' * 500_000),
    ("modules.json", "[" * 2_000_000),
    ("sentence_bert_config.json", '{"a":' * 500_000)])
def test_a_file_that_nests_without_end_is_refused_at_once(copy_of, probe, file, content):
    import time
    folder = copy_of("bert")
    (folder / file).write_text(content)
    begin = time.monotonic()
    assert f"{file}: nests deeper than" in probe(folder, TEXTS)["error"]
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size",
                                 "vocab_size", "max_position_embeddings", "type_vocab_size", "num_labels"])
def test_a_size_beyond_all_is_refused_at_once(copy_of, probe, key):
    import time
    for value in (2_000_000_000, 2**63 - 1, 2**64 - 1, 1e300, -1, 0, "many", None):
        folder = patch(copy_of("bert"), "config.json", **{key: value})
        begin = time.monotonic()
        error = probe(folder, TEXTS)["error"]
        assert f"config.json: '{key}' must be " in error and "found" in error
        assert time.monotonic() - begin < 1
