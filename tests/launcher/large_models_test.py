"""BERT-large and RoBERTa-large (340 and 355 million parameters, random weights): loss, norm, clipping and AdamW of two steps are
torch's.

A model takes some 6 GB of memory, 3 GB of disk and a minute, so that it runs where DTRAIN_LARGE_MODELS is set.
"""

import os
import shutil

import pytest

from bases import write_roberta
from conftest import MINILM, log_lines, results, rows, write_tsv

pytestmark = pytest.mark.skipif("DTRAIN_LARGE_MODELS" not in os.environ, reason="DTRAIN_LARGE_MODELS is not set")

RATE, EXAMPLES, STEPS, LENGTH = 1e-4, 8, 2, 16
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
         "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def bert(folder):
    from transformers import BertConfig, BertModel

    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MINILM / name, folder / name)
    return BertModel(BertConfig(vocab_size=30522, **LARGE))


def roberta(folder):
    """The tokenizer of a small one: of 50,265 rows it reaches the first."""
    from transformers import RobertaConfig, RobertaModel

    write_roberta(folder, LENGTH)
    (folder / "model.safetensors").unlink()
    return RobertaModel(RobertaConfig(vocab_size=50265, type_vocab_size=1, max_position_embeddings=514, **LARGE))


def peers_steps(model, folder, texts, labels, kept):
    """Losses and norms of the steps, and the parameters after the step `kept`. Every step's batch is all there is."""
    import torch
    from transformers import AutoTokenizer, get_linear_schedule_with_warmup

    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")} | {"labels": torch.tensor(labels)}
    trained = [value for name, value in model.named_parameters()]
    groups = [{"params": [value for value in trained if value.dim() > 1], "weight_decay": 0.01},
              {"params": [value for value in trained if value.dim() <= 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, STEPS)
    losses, norms = [], []
    values = {}
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        loss = model.train()(**batch).loss
        loss.backward()
        # torch's own sums floats of millions of elements; in double it is the norm of these gradients.
        norm = sum(float(value.grad.double().square().sum()) for value in trained if value.grad is not None) ** 0.5
        for value in trained:
            if value.grad is not None:
                value.grad.mul_(1 / (norm + 1e-6))
        optimizer.step()
        schedule.step()
        losses.append(float(loss))
        norms.append(norm)
        if step == kept:
            values = {name: value.detach().clone() for name, value in model.named_parameters()}
    return losses, norms, values


def trained(dtrain, folder, steps, warmup, output):
    dtrain.succeeds("train", "--model", folder, *[word for split in ("train", "dev", "test")
                                                  for word in (f"--{split}", dtrain.folder / "rows.tsv")],
                    "--max-length", LENGTH, "--method", "full", "--batch-size", EXAMPLES, "--max-steps", steps, "--warmup-ratio",
                    warmup, "--lr", RATE, "--log-steps", "1", "--output", output, env={"DTRAIN_THREADS": None}, timeout=600)
    return dtrain.folder / output


@pytest.mark.parametrize("make, millions", [(bert, 335), (roberta, 355)], ids=["bert", "roberta"])
def test_steps_of_a_large_model_are_those_of_torch(dtrain, tmp_path, make, millions):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path / "base"
    folder.mkdir()
    torch.manual_seed(0)
    make(folder).save_pretrained(folder)
    lines = rows(EXAMPLES, 1)
    write_tsv(tmp_path / "rows.tsv", lines)
    # One step at a learning rate that has yet to rise from 0 leaves the start, with the head that dtrain draws.
    start = trained(dtrain, folder, 1, 0.9, "start") / "model"
    out = trained(dtrain, folder, STEPS, 0, "out")
    model = AutoModelForSequenceClassification.from_pretrained(start)
    assert round(model.num_parameters() / 1e6) == millions
    labels = [model.config.label2id[label] for label, _ in lines]
    losses, norms, values = peers_steps(model, folder, [text for _, text in lines], labels, results(out)["best_step"])

    steps = [line for line in log_lines(out) if "gradient_norm" in line]
    assert [step["loss"] for step in steps] == pytest.approx(losses, rel=1e-5)
    assert [step["gradient_norm"] for step in steps] == pytest.approx(norms, rel=1e-5)
    assert min(norms) > 1, "clipped"
    before, found = load_file(start / "model.safetensors"), load_file(out / "model" / "model.safetensors")
    moved, missed, elements = 0.0, 0.0, 0
    for name, value in values.items():
        step = value.double() - before[name].double()
        moved += float(step.square().sum())
        missed += float((found[name].double() - before[name].double() - step).square().sum())
        elements += value.numel()
    difference = (missed / moved) ** 0.5
    print(f"{elements:,} elements, norms {norms}: {difference:.2e} of the update")
    # AdamW's first steps are about the signs of the gradients, so that they differ where these are noise.
    assert difference < 0.01
