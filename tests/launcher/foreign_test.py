"""Adapters and models from elsewhere, in the shapes that people have them in, against what peft and transformers compute."""

import csv
import json
import shutil

import pytest
import safetensors.torch
import torch

from conftest import CLASSES, MINILM, predicted_by_dtrain, predicted_by_transformers

LABELS = list(CLASSES)


@pytest.fixture(scope="module")
def named_model(tmp_path_factory):
    """A classifier of three classes that have names, far from chance."""
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("named")
    torch.manual_seed(2)
    config = BertConfig(vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                        intermediate_size=64, max_position_embeddings=64, initializer_range=.3,
                        id2label=dict(enumerate(LABELS)), label2id={label: id for id, label in enumerate(LABELS)})
    BertForSequenceClassification(config).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MINILM / name, folder / name)
    return folder


def lora(base, task="SEQ_CLS"):
    """A LoRA of peft's on it that changes what it computes."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    return get_peft_model(base, LoraConfig(task_type=task, r=4, init_lora_weights=False, target_modules=["query", "value"]))


def classifier(folder):
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder)


def rename(folder, change):
    """The adapter's tensors under other names."""
    path = folder / "adapter_model.safetensors"
    tensors = {change(name): tensor for name, tensor in safetensors.torch.load_file(path).items()}
    assert set(tensors) != set(safetensors.torch.load_file(path))
    safetensors.torch.save_file(tensors, path, {"format": "pt"})


def in_memory(name, adapter):
    """peft's name of a tensor in the model that it was saved from."""
    for whole in ("lora_A", "lora_B"):
        name = name.replace(f".{whole}.", f".{whole}.{adapter}.")
    return name.replace(".classifier.", f".classifier.modules_to_save.{adapter}.")


@pytest.mark.parametrize("change", [
    lambda name: "module." + name,
    lambda name: "_orig_mod." + name,
    lambda name: "base_model.model." + name,
    lambda name: in_memory(name, "default"),
    lambda name: "module." + in_memory(name, "my_task"),
], ids=["ddp", "compiled", "twice", "default", "ddp_and_name"])
def test_tensors_under_the_names_of_a_wrapped_model_are_found(dtrain, named_model, data, tmp_path, change):
    from peft import PeftModel

    model = lora(classifier(named_model))
    model.save_pretrained(tmp_path / "theirs")
    expected = predicted_by_transformers(PeftModel.from_pretrained(classifier(named_model), tmp_path / "theirs"),
                                         named_model, data, 32)
    rename(tmp_path / "theirs", change)
    ended = dtrain("predict", "--run", "theirs", "--input", data / "test.tsv", "--max-length", "32", "--output", "once")
    assert "is read as 'base_model.model." in ended.err, ended
    assert predicted_by_dtrain(dtrain, "theirs", data, 32) == pytest.approx(expected, abs=2e-6)


def test_a_resized_vocabulary_whose_embeddings_the_adapter_holds(dtrain, named_model, data, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    base = classifier(named_model)
    base.resize_token_embeddings(30524)
    with torch.no_grad():
        base.get_input_embeddings().weight += .1
    lora(base).save_pretrained(tmp_path / "theirs", save_embedding_layers=True)
    plain = classifier(named_model)
    plain.resize_token_embeddings(30524)
    expected = predicted_by_transformers(PeftModel.from_pretrained(plain, tmp_path / "theirs"), named_model, data, 32)
    assert predicted_by_dtrain(dtrain, "theirs", data, 32) == pytest.approx(expected, abs=2e-6)
    dtrain.succeeds("merge", "--run", "theirs", "--output", "merged")
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged" / "model")
    assert merged.config.vocab_size == 30524
    assert predicted_by_transformers(merged, named_model, data, 32) == pytest.approx(expected, abs=2e-6)
    # Training goes on with them, and keeps them.
    task = ["--train", data / "train.tsv", "--dev", data / "dev.tsv", "--max-length", "32"]
    dtrain.succeeds("train", *task, "--run", "theirs", "--lr", "1e-12", "--max-steps", "1", "--output", "ours")
    again = classifier(named_model)
    again.resize_token_embeddings(30524)
    found = predicted_by_transformers(PeftModel.from_pretrained(again, tmp_path / "ours" / "adapter"), named_model, data, 32)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("pattern", [{"value": 40, "layer.0.attention.self.value": 2},
                                     {"layer.0.attention.self.value": 2, "value": 40}], ids=["wide_first", "narrow_first"])
def test_the_first_pattern_of_the_file_that_matches_decides(dtrain, named_model, data, tmp_path, pattern):
    from peft import PeftModel

    lora(classifier(named_model)).save_pretrained(tmp_path / "theirs")
    path = tmp_path / "theirs" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"alpha_pattern": pattern}))
    expected = predicted_by_transformers(PeftModel.from_pretrained(classifier(named_model), tmp_path / "theirs"),
                                         named_model, data, 32)
    assert predicted_by_dtrain(dtrain, "theirs", data, 32) == pytest.approx(expected, abs=2e-6)


