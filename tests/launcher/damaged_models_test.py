"""Models and adapters that are not what they should be: exit code 3, with the tensor or key, expected and found."""

import json
import random
import shutil
import struct

import pytest
from digests import flipped, xxh3_128

STEPS = ["--max-steps", "2"]


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def header_of(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8:8 + size]), raw[8 + size:]


def write(path, header, data):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


QUERY = "encoder.layer.1.attention.self.query.weight"
KEY = "encoder.layer.1.attention.self.key.weight"


def absurd_length(path):
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def not_json(path):
    raw = path.read_bytes()
    path.write_bytes(raw[:8] + b"!" + raw[9:])


def changed(change):
    def damage(path):
        header, data = header_of(path)
        change(header)
        write(path, header, data)
    return damage


def overlapping(header):
    header[QUERY]["data_offsets"] = header[KEY]["data_offsets"]


def outside(header):
    begin, end = header[QUERY]["data_offsets"]
    header[QUERY]["data_offsets"] = [begin + (1 << 40), end + (1 << 40)]


def unknown_type(header):
    header[QUERY]["dtype"] = "F8_E5M2"


def integers(header):
    header[QUERY]["dtype"] = "I32"


def wrong_shape(header):
    header[QUERY]["shape"] = [16, 64]


def missing(header):
    # Its bytes stay: a file may hold what nobody names.
    header["encoder.layer.1.attention.self.qwery.weight"] = header.pop(QUERY)


@pytest.mark.parametrize("damage, says", [
    (lambda path: path.unlink(), ["no model.safetensors there"]),
    (lambda path: path.write_bytes(b""), ["expected at least 8 bytes, found 0"]),
    (absurd_length, ["the header claims 1152921504606846976 bytes", "complete?"]),
    (cut, ["lie outside the", "complete?"]),
    (not_json, ["header is not a JSON object"]),
    (changed(overlapping), ["overlap another tensor's", "attention.self"]),
    (changed(outside), [QUERY, "lie outside the"]),
    (changed(unknown_type), [QUERY, "dtype 'F8_E5M2' is not supported"]),
    (changed(integers), [QUERY, "expected a floating-point type, found I32"]),
    (changed(wrong_shape), [QUERY, "expected shape [32, 32], found [16, 64]"]),
    (changed(missing), [QUERY, "of shape [32, 32] is missing", "did you mean"]),
])
def test_damaged_weights_are_refused_with_the_tensor_and_what_was_found(dtrain, task, model, damage, says):
    damage(model / "model.safetensors")
    given = [model if option == task[1] else option for option in task]
    dtrain.refuses("train", *given, *STEPS, code=3, says=["model", *says])


@pytest.mark.parametrize("change, says", [
    ({"model_type": "t5"}, ["model_type 't5' is not supported; supported are: bert, distilbert, roberta\n"]),
    ({"model_type": None}, ["model_type", "not supported"]),
    ({"hidden_size": "wide"}, ["'hidden_size' must be a positive integer, found \"wide\""]),
    ({"hidden_size": 33}, ["hidden_size 33 is not a multiple of num_attention_heads 4"]),
    ({"hidden_act": "swish9"}, ["hidden_act 'swish9' is not supported", "gelu"]),
    ({"vocab_size": 100}, ["train.tsv:2: the tokenizer of", "has only 100 embeddings"]),
])
def test_a_configuration_that_is_not_served_is_refused_with_the_key(dtrain, task, model, change, says):
    config = json.loads((model / "config.json").read_text()) | change
    (model / "config.json").write_text(json.dumps(config))
    given = [model if option == task[1] else option for option in task]
    dtrain.refuses("train", *given, *STEPS, code=3, says=says)


def test_a_model_directory_that_is_none_is_refused(dtrain, task, model, tmp_path):
    (model / "config.json").write_text("{")
    given = ["train", *task[2:], *STEPS, "--model"]
    dtrain.refuses(*given, model, code=3, says=["config.json", "not valid JSON"])
    dtrain.refuses(*given, "nowhere", code=3, says=["nowhere", "expected a Hugging Face model directory"])


@pytest.fixture(scope="module")
def adapter(task, tmp_path_factory, cache):
    from conftest import Dtrain
    folder = tmp_path_factory.mktemp("adapter")
    Dtrain(folder, cache).succeeds("train", *task, *STEPS, "--method", "lora", "--output", "out")
    return folder / "out" / "adapter"


@pytest.mark.parametrize("damage, says", [
    (lambda path: path.unlink(), ""),
    (lambda path: path.write_bytes(b""), "expected at least 8 bytes, found 0"),
    (cut, "Is the file complete?"),
    (absurd_length, "Is the file complete?"),
    (not_json, "header is not a JSON object"),
])
def test_damaged_weights_of_an_adapter_are_refused_with_the_file(dtrain, task, data, adapter, tmp_path, damage, says):
    copy = shutil.copytree(adapter, tmp_path / "copy")
    damage(copy / "adapter_model.safetensors")
    for command in (["evaluate", "--input", data / "test.tsv", "--max-length", "32"], ["merge", "--output", "merged"],
                    ["train", *task[2:], *STEPS]):
        dtrain.refuses(*command, "--run", copy, code=3, says=["copy/adapter_model.safetensors: ", says])


