"""train_reference.py REFERENCE_DIRECTORY: runs of transformers and PEFT step by step, torch's optimiser, transformers'
schedule, scikit-learn's metrics."""

import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "model"))

import numpy as np
import reference_models as reference
import sklearn.metrics
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import BertForSequenceClassification, get_linear_schedule_with_warmup

STEPS, BATCH, EXAMPLES, SEED, RATE = 50, 16, 60, 3, 1e-3
MASK = (1 << 64) - 1


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        mixed = self.state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return mixed ^ (mixed >> 31)

    def below(self, bound):
        while True:
            product = self.next() * bound
            if (product & MASK) >= (1 << 64) % bound:
                return product >> 64


def shuffle(values, random):
    for last in range(len(values), 1, -1):
        other = random.below(last)
        values[last - 1], values[other] = values[other], values[last - 1]


def epoch_batches(lengths, epoch):
    """data/batch_plan.h, for data that fits one window."""
    random = SplitMix64(SplitMix64(SEED ^ SplitMix64((epoch + 0x632BE59BD9B4E019) & MASK).next()).next())
    order = list(range(len(lengths)))
    shuffle(order, random)
    order.sort(key=lambda example: -lengths[example])
    batches = [order[begin:begin + BATCH] for begin in range(0, len(order), BATCH)]
    shuffle(batches, random)
    return batches


def parameter_groups(parameters):
    return [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.01},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0}]


def run(model, trained, data, pooling):
    """Losses of the steps; `trained` is left as the last step makes it."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in trained.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameter_groups(list(trained.values())), lr=RATE)
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(0.06 * STEPS), STEPS)
    batches = []
    for epoch in range(math.ceil(STEPS / math.ceil(EXAMPLES / BATCH))):
        batches += epoch_batches([len(row) for row in data.ids], epoch)
    losses, norms = [], []
    for chosen in batches[:STEPS]:
        batch = reference.Batch(*([column[i] for i in chosen] for column in (data.ids, data.second, data.labels)))
        optimizer.zero_grad()
        value = reference.loss(model, batch, pooling)
        value.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)))
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(norms, dtype=torch.float64)


def trained_by(method, model):
    prefixes = {"full": ("bert.", "classifier."), "head": ("classifier.",),
                "layers": ("bert.encoder.layer.1.", "bert.encoder.layer.2.", "bert.pooler.", "classifier.")}[method]
    return {name: value for name, value in model.named_parameters() if name.startswith(prefixes)}


def write_trajectories(directory):
    start = directory / "no_dropout"
    model = BertForSequenceClassification.from_pretrained(start)
    data = reference.random_batch(model.config, [2 + (7 * i) % 23 for i in range(EXAMPLES)], seed=6)
    reference.write_tensors(directory / "train" / "data.safetensors", data.packed())
    torch.manual_seed(8)
    adapter = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8))
    with torch.no_grad():
        for value in adapter.parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value) * 0.1)
    adapter.save_pretrained(directory / "train" / "adapter")
    for pooling in ("pooler", "mean"):
        for method in ("full", "head", "layers", "lora"):
            model = BertForSequenceClassification.from_pretrained(start).eval()
            if method == "lora":
                peft = PeftModel.from_pretrained(model, directory / "train" / "adapter", is_trainable=True).eval()
                trained = {name: value for name, value in peft.named_parameters() if value.requires_grad}
            else:
                trained = trained_by(method, model)
            model.double()
            if pooling != "pooler":
                trained = {name: value for name, value in trained.items() if "pooler" not in name}
            losses, norms = run(model, trained, data, pooling)
            tensors = {"losses": losses, "norms": norms}
            for name, value in trained.items():
                tensors[name.replace(".default.", ".").replace("modules_to_save.", "")] = value
            reference.write_tensors(directory / "train" / f"{method}_{pooling}.safetensors", tensors)


def write_optimizer(path):
    """Two groups under torch's AdamW with clipping, from gradients that are sometimes short and sometimes long."""
    torch.manual_seed(9)
    values = [torch.randn(6, 5, dtype=torch.float64), torch.randn(7, dtype=torch.float64)]
    tensors = {"start": torch.cat([value.flatten() for value in values])}
    gradients = torch.randn(25, 37, dtype=torch.float64) * torch.logspace(-3, 1, 25, dtype=torch.float64).unsqueeze(1)
    parameters = [torch.nn.Parameter(value.clone()) for value in values]
    optimizer = torch.optim.AdamW(parameter_groups(parameters), lr=0.01)
    history, norms = [], []
    for row in gradients:
        parameters[0].grad = row[:30].clone().view(6, 5)
        parameters[1].grad = row[30:].clone()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.0))
        optimizer.step()
        history.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    tensors |= {"gradients": gradients, "values": torch.stack(history), "norms": torch.stack(norms)}
    reference.write_tensors(path, tensors)


