"""Masked language models of transformers on small batches, and what numpy, scipy and scikit-learn say of representations.

Usage: forgetting_reference.py DIRECTORY. Writes DIRECTORY/{bert,roberta,distilbert}_mlm/ (checkpoint and
reference.safetensors) and DIRECTORY/representation.safetensors.
"""

import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors
from scipy import stats
from sklearn.metrics import label_ranking_average_precision_score
from sklearn.metrics.pairwise import cosine_similarity
from transformers import (BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM, RobertaConfig,
                          RobertaForMaskedLM)

VOCABULARY, MASK = 101, 3


def models():
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
             "intermediate_size": 48, "max_position_embeddings": 40, "initializer_range": 0.3}
    yield "bert_mlm", BertForMaskedLM(BertConfig(**sizes, hidden_act="relu"))
    yield "roberta_mlm", RobertaForMaskedLM(RobertaConfig(**sizes, pad_token_id=1, type_vocab_size=1))
    yield "distilbert_mlm", DistilBertForMaskedLM(DistilBertConfig(
        vocab_size=VOCABULARY, dim=24, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=40,
        initializer_range=0.3, tie_word_embeddings=False))


def masked_model(folder, model):
    """Texts of some length, of which dtrain says which tokens are hidden; the loss for each place of each text."""
    model = model.eval()
    for name, value in model.named_parameters():
        if "bias" in name or "orm" in name:  # as training would leave them
            value.data += 0.2 * torch.randn_like(value)
    model.save_pretrained(folder)
    random = np.random.default_rng(4)
    lengths = [2, 3, 5, 9, 17, 30, 12, 24]
    ids = [random.integers(5, VOCABULARY, length) for length in lengths]
    tensors = {"ids": torch.tensor(np.concatenate(ids)), "offsets": torch.tensor(np.cumsum([0, *lengths]))}
    torch.save(tensors, folder / "texts.pt")
    save_tensors(tensors, folder / "texts.safetensors")


def losses(folder, masked):
    """The mean loss of the tokens at `masked` [(text, place)], all hidden at once."""
    from transformers import AutoModelForMaskedLM

    tensors = torch.load(folder / "texts.pt")
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    total, count = 0.0, 0
    for text in range(len(tensors["offsets"]) - 1):
        begin, end = tensors["offsets"][text], tensors["offsets"][text + 1]
        ids = tensors["ids"][begin:end].clone()
        places = [place for owner, place in masked if owner == text]
        if not places:
            continue
        answers = ids[places].clone()
        ids[places] = MASK
        with torch.no_grad():
            logits = model(input_ids=ids.unsqueeze(0)).logits[0, places].double()
        total += torch.nn.functional.cross_entropy(logits, answers, reduction="sum").item()
        count += len(places)
    return total / count


def splitmix(state):
    def mixed():
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        value = state
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
        return value ^ (value >> 31)

    return mixed


def below(draw, bound):
    """Lemire's multiplication with rejection."""
    while True:
        product = draw() * bound
        if product % 2**64 >= (2**64 - bound) % bound:
            return product >> 64


def masked_places(text, length):
    """As study/forgetting.h chooses them."""
    mixed = lambda value: splitmix(value)()
    seed = mixed(mixed(mixed(15) ^ 9) ^ text)
    draw = splitmix(seed)
    places = list(range(1, length - 1))
    for last in range(len(places), 1, -1):
        other = below(draw, last)
        places[last - 1], places[other] = places[other], places[last - 1]
    count = max(1, int(0.15 * len(places) + 0.5))
    return sorted(places[:count])


def cka(x, y):
    """By the Gram matrices, as Kornblith et al. (2019) define it: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))."""
    centre = np.eye(len(x)) - 1 / len(x)
    hsic = lambda k, l: np.trace(k @ centre @ l @ centre)
    k, l = x @ x.T, y @ y.T
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


def representation():
    random = np.random.default_rng(8)
    first = random.standard_normal((40, 12)) + 1
    second = first @ random.standard_normal((12, 9)) + 0.5 * random.standard_normal((40, 9))
    upper = np.triu_indices(40, 1)
    similarities = [cosine_similarity(states)[upper] for states in (first, second)]
    rounded = [np.round(values, 1) for values in similarities]
    queries = random.standard_normal((40, 12))
    answers = queries + 1.2 * random.standard_normal((40, 12))
    scores = cosine_similarity(queries, answers)
    return {"first": first, "second": second, "cka": np.array(cka(first, second)),
            "similarities": similarities[0], "rounded_first": rounded[0], "rounded_second": rounded[1],
            "spearman": np.array(stats.spearmanr(*similarities)[0]),
            "spearman_of_ties": np.array(stats.spearmanr(*rounded)[0]), "queries": queries, "answers": answers,
            "mrr": np.array(label_ranking_average_precision_score(np.eye(40), scores))}


def main(directory):
    torch.manual_seed(0)
    for name, model in models():
        folder = pathlib.Path(directory) / name
        folder.mkdir(parents=True, exist_ok=True)
        masked_model(folder, model)
        offsets = torch.load(folder / "texts.pt")["offsets"].tolist()
        masked = [(text, place) for text in range(len(offsets) - 1)
                  for place in masked_places(text, offsets[text + 1] - offsets[text])]
        save_file({"masked": np.array(masked), "loss": np.array(losses(folder, masked))}, folder / "reference.safetensors")
    save_file(representation(), pathlib.Path(directory) / "representation.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
