"""peft_reference.py REFERENCE_DIRECTORY: adapters that PEFT writes for the models of hf_reference.py, with logits and
gradients."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "model"))

import reference_models as reference
import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertForSequenceClassification

ADAPTERS = {
    "query_value": dict(r=8, lora_alpha=16, target_modules=["query", "value"]),
    "all_linear": dict(r=4, lora_alpha=6, target_modules="all-linear", bias="all"),
    "dense_biases": dict(r=3, lora_alpha=5, target_modules=["attention.output.dense", "intermediate.dense"],
                         bias="lora_only"),
}


def file_name(name):
    return name.replace(".default.", ".").replace("modules_to_save.", "")


def main(directory):
    base = directory / "odd_relu"
    for name, settings in ADAPTERS.items():
        torch.manual_seed(4)
        model = BertForSequenceClassification.from_pretrained(base)
        peft = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, **settings)).eval()
        trainable = {key: value for key, value in peft.named_parameters() if value.requires_grad}
        with torch.no_grad():
            for key, value in trainable.items():
                value.add_(torch.randn_like(value) * 0.1)
        output = directory / "peft" / name
        peft.save_pretrained(output)
        batch = reference.random_batch(model.config, [31, 17, 1, 8, 64, 2], seed=5)
        reference.write_tensors(output / "batch.safetensors", batch.packed())
        tensors = {"trainable": torch.tensor(sum(value.numel() for value in trainable.values()))}
        # A pooling that leaves PEFT's pooler adapter unused is none of PEFT's.
        poolings = ["pooler"] if name == "all_linear" else reference.POOLINGS
        for pooling in poolings:
            with torch.no_grad():
                tensors[f"{pooling}.logits32"] = reference.logits(peft.get_base_model(), batch, pooling)
        peft.double()
        for pooling in poolings:
            peft.zero_grad()
            value = reference.loss(peft.get_base_model(), batch, pooling)
            value.backward()
            tensors[f"{pooling}.loss"] = value
            with torch.no_grad():
                tensors[f"{pooling}.logits"] = reference.logits(peft.get_base_model(), batch, pooling)
            for key, parameter in trainable.items():
                if parameter.grad is not None:
                    tensors[f"{pooling}.gradient.{file_name(key)}"] = parameter.grad
        reference.write_tensors(output / "reference.safetensors", tensors)

    # Another shape of model, and an adapter that PEFT has and dtrain has not.
    model = BertForSequenceClassification.from_pretrained(directory / "new_gelu")
    get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS)).save_pretrained(directory / "peft" / "another_model")
    model = BertForSequenceClassification.from_pretrained(base)
    get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, use_dora=True)).save_pretrained(
        directory / "peft" / "dora")
    model = BertForSequenceClassification.from_pretrained(base)
    get_peft_model(model, LoraConfig(target_modules=["query"])).save_pretrained(directory / "peft" / "headless")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