def test_a_token_that_the_model_has_no_embedding_of_is_said_with_its_text(dtrain, named_model, tmp_path):
    model = tmp_path / "more"
    shutil.copytree(named_model, model)
    (model / "tokenizer.json").unlink()
    with open(model / "vocab.txt", "a") as file:
        file.write("zyzzyva\n")
    predict = ["predict", "--run", "more", "--max-length", "32", "--output", "out", "--input"]
    (tmp_path / "rare.jsonl").write_text('{"text": "a cat"}\n{"text": "a zyzzyva"}\n')
    dtrain.refuses(*predict, "rare.jsonl", code=3, says=[
        "rare.jsonl:2: the tokenizer of more makes token 30522 of this text", "the model more has only 30522 embeddings"])
    (tmp_path / "usual.jsonl").write_text('{"text": "a cat"}\n')
    dtrain.succeeds(*predict, "usual.jsonl")

    (tmp_path / "train.jsonl").write_text('{"text": "a cat", "label": "a"}\n{"text": "a dog", "label": "b"}\n')
    (tmp_path / "dev.jsonl").write_text('{"text": "a dog", "label": "b"}\n{"text": "a zyzzyva", "label": "a"}\n')
    train = ["train", "--model", "more", "--method", "head", "--max-steps", "1", "--max-length", "32", "--train", "train.jsonl"]
    dtrain.refuses(*train, "--dev", "dev.jsonl", code=3, says="dev.jsonl:2: the tokenizer of more makes token 30522")
    dtrain.succeeds(*train, "--dev", "train.jsonl")


def test_an_adapter_without_a_task_keeps_the_head_of_its_base_model(dtrain, named_model, data, tmp_path):
    from peft import PeftModel

    lora(classifier(named_model), task=None).save_pretrained(tmp_path / "theirs")
    assert json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())["task_type"] is None
    expected = predicted_by_transformers(PeftModel.from_pretrained(classifier(named_model), tmp_path / "theirs"),
                                         named_model, data, 32)
    assert predicted_by_dtrain(dtrain, "theirs", data, 32) == pytest.approx(expected, abs=2e-6)
    ended = dtrain.succeeds("evaluate", "--run", "theirs", "--input", data / "test.tsv", "--max-length", "32")
    assert "called as in its base model, in this order: animal, plant, tool" in ended.err, ended


def test_classes_have_the_names_of_the_base_model_of_the_option_or_of_the_data(dtrain, named_model, tiny_model, data, tmp_path):
    evaluate = ["evaluate", "--run", "theirs", "--input", data / "test.tsv", "--max-length", "32"]
    lora(classifier(named_model)).save_pretrained(tmp_path / "theirs")
    ended = dtrain.succeeds(*evaluate)
    assert "called as in its base model, in this order: animal, plant, tool" in ended.err, ended
    assert "labels are taken" not in ended.err, ended
    # A base model that does not name them: the data's fit.
    from transformers import AutoModelForSequenceClassification

    shutil.rmtree(tmp_path / "theirs")
    lora(AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=3)).save_pretrained(tmp_path / "theirs")
    ended = dtrain.succeeds(*evaluate)
    assert "called 0 to 2 (--labels names them)" in ended.err, ended
    assert "its labels are taken for the names of the classes, in this order: animal, plant, tool" in ended.err, ended
    # The option decides, in its own order.
    (tmp_path / "names.txt").write_text("tool\nplant\nanimal\n")
    for names in ("tool,plant,animal", "names.txt"):
        dtrain.succeeds("predict", *evaluate[1:], "--labels", names, "--output", "predicted", "--overwrite")
        with open(tmp_path / "predicted" / "predictions" / "predictions.tsv", encoding="utf-8") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        assert [key for key in row if key.startswith("p(")] == ["p(tool)", "p(plant)", "p(animal)"]
    dtrain.refuses(*evaluate, "--labels", "tool,plant", code=2, says=["--labels: 2 names", "3 classes"])
    dtrain.refuses(*evaluate, "--labels", "tool,tool,plant", code=2, says="'tool' is given twice")
    dtrain.refuses(*evaluate, "--labels", "tool,,plant", code=2, says="found an empty one")
