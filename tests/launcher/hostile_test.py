"""Models, tokenizers, weights and output directories that somebody made to do harm: refused in a moment, with the exit
code of input or usage, the place, what was expected and what was found; nothing is read or written elsewhere."""

import json
import os
import resource
import shutil
import struct
import zipfile

import pytest

from conftest import Dtrain

STEPS = ["--max-steps", "2"]
# Seconds of a core, besides those of the program's own start.
SOON = 1


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def seconds_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="session")
def start_seconds(cache, task, tmp_path_factory):
    """Seconds of a core in which the program starts, with its libraries and MPI, and finds no model."""
    dtrain = Dtrain(tmp_path_factory.mktemp("start"), cache)
    given = ["nowhere" if option == task[1] else option for option in task]
    taken = []
    for _ in range(3):
        before = seconds_of_children()
        ended = dtrain("train", *given, *STEPS)
        assert ended.code in (2, 3) and "nowhere" in ended.err, ended
        taken.append(seconds_of_children() - before)
    return sorted(taken)[1]


@pytest.fixture
def refuses(dtrain, task, model, start_seconds):
    """Training on `model` is refused soon, and in little memory."""
    def memory_of_a_small_machine():
        resource.setrlimit(resource.RLIMIT_DATA, (6 << 30, 6 << 30))

    def refuse(*says, code=3, arguments=()):
        given = [model if option == task[1] else option for option in task]
        before = seconds_of_children()
        ended = dtrain.refuses("train", *given, *STEPS, *arguments, code=code, says=list(says),
                               preexec_fn=memory_of_a_small_machine)
        taken = seconds_of_children() - before
        assert taken - start_seconds < SOON, (taken, start_seconds, ended)
        assert len(ended.err) < 10_000
    return refuse


@pytest.mark.parametrize("name, content, says", [
    ("config.json", '{"a": ' + "[" * 2_000_000, "nests deeper than 100 levels"),
    ("config.json", '{"a": ' + "[" * 2_000_000 + "]" * 2_000_000 + "}", "nests deeper than 100 levels"),
    ("tokenizer.json", '{"a":' * 500_000 + "1" + "}" * 500_000, "nests deeper than 100 levels"),
    ("tokenizer_config.json", '{"a":' * 500_000, "nests deeper than 100 levels"),
    ("modules.json", "[" * 500_000, "nests deeper than 100 levels"),
])
def test_json_that_nests_without_end_is_refused(refuses, model, name, content, says):
    (model / name).write_text(content)
    refuses(name, says)


@pytest.mark.parametrize("key", ["num_hidden_layers", "vocab_size", "hidden_size", "num_attention_heads",
                                 "intermediate_size", "max_position_embeddings", "type_vocab_size", "num_labels"])
@pytest.mark.parametrize("value", [2_000_000_000, 10**30, -1])
def test_sizes_that_no_model_has_are_refused(refuses, model, key, value):
    config = json.loads((model / "config.json").read_text()) | {key: value}
    (model / "config.json").write_text(json.dumps(config))
    refuses("config.json", f"'{key}'")


@pytest.mark.parametrize("key, value", [("num_hidden_layers", 1000), ("vocab_size", 16_000_000),
                                        ("max_position_embeddings", 16_000_000), ("hidden_size", 131_072),
                                        ("intermediate_size", 131_072)])
def test_sizes_that_the_weights_do_not_have_are_refused_before_memory_is_taken(refuses, model, key, value):
    config = json.loads((model / "config.json").read_text()) | {key: value}
    (model / "config.json").write_text(json.dumps(config))
    refuses("model")