def in_order_of_names(header, data):
    return b"".join(data[slice(*header[name]["data_offsets"])] for name in sorted(header) if name != "__metadata__")


@pytest.mark.parametrize("seed", range(4))
def test_an_adapter_in_which_a_bit_has_flipped_is_refused_with_both_digests(dtrain, data, adapter, tmp_path, seed):
    copy = shutil.copytree(adapter, tmp_path / "copy")
    header, weights = header_of(copy / "adapter_model.safetensors")
    assert header["__metadata__"] == {"format": "pt", "dtrain_digest": xxh3_128(in_order_of_names(header, weights))}
    # Of the lowest byte of a number, which leaves it finite, and almost what it was.
    changed = flipped(weights, 32 * random.Random(seed).randrange(len(weights) // 4) + seed)
    write(copy / "adapter_model.safetensors", header, changed)
    dtrain.refuses("evaluate", "--run", copy, "--input", data / "test.tsv", "--max-length", "32", code=3,
                   says=["copy/adapter_model.safetensors: expected tensors of digest",
                         header["__metadata__"]["dtrain_digest"], xxh3_128(in_order_of_names(header, changed))])


def test_a_trained_model_in_which_a_bit_has_flipped_is_refused_on_all_ranks(dtrain, task, data, tmp_path):
    dtrain.succeeds("train", *task, *STEPS, "--method", "full", "--output", "out")
    path = tmp_path / "out" / "model" / "model.safetensors"
    path.write_bytes(flipped(path.read_bytes(), 8 * (path.stat().st_size - 4)))
    for ranks in (1, 2):
        dtrain.refuses("evaluate", "--run", "out", "--input", data / "test.tsv", "--max-length", "32", code=3,
                       says=["out/model/model.safetensors: expected tensors of digest"], ranks=ranks)


def test_an_adapter_that_others_saved_again_with_its_metadata_is_as_good(dtrain, data, adapter, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    copy = shutil.copytree(adapter, tmp_path / "copy")
    evaluate = ["evaluate", "--run", copy, "--input", data / "test.tsv", "--max-length", "32"]
    with safe_open(copy / "adapter_model.safetensors", "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    assert "dtrain_digest" in metadata
    for kept in (metadata, {"format": "pt"}):
        save_file(tensors, copy / "adapter_model.safetensors", kept)
        dtrain.succeeds(*evaluate)
    # Who changes them leaves the key out, which the message says.
    name = next(iter(tensors))
    tensors[name] = 2 * tensors[name] + 1
    save_file(tensors, copy / "adapter_model.safetensors", metadata)
    dtrain.refuses(*evaluate, code=3, says="who changes tensors on purpose leaves that key out")
    save_file(tensors, copy / "adapter_model.safetensors", {"format": "pt"})
    dtrain.succeeds(*evaluate)


def test_an_adapter_for_another_model_is_refused_with_the_shapes(dtrain, data, adapter, tmp_path):
    from transformers import BertConfig, BertModel
    BertModel(BertConfig(vocab_size=30522, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
                         intermediate_size=64, max_position_embeddings=64)).save_pretrained(tmp_path / "wider")
    for name in ("vocab.txt", "tokenizer.json"):
        shutil.copy(json.loads((adapter / "dtrain.json").read_text())["base_model"] + "/" + name, tmp_path / "wider")
    dtrain.refuses("evaluate", "--run", adapter, "--model", "wider", "--input", data / "test.tsv", "--max-length", "32",
                   code=3, says=["lora_A", "[8, 48]", "[8, 32]", "for another model?"])


def test_an_adapter_whose_base_is_gone_or_whose_head_is_missing_is_refused(dtrain, data, adapter, tmp_path):
    copy = shutil.copytree(adapter, tmp_path / "copy")
    evaluate = ["evaluate", "--run", copy, "--input", data / "test.tsv", "--max-length", "32"]
    description = json.loads((copy / "dtrain.json").read_text())
    (copy / "dtrain.json").write_text(json.dumps(description | {"base_model": "/nowhere/model"}))
    dtrain.refuses(*evaluate, code=3, says=["'/nowhere/model' is not a directory", "--model"])
    header, weights = header_of(copy / "adapter_model.safetensors")
    head = next(name for name in header if name.endswith("classifier.weight"))
    header["renamed"] = header.pop(head)
    write(copy / "adapter_model.safetensors", header, weights)
    dtrain.refuses(*evaluate, "--model", description["base_model"], code=3,
                   says=["classifier.weight' is missing", "would score at random"])


def test_a_folder_that_holds_nothing_trained_is_refused(dtrain, data, tmp_path):
    dtrain.refuses("evaluate", "--run", data, "--input", data / "test.tsv", code=3,
                   says="expected a run's output, a Hugging Face model (config.json) or an adapter")
