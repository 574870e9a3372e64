"""Trains methods of the peer for a few steps under autocast, with frozen weights stored in bf16 and without; prints both
sides' losses and what was stored, as JSON. A program of its own, as methods stand in more than one environment."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))

import torch  # noqa: E402
import transformers  # noqa: E402
from peer_model import MeanPooledBert, store_frozen_in_bf16  # noqa: E402
from references import REFERENCES  # noqa: E402

CONFIG = transformers.BertConfig(vocab_size=99, hidden_size=128, num_hidden_layers=3, num_attention_heads=2,
                                 intermediate_size=128)  # Compacter takes a 32nd in four parts


def train(method, stores):
    torch.manual_seed(0)
    model = MeanPooledBert(CONFIG)
    model.bert.pooler, model.body_is_frozen = None, method == "head"
    model = REFERENCES[method].attach(model, 20).train()
    if stores:
        store_frozen_in_bf16(model, but_adapted=REFERENCES[method].reads_weights)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    ids = torch.randint(5, 99, (8, 12))
    losses = []
    for _ in range(5):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids[:, 0] % 2).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, [name for name, value in model.named_parameters() if value.dtype == torch.bfloat16]


torch.set_num_threads(1)
found = {}
for method in sys.argv[1:]:
    stored, names = train(method, True)
    found[method] = {"stored": stored, "cast": train(method, False)[0], "names": names}
print(json.dumps(found))
