"""hf_reference.py EMBEDDED_MODEL OUTPUT: checkpoints that transformers saves, and the logits and gradients it computes."""

import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import BertForSequenceClassification, BertModel

import reference_models as reference


def write_batch(directory, batch):
    reference.write_tensors(directory / "batch.safetensors", batch.packed())


def write_case(directory, model, batch, gradient_names=None):
    """Logits in float and double and the gradients of the mean loss in double, for each pooling."""
    model.save_pretrained(directory)
    write_batch(directory, batch)
    tensors = {}
    with torch.no_grad():
        for pooling in reference.poolings_of(model.config):
            tensors[f"{pooling}.logits32"] = reference.logits(model, batch, pooling)
        with torch.autocast("cpu", torch.bfloat16):
            tensors["mean.logits16"] = reference.logits(model, batch, "mean").float()
    model = model.double()
    for pooling in reference.poolings_of(model.config):
        model.zero_grad()
        with torch.no_grad():
            tensors[f"{pooling}.logits"] = reference.logits(model, batch, pooling)
        value = reference.loss(model, batch, pooling)
        value.backward()
        tensors[f"{pooling}.loss"] = value
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and (gradient_names is None or name in gradient_names):
                tensors[f"{pooling}.gradient.{name}"] = parameter.grad
    reference.write_tensors(directory / "reference.safetensors", tensors)


def main(embedded, output):
    output.mkdir(parents=True, exist_ok=True)
    lengths = [128, 1, 77, 64, 33, 17, 16, 5, 2, 3]
    for name in reference.CONFIGS:
        model = reference.small_model(name)
        write_case(output / name, model, reference.random_batch(model.config, lengths))

    torch.manual_seed(1)
    model = BertForSequenceClassification.from_pretrained(embedded, num_labels=7).eval()
    # Below everything else, so that a fault anywhere above shows in it.
    lowest = {"bert.embeddings.LayerNorm.weight", "bert.encoder.layer.0.attention.self.query.weight",
              "bert.encoder.layer.0.attention.self.key.bias", "bert.encoder.layer.5.output.dense.weight",
              "classifier.weight"}
    write_case(output / "minilm", model, reference.random_batch(model.config, lengths), lowest)

    # The same weights as files may hold them.
    model = reference.small_model("odd_relu")
    model.save_pretrained(output / "sharded", max_shard_size="40KB")
    model.half().save_pretrained(output / "half")
    reference.small_model("odd_relu").bfloat16().save_pretrained(output / "bfloat16")
    reference.small_model("odd_relu").double().save_pretrained(output / "double")
    torch.manual_seed(2)
    BertModel(reference.small_config("odd_relu"), add_pooling_layer=False).save_pretrained(output / "bare")
    BertModel(reference.small_config("odd_relu")).save_pretrained(output / "bare_with_pooler")

    # As BERT's first files name the weights of a norm.
    model = reference.small_model("odd_relu")
    model.save_pretrained(output / "gamma_beta")
    tensors = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
               for name, value in model.state_dict().items()}
    save_file(tensors, output / "gamma_beta" / "model.safetensors", metadata={"format": "pt"})

    # One checkpoint of each model family that dtrain has, by its model_type.
    for model in [reference.small_model(name) for name in ("new_gelu", "distilbert", "roberta")]:
        model.save_pretrained(output / "families" / model.config.model_type)

    # Tensors of every type, for the reader.
    torch.manual_seed(3)
    types = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    tensors = {str(kind).removeprefix("torch."): torch.randn(3, 5).to(kind) for kind in types}
    tensors |= {"int64": torch.arange(-3, 4), "int32": torch.arange(5, dtype=torch.int32),
                "int8": torch.arange(-2, 3, dtype=torch.int8), "uint8": torch.arange(7, dtype=torch.uint8),
                "bool": torch.tensor([True, False, True]), "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4),
                "name with \"quotes\" and ü": torch.ones(1)}
    save_file(tensors, output / "types.safetensors", metadata={"format": "pt", "key": "välue"})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