def write_schedules(path):
    tensors = {}
    for steps in (1, 2, 7, 50, 151):
        for ratio in (0.0, 0.06, 0.5, 1.0):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(ratio * steps), steps)
            factors = []
            for _ in range(steps):
                factors.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
            tensors[f"{steps} {ratio}"] = torch.tensor(factors, dtype=torch.float64)
    reference.write_tensors(path, tensors)


def calibration_error(probabilities, labels):
    """Guo et al., 2017, over 15 bins (0, 1/15], ..."""
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.digitize(confidence, np.linspace(0, 1, 16), right=True)
    return sum(abs(confidence[bins == b].sum() - hits[bins == b].sum()) for b in range(1, 16)) / len(labels)


def metrics_of(logits, labels):
    classes = logits.shape[1]
    probabilities = torch.softmax(logits, 1).numpy()
    truth, predicted = labels.numpy(), logits.numpy().argmax(1)
    every = np.arange(classes)
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        truth, predicted, labels=every, zero_division=0)
    return {
        "accuracy": sklearn.metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(truth, predicted),
        "macro_f1": sklearn.metrics.f1_score(truth, predicted, average="macro", zero_division=0),
        "weighted_f1": sklearn.metrics.f1_score(truth, predicted, average="weighted", zero_division=0),
        "matthews": sklearn.metrics.matthews_corrcoef(truth, predicted),
        "log_loss": sklearn.metrics.log_loss(truth, probabilities, labels=every),
        "calibration_error": calibration_error(probabilities, truth),
        "precision": precision, "recall": recall, "f1": f1, "support": support,
        "confusion": sklearn.metrics.confusion_matrix(truth, predicted, labels=every),
    }


def write_metrics(directory):
    directory.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(10)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    labels = lambda low, high, count: torch.randint(low, high, (count,), generator=generator)
    cases = {
        "two_classes": (normal(200, 2), labels(0, 2, 200)),
        "forty_five_classes": (normal(500, 45) * 2, labels(0, 45, 500)),
        "classes_that_never_occur": (normal(60, 12), labels(3, 7, 60)),
        "classes_that_are_never_predicted": (normal(60, 6) * torch.tensor([1, 1, 0.01, 1, 0.01, 0.01]), labels(0, 6, 60)),
        "one_class_predicted": (normal(40, 3) * 0.1 + torch.tensor([5.0, 0, 0]), labels(0, 3, 40)),
        "one_class_there": (normal(40, 3), labels(1, 2, 40)),
        "ties": ((normal(300, 4)).round(), labels(0, 4, 300)),
        "one_example": (normal(1, 3), labels(0, 3, 1)),
    }
    truth = labels(0, 5, 100)
    cases["all_right"] = (torch.nn.functional.one_hot(truth, 5).double() * 9, truth)
    for name, (logits, truth) in cases.items():
        tensors = {key: torch.as_tensor(np.asarray(value)) for key, value in metrics_of(logits, truth).items()}
        reference.write_tensors(directory / f"{name}.safetensors", tensors | {"logits": logits, "labels": truth})


def main(directory):
    (directory / "train").mkdir(parents=True, exist_ok=True)
    write_trajectories(directory)
    write_optimizer(directory / "train" / "optimizer.safetensors")
    write_schedules(directory / "train" / "schedules.safetensors")
    write_metrics(directory / "train" / "metrics")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