@pytest.mark.parametrize("name", ["../outside.safetensors", "{tmp}/outside.safetensors", "link.safetensors"])
def test_shards_outside_of_the_model_are_not_read(refuses, model, tmp_path, name):
    shutil.move(model / "model.safetensors", tmp_path / "outside.safetensors")
    (model / "link.safetensors").symlink_to("../outside.safetensors")
    index = {"weight_map": {"embeddings.word_embeddings.weight": name.format(tmp=tmp_path)}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    refuses("model.safetensors.index.json: weight_map: tensor 'embeddings.word_embeddings.weight': expected")


def test_a_module_outside_of_the_model_is_not_read(refuses, model, tmp_path):
    (tmp_path / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (model / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Pooling", "path": ".."}]))
    refuses("modules.json: expected the name of a file beside this one, found '../config.json'")


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "tokenizer.json", "model.safetensors"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(refuses, model, name):
    if name == "vocab.txt":
        (model / "tokenizer.json").unlink()  # which goes before it
    (model / name).unlink()
    os.mkfifo(model / name)
    refuses(name, "expected a regular file")


def safetensors(header, data=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("content, says", [
    (struct.pack("<Q", 2**64 - 1) + b"{}", "the header claims 18446744073709551615 bytes"),
    (safetensors({"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]}}), "its size overflows"),
    (safetensors({"a": {"dtype": "F32", "shape": [2**62, 0, 4], "data_offsets": [0, 0]}}), "its size overflows"),
    (safetensors({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}), "lie outside the 0 bytes"),
    (safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, bytes(4)), "lie outside"),
    (safetensors({"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
                  "b": {"dtype": "U8", "shape": [3], "data_offsets": [1, 4]}}, bytes(4)), "overlap another tensor's"),
])
def test_weights_whose_header_lies_are_refused(refuses, model, content, says):
    (model / "model.safetensors").write_bytes(content)
    refuses("model.safetensors: not a valid safetensors file", says)


def test_a_weights_archive_that_unpacks_to_more_than_its_size_is_refused(refuses, model):
    import torch
    (model / "model.safetensors").unlink()
    torch.save({"a": torch.zeros(10)}, model / "small.bin")
    with zipfile.ZipFile(model / "small.bin") as small, \
            zipfile.ZipFile(model / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in small.infolist():
            zeros = bytes(1 << 28) if entry.filename.endswith("/data/0") else small.read(entry)
            packed.writestr(entry.filename, zeros)
    refuses("pytorch_model.bin: expected a dictionary of tensors", "larger than the file")


@pytest.mark.parametrize("name", ["checkpoint", "log.jsonl", "results.json", "config.ini", "predictions", "model",
                                  "model.part", "tensorboard"])
def test_nothing_is_written_through_a_link_in_the_output_directory(dtrain, task, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("theirs")
    (tmp_path / "out").mkdir()
    is_folder = "." not in name or name.endswith(".part")
    (tmp_path / "out" / name).symlink_to(outside if is_folder else outside / "file")
    run = ["train", *task, *STEPS, "--method", "head", "--output", "out"]
    if name != "results.json":  # of a finished run
        dtrain.refuses(*run, "--resume", code=2, says=["--output out: ", f"found a symbolic link, {name}"])
    if name != "model.part":
        dtrain.succeeds(*run, "--overwrite")
        assert not (tmp_path / "out" / name).is_symlink()
    assert (outside / "file").read_text() == "theirs"
    assert sorted(path.name for path in outside.iterdir()) == ["file"]


def test_a_lock_that_is_a_link_is_not_written_through(dtrain, task, tmp_path):
    (tmp_path / "file").write_text("theirs")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dtrain.lock").symlink_to("../file")
    dtrain.refuses("train", *task, *STEPS, "--output", "out", code=2, says=["dtrain.lock", "symbolic link"])
    assert (tmp_path / "file").read_text() == "theirs"


def test_files_follow_the_umask_and_the_token_cache_is_its_owners_alone(dtrain, task, tmp_path):
    dtrain.succeeds("train", *task, *STEPS, "--method", "head", "--output", "out", "--token-cache", "tokens",
                    preexec_fn=lambda: os.umask(0o027))
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*") if path.is_file()} == {0o640}
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "tokens").iterdir()} == {0o600}
