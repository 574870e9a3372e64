"""Models, batches and logits as transformers has them, for the scripts that write what dtrain is compared with."""

import dataclasses
import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    RobertaConfig,
)
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
torch.set_num_threads(1)

POOLINGS = ("pooler", "cls", "mean")

CONFIG_CLASSES = {"bert": BertConfig, "distilbert": DistilBertConfig, "roberta": RobertaConfig}

# Small models that differ in everything that config.json decides.
CONFIGS = {
    # Sizes that no vector width divides, a head of 20.
    "odd_relu": dict(hidden_size=40, num_attention_heads=2, intermediate_size=52, hidden_act="relu", layer_norm_eps=1e-5,
                     num_labels=3),
    # One token type; two labels, whose names transformers leaves out of config.json.
    "one_type": dict(hidden_size=48, num_attention_heads=3, intermediate_size=80, type_vocab_size=1, num_labels=2),
    # Another GELU, an epsilon that shows, dropout of the head's own.
    "new_gelu": dict(hidden_size=64, num_attention_heads=2, intermediate_size=96, hidden_act="gelu_new",
                     layer_norm_eps=1e-3, classifier_dropout=0.3, num_labels=5),
    # For what must not depend on random numbers.
    "no_dropout": dict(hidden_size=48, num_attention_heads=3, intermediate_size=64, hidden_dropout_prob=0.0,
                       attention_probs_dropout_prob=0.0, num_labels=4),
    # Positions that count from the padding token on.
    "roberta": dict(model_type="roberta", hidden_size=48, num_attention_heads=3, intermediate_size=80,
                    max_position_embeddings=142, type_vocab_size=1, layer_norm_eps=1e-5, num_labels=4),
    "roberta_gelu": dict(model_type="roberta", hidden_size=40, num_attention_heads=2, intermediate_size=52,
                         max_position_embeddings=150, type_vocab_size=2, pad_token_id=4, hidden_act="gelu_new",
                         classifier_dropout=0.3, num_labels=3),
    # No segments, a norm before the feed-forward network that has another name.
    "distilbert": dict(model_type="distilbert", dim=48, n_heads=3, hidden_dim=64, n_layers=3, num_labels=5),
    "distilbert_relu": dict(model_type="distilbert", dim=40, n_heads=2, hidden_dim=52, n_layers=2, activation="relu",
                            sinusoidal_pos_embds=True, num_labels=3),
}


def small_config(name):
    settings = dict(CONFIGS[name])
    kind = settings.pop("model_type", "bert")
    sizes = dict(vocab_size=101, max_position_embeddings=140)
    if kind != "distilbert":
        sizes["num_hidden_layers"] = 3
    return CONFIG_CLASSES[kind](**(sizes | settings))


def poolings_of(config):
    """Only BERT has a pooler."""
    return POOLINGS if config.model_type == "bert" else ("cls", "mean")


def small_model(name, seed=0):
    return model_of(small_config(name), seed)


def model_of(config, seed=0):
    """Weights far from a fresh model's, so that no bias is zero, no norm is plain, and no attention is flat."""
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("LayerNorm.weight") or key.endswith("layer_norm.weight"):
                parameter.normal_(1, 0.2)
            else:
                parameter.normal_(0, 0.15)
    return model.eval()


@dataclasses.dataclass
class Batch:
    ids: list  # of lists
    second: list  # where the second segment begins
    labels: list
    pad: int = 0

    def packed(self):
        lengths = torch.tensor([len(row) for row in self.ids])
        types = [[0] * begin + [1] * (len(row) - begin) for row, begin in zip(self.ids, self.second)]
        return {
            "ids": torch.tensor([token for row in self.ids for token in row]),
            "types": torch.tensor([kind for row in types for kind in row]),
            "positions": torch.cat([torch.arange(length) for length in lengths]),
            "offsets": torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)]),
            "labels": torch.tensor(self.labels),
        }

    def padded(self):
        longest = max(len(row) for row in self.ids)
        rows = [row + [self.pad] * (longest - len(row)) for row in self.ids]
        types = [[0] * begin + [1] * (len(row) - begin) + [0] * (longest - len(row))
                 for row, begin in zip(self.ids, self.second)]
        mask = [[1] * len(row) + [0] * (longest - len(row)) for row in self.ids]
        inputs = {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(mask)}
        return inputs | ({"token_type_ids": torch.tensor(types)} if any(map(any, types)) else {})


def random_batch(config, lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high, (1,), generator=generator))
    ids = [[draw(config.pad_token_id + 1, config.vocab_size) for _ in range(length)] for length in lengths]
    # A text may hold the padding token, which RoBERTa's positions leave out, and whose embedding does not train.
    ids[lengths.index(max(lengths))][1] = config.pad_token_id
    segments = getattr(config, "type_vocab_size", 1)
    second = [len(row) if segments == 1 else draw(1, len(row) + 1) for row in ids]
    return Batch(ids, second, [draw(0, config.num_labels) for _ in ids], config.pad_token_id)


def head(model, pooled):
    """What stands between a pooled vector and the logits, BERT's pooler left out."""
    if model.config.model_type == "roberta":
        return model.classifier(pooled.unsqueeze(1))
    if model.config.model_type == "distilbert":
        pooled = torch.relu(model.pre_classifier(pooled))
    return model.classifier(model.dropout(pooled))


def logits(model, batch, pooling):
    """As transformers' own forward pools; else the pooled vector in that one's place: this is the snippet that the
    documentation gives for loading a model of another pooling."""
    inputs = batch.padded()
    if pooling == ("pooler" if model.config.model_type == "bert" else "cls"):
        return model(**inputs).logits
    hidden = model.base_model(**inputs).last_hidden_state
    if pooling == "mean":
        mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        return head(model, (hidden * mask).sum(1) / mask.sum(1))
    return head(model, hidden[:, 0])


def loss(model, batch, pooling):
    return torch.nn.functional.cross_entropy(logits(model, batch, pooling), torch.tensor(batch.labels))


def write_tensors(path, tensors):
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, path)
