"""Each method in the package that users have it from: transformers alone, peft, or adapter-hub's adapters.

Settings are the package's defaults, which are dtrain's; both sides report what they train: it must be the same number.
Nothing here is imported before it is needed: adapters stands in an environment of its own, with an older transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Reference:
    """Where a method is from, and how it is put on a classifier with these many training steps to come."""

    package: str
    attach: Callable[[nn.Module, int], nn.Module]
    reads_weights: bool = False  # of the layers it adapts, in another way than by multiplying with them under autocast


def train_only(trains: Callable[[str], bool]) -> Reference:
    """A part of the model itself, by the names of parameters; the head with it."""

    def attach(model: nn.Module, steps: int) -> nn.Module:
        del steps
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith("classifier.") or trains(name))
        return model

    return Reference("transformers", attach)


def top_layers(count: int) -> Reference:
    """The last layers of however many the encoder has, and the head; what lies below runs in evaluation mode."""

    def attach(model: nn.Module, steps: int) -> nn.Module:
        model.frozen_layers = model.config.num_hidden_layers - count
        trained = tuple(f"bert.encoder.layer.{i}." for i in range(model.frozen_layers, model.config.num_hidden_layers))
        return train_only(lambda name: name.startswith(trained)).attach(model, steps)

    return Reference("transformers", attach)


def from_peft(config: str, reads_weights: bool = False, **settings: object) -> Reference:
    """The adapter of peft's configuration class `config`."""

    def attach(model: nn.Module, steps: int) -> nn.Module:
        import peft
        from peft.tuners import boft

        # Else it tries to build a CUDA extension for every layer.
        boft.layer.get_fbd_cuda = lambda: None
        steps_setting = {"total_step": steps} if config == "AdaLoraConfig" else {}
        made = getattr(peft, config)(task_type=peft.TaskType.SEQ_CLS, **steps_setting, **settings)
        return peft.get_peft_model(model, made)

    return Reference("peft", attach, reads_weights)


def from_adapters(config: str) -> Reference:
    """The adapter of adapter-hub's configuration class `config`."""

    def attach(model: nn.Module, steps: int) -> nn.Module:
        del steps
        import adapters

        adapters.init(model)
        model.add_adapter("task", config=getattr(adapters, config)())
        model.train_adapter("task")
        model.classifier.requires_grad_(True)
        return model

    return Reference("adapters", attach)


REFERENCES = {
    "full": train_only(lambda name: True),
    "head": train_only(lambda name: False),
    "layers:k=2": top_layers(2),
    "bitfit": train_only(lambda name: name.endswith(".bias")),
    "norm": from_peft("LNTuningConfig", target_modules=["LayerNorm"]),
    "lora": from_peft("LoraConfig"),
    "lora:use_dora=true": from_peft("LoraConfig", reads_weights=True, use_dora=True),  # their norms
    "adalora": from_peft("AdaLoraConfig"),
    "vera": from_peft("VeraConfig"),
    "loha": from_peft("LoHaConfig", target_modules=["query", "value"]),
    "lokr": from_peft("LoKrConfig", target_modules=["query", "value"]),
    "oft": from_peft("OFTConfig"),
    "boft": from_peft("BOFTConfig", target_modules=["query", "value"]),
    "hra": from_peft("HRAConfig", target_modules=["query", "value"]),
    "randlora": from_peft("RandLoraConfig"),
    "fourierft": from_peft("FourierFTConfig"),
    "ia3": from_peft("IA3Config"),
    "prefix": from_peft("PrefixTuningConfig", num_virtual_tokens=20),
    "prompt": from_peft("PromptTuningConfig", num_virtual_tokens=20),
    "p-tuning": from_peft("PromptEncoderConfig", num_virtual_tokens=20),
    "houlsby": from_adapters("DoubleSeqBnConfig"),
    "pfeiffer": from_adapters("SeqBnConfig"),
    "parallel": from_adapters("ParBnConfig"),
    "compacter": from_adapters("CompacterConfig"),
    "mam": from_adapters("MAMConfig"),
    "unipelt": from_adapters("UniPELTConfig"),
}
