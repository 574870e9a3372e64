"""peft_reference.py REFERENCE_DIRECTORY: adapters that PEFT writes for the models of hf_reference.py, with logits and
gradients."""

import dataclasses
import enum
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "model"))

import combination_reference
import peft_cases
import reference_models as reference
import torch
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, AdaLoraConfig, LoraConfig, TaskType, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from peft.tuners import boft
from peft.utils import constants
from transformers import AutoModelForSequenceClassification


def write_case(directory, case):
    torch.manual_seed(4)
    base = directory / case.base
    model = AutoModelForSequenceClassification.from_pretrained(base)
    peft = get_peft_model(model, case.config()).eval()
    peft_cases.disturb(peft)
    trainable = {key: value for key, value in peft.named_parameters() if value.requires_grad}
    output = directory / "peft" / case.name
    case.save(peft, output)
    batch = reference.random_batch(model.config, case.lengths, seed=5)
    reference.write_tensors(output / "batch.safetensors", batch.packed())
    tensors = {"trainable": torch.tensor(sum(value.numel() for value in trainable.values())),
               "exact": torch.tensor(int(case.exact))}
    for pooling in case.poolings(model.config):
        with torch.no_grad():
            tensors[f"{pooling}.logits32"] = peft_cases.logits(peft, batch, pooling)
    peft.double()
    for pooling in case.poolings(model.config):
        peft.zero_grad()
        with torch.no_grad():
            tensors[f"{pooling}.logits"] = peft_cases.logits(peft, batch, pooling)
        value = torch.nn.functional.cross_entropy(peft_cases.logits(peft, batch, pooling), torch.tensor(batch.labels))
        value.backward()
        tensors[f"{pooling}.loss"] = value
        for key, parameter in trainable.items():
            if parameter.grad is not None:
                tensors[f"{pooling}.gradient.{case.file_name(key)}"] = parameter.grad
    reference.write_tensors(output / "reference.safetensors", tensors)


def write_loraplus(directory):
    """The learning rates that PEFT's optimiser gives to what trains."""
    model = AutoModelForSequenceClassification.from_pretrained(directory / "odd_relu")
    peft = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, use_dora=True, bias="all"))
    optimizer = create_loraplus_optimizer(peft, torch.optim.AdamW, lr=1.0, loraplus_lr_ratio=16.0)
    rates = {id(value): torch.tensor(group["lr"]) for group in optimizer.param_groups for value in group["params"]}
    reference.write_tensors(directory / "loraplus.safetensors", {
        peft_cases.file_name(name): rates[id(value)] for name, value in peft.named_parameters() if id(value) in rates})


def write_defaults(path):
    """Of each field of PEFT's configurations, by peft_type."""
    def default(field):
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        return value.value if isinstance(value, enum.Enum) else value

    path.write_text(json.dumps({
        kind.value: {field.name: default(field) for field in dataclasses.fields(config)}
        for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}, default=str))


def write_default_targets(path):
    """The modules that PEFT wraps by default, by peft_type and model_type, where it has a default for both."""
    def table(kind):
        return getattr(constants, f"TRANSFORMERS_MODELS_TO_{kind.value.replace('_', '')}_TARGET_MODULES_MAPPING", {})

    path.write_text(json.dumps({
        kind.value: {model: table(kind)[model] for model in reference.CONFIG_CLASSES if model in table(kind)}
        for kind in PEFT_TYPE_TO_CONFIG_MAPPING}))


def write_cut_adapter(directory):
    """AdaLoRA whose linear layers have come to different ranks."""
    torch.manual_seed(4)
    model = AutoModelForSequenceClassification.from_pretrained(directory / "odd_relu")
    config = AdaLoraConfig(task_type=TaskType.SEQ_CLS, init_r=6, target_r=2, total_step=20, target_modules=["query", "key"])
    peft = get_peft_model(model, config).eval()
    peft_cases.disturb(peft)
    for step in range(20):
        for value in peft.parameters():
            if value.requires_grad:
                value.grad = torch.randn_like(value)
        peft.base_model.update_and_allocate(step)
    output = directory / "peft_cut"
    peft.save_pretrained(output)
    batch = reference.random_batch(model.config, (31, 17, 1, 8), seed=5)
    reference.write_tensors(output / "batch.safetensors", batch.packed())
    with torch.no_grad():
        reference.write_tensors(output / "reference.safetensors",
                                {"pooler.logits": peft_cases.logits(peft, batch, "pooler")})


def main(directory):
    for case in peft_cases.CASES:
        write_case(directory, case)
    write_loraplus(directory)
    write_defaults(directory / "peft_defaults.json")
    write_default_targets(directory / "peft_default_targets.json")
    # Without a GPU PEFT has one rotation only, but it still knows how to shuffle the columns between more of them.
    orders = [boft.layer.Linear.block_butterfly_perm(None, 64, 16 // 2**i, 2, 2) for i in range(3)]
    reference.write_tensors(directory / "butterfly_orders.safetensors", {"orders": torch.stack(orders)})

    write_cut_adapter(directory)
    combination_reference.main(directory)

    # Another shape of model, and adapters that cannot be used.
    refused = directory / "peft_refused"
    model = AutoModelForSequenceClassification.from_pretrained(directory / "new_gelu")
    get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS)).save_pretrained(refused / "another_model")
    model = AutoModelForSequenceClassification.from_pretrained(directory / "odd_relu")
    get_peft_model(model, LoraConfig(target_modules=["query"])).save_pretrained(refused / "headless")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
