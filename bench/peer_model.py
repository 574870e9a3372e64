"""The peer's model: transformers' BERT with mean pooling, and the run's method on it."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput

from peer_run import Run
from references import REFERENCES


class MeanPooledBert(transformers.BertForSequenceClassification):
    """BERT with mean pooling, dropout and a linear layer: sentence-transformers' pooling, HF's classification head.

    A frozen body runs in evaluation mode and records nothing, as a user who knows that it is frozen would have it.
    """

    body_is_frozen = False
    frozen_layers: int | None = None  # the lowest, with the embeddings below them

    @classmethod
    def load(cls, directory: Path, classes: int) -> MeanPooledBert:
        """The encoder's weights and a fresh head."""
        model = cls.from_pretrained(directory, num_labels=classes, attn_implementation="sdpa", dtype=torch.float32)
        model.bert.pooler = None
        nn.init.normal_(model.classifier.weight, std=model.config.initializer_range)
        nn.init.zeros_(model.classifier.bias)
        return model

    def train(self, mode: bool = True) -> MeanPooledBert:
        """Training mode, but not below the lowest trainable part."""
        super().train(mode)
        if self.body_is_frozen:
            self.bert.eval()
        elif self.frozen_layers is not None:
            for part in (self.bert.embeddings, *self.bert.encoder.layer[: self.frozen_layers]):
                part.eval()
        return self

    def forward(
        self,
        attention_mask: torch.Tensor,
        labels: torch.Tensor | None = None,
        past_key_values: transformers.Cache | None = None,
        **inputs: torch.Tensor,
    ) -> SequenceClassifierOutput:
        """The logits [batch, classes], and the mean loss where there are labels.

        peft gives a prefix to models whose forward has an argument past_key_values.
        """
        if past_key_values is not None:
            inputs["past_key_values"] = past_key_values
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.body_is_frozen):
            hidden = self.bert(attention_mask=attention_mask, **inputs).last_hidden_state
            # The keys of a prefix are masked, too, but have no row here.
            mask = attention_mask[:, -hidden.shape[1] :].unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1)
        logits = self.classifier(self.dropout(pooled))
        loss = None if labels is None else functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def store_frozen_in_bf16(model: nn.Module, but_adapted: bool) -> None:
    """Casts the frozen weights and biases of linear layers once, as autocast would in each pass.

    Autocast keeps the casts of what trains alone, for the length of a step. What the layers compute stays the same.
    `but_adapted` leaves the layers below peft's adapters as they are.
    """
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or (but_adapted and name.endswith(".base_layer")):
            continue
        for parameter in module.parameters(recurse=False):
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)


def make_model(run: Run, classes: int, steps: int) -> nn.Module:
    """The classifier with the run's method attached, at the run's seed; where it only scores, nothing trains."""
    torch.manual_seed(run.seed)
    model = MeanPooledBert.load(Path(run.model), classes)
    model.body_is_frozen = run.method == "head"
    reference = REFERENCES[run.method]
    model = reference.attach(model, steps).to(run.device)
    if run.forward:
        model.requires_grad_(False)
    if run.precision == "bf16":
        store_frozen_in_bf16(model, but_adapted=reference.reads_weights)
    return model


def autocast(run: Run) -> torch.autocast:
    """bf16 autocast where the run asks for it."""
    return torch.autocast(run.device, torch.bfloat16, enabled=run.precision == "bf16")
