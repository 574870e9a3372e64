"""Pairs of LoRA adapters and what PEFT's add_weighted_adapter makes of them. peft_reference.py calls it."""

import peft_cases
import reference_models as reference
import torch
from peft import LoraConfig, TaskType, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

# By the folder that a pair is in.
PAIRS = {
    "combination": {"first": dict(r=4, lora_alpha=4), "second": dict(r=4, lora_alpha=10)},
    # Maps of other ranks than the rest, which are the same in both.
    "combination_ranks": {
        name: dict(r=4, lora_alpha=alpha, rank_pattern={"value": 6, "layer.1.attention.self.query": 2},
                   alpha_pattern={"value": alpha + 1})
        for name, alpha in (("first", 4), ("second", 10))},
}
WEIGHTS = [0.7, -0.4]
DENSITY = 0.4


def write_pair(base, output, pair):
    for seed, (name, settings) in enumerate(pair.items()):
        torch.manual_seed(20 + seed)
        model = AutoModelForSequenceClassification.from_pretrained(base)
        peft = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, target_modules=["query", "value"], **settings))
        peft_cases.disturb(peft)
        peft.save_pretrained(output / name)

    # PEFT combines no two adapters that both hold a head.
    model = AutoModelForSequenceClassification.from_pretrained(base)
    first, second = (LoraConfig(target_modules=["query", "value"], **settings) for settings in pair.values())
    peft = get_peft_model(model, first, adapter_name="first")
    peft.add_adapter("second", second)
    for name in pair:
        tensors = load_file(output / name / "adapter_model.safetensors")
        set_peft_model_state_dict(peft, {k: v for k, v in tensors.items() if "classifier" not in k}, adapter_name=name)
    for how in ("linear", "ties", "magnitude_prune", "svd"):
        peft.add_weighted_adapter(list(pair), WEIGHTS, how, combination_type=how, density=DENSITY)
        tensors = get_peft_model_state_dict(peft, adapter_name=how)
        reference.write_tensors(output / f"{how}.safetensors", dict(tensors))


def main(directory):
    for folder, pair in PAIRS.items():
        write_pair(directory / "odd_relu", directory / folder, pair)

