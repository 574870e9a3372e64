"""What adapter-hub's package answers with an adapter: a request in JSON on standard input, logits and loss in JSON on
standard output. It runs in an environment of its own (DTRAIN_TEST_ADAPTERS_PYTHON)."""

import json
import sys

import adapters
import torch
from transformers import AutoModelForSequenceClassification

request = json.load(sys.stdin)
model = AutoModelForSequenceClassification.from_pretrained(
    request["base"], num_labels=len(request["labels"][0]), problem_type=request["problem_type"],
    attn_implementation="eager")
adapters.init(model)
loading = {}
model.load_adapter(request["adapter"], set_active=True, use_safetensors=True, loading_info=loading)
assert not loading["missing_keys"] and not loading["unexpected_keys"], loading
model.eval()
with torch.no_grad():
    outputs = model(**{name: torch.tensor(request[name]) for name in ("input_ids", "attention_mask", "labels")})
print(json.dumps({"logits": outputs.logits.tolist(), "loss": outputs.loss.item()}))
