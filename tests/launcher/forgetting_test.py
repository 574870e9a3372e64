"""dtrain evaluate --retain: what training forgot."""

import shutil

import pytest

from conftest import results

SHORT = ["--max-steps", "20", "--batch-size", "8", "--lr", "5e-3"]
LENGTH = ["--max-length", "32"]


@pytest.fixture
def retain(tmp_path):
    file = tmp_path / "retain.txt"
    words = "sun rain wind snow fog river house bread king war".split()
    file.write_text("".join(f"a text about {one} and {other}\n" for one in words for other in words if one < other))
    return file


def forgotten(folder):
    return results(folder)["forgetting"]


def test_a_frozen_body_forgets_nothing_and_a_trained_one_something(dtrain, task, data, retain):
    for method in ("head", "lora", "full"):
        dtrain.succeeds("train", *task, *SHORT, "--method", method, "--output", method)
        ended = dtrain.succeeds("evaluate", "--run", method, "--input", data / "test.tsv", *LENGTH, "--retain", retain,
                                "--output", f"of-{method}")
        assert "states alike (linear CKA)" in ended.out
    head, lora, full = (forgotten(dtrain.folder / f"of-{method}") for method in ("head", "lora", "full"))
    assert head["cka"] == pytest.approx(1, abs=1e-9) and head["mrr"] == head["mrr_before"]
    for trained in (lora, full):
        assert trained["cka"] < 1 - 1e-6
        assert trained["similarity_agreement"] < 1
        assert trained["mrr_before"] == head["mrr_before"]
    assert "mlm_loss" not in head  # the checkpoint has no such head


def test_is_the_same_on_two_ranks(dtrain, task, data, retain):
    dtrain.succeeds("train", *task, *SHORT, "--method", "lora", "--output", "run")
    arguments = ["evaluate", "--run", "run", "--input", data / "test.tsv", *LENGTH, "--retain", retain, "--output"]
    dtrain.succeeds(*arguments, "one")
    dtrain.succeeds(*arguments, "two", ranks=2)
    assert forgotten(dtrain.folder / "one") == forgotten(dtrain.folder / "two")


def test_asks_a_masked_language_model_as_transformers_does(dtrain, tiny_model, task, data, tmp_path):
    """Of a text of three tokens only its one word is hidden, so that its place is no matter of chance."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    torch.manual_seed(1)
    folder = tmp_path / "mlm"
    model = BertForMaskedLM(BertConfig(vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                                       intermediate_size=64, max_position_embeddings=64, initializer_range=0.2)).eval()
    model.save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_model / name).read_bytes())
    words = "sun rain wind snow fog river house".split()
    (tmp_path / "words.txt").write_text("\n".join(words) + "\n")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(words, return_tensors="pt")["input_ids"]
    assert tokens.shape == (len(words), 3)
    hidden = tokens.clone()
    hidden[:, 1] = tokenizer.mask_token_id
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(input_ids=hidden).logits[:, 1], tokens[:, 1]).item()
    dtrain.succeeds("train", "--model", folder, *task[2:], *SHORT, "--method", "full", "--output", "run")
    dtrain.succeeds("evaluate", "--run", "run", "--input", data / "test.tsv", *LENGTH, "--retain", "words.txt",
                    "--output", "out")
    found = forgotten(dtrain.folder / "out")
    assert found["mlm_loss_before"] == pytest.approx(loss, abs=1e-4)
    assert found["mlm_loss"] != pytest.approx(loss, abs=1e-3)


def test_refuses_what_it_cannot_measure(dtrain, task, data, tmp_path):
    dtrain.succeeds("train", *task, *SHORT, "--method", "full", "--output", "run")
    (tmp_path / "one.txt").write_text("one line\n")
    arguments = ["evaluate", "--run", "run", "--input", data / "test.tsv", *LENGTH, "--retain"]
    dtrain.refuses(*arguments, "one.txt", code=3, says="expected two texts at least, found 1")
    dtrain.refuses(*arguments, "none.txt", code=3, says="none.txt")
    (tmp_path / "two.txt").write_text("one line\nanother\n")
    shutil.copytree(tmp_path / "run" / "model", tmp_path / "elsewhere")
    dtrain.refuses("evaluate", "--run", "elsewhere", *arguments[3:], "two.txt", code=2, says="name it with --model")
    shutil.copytree(tmp_path / "run" / "model", tmp_path / "run" / "other")
    dtrain.refuses("evaluate", "--run", "run/other", *arguments[3:], "two.txt", code=2, says="name it with --model")


@pytest.mark.parametrize("part", ["", "/", "/model", "/model/"])
def test_a_run_says_what_its_model_came_from(dtrain, task, data, tmp_path, part):
    dtrain.succeeds("train", *task, *SHORT, "--method", "full", "--output", "run")
    (tmp_path / "two.txt").write_text("one line\nanother\n")
    dtrain.succeeds("evaluate", "--run", f"run{part}", "--input", data / "test.tsv", *LENGTH, "--retain", "two.txt",
                    "--output", "out")
    assert "cka_last" in forgotten(tmp_path / "out")


def test_has_text_of_its_own(dtrain, task, data):
    dtrain.succeeds("train", *task, *SHORT, "--method", "head", "--output", "run")
    dtrain.succeeds("evaluate", "--run", "run", "--input", data / "test.tsv", *LENGTH, "--retain", "embedded",
                    "--output", "out")
    assert forgotten(dtrain.folder / "out")["similarity_agreement"] == pytest.approx(1, abs=1e-9)
