"""train_reference.py REFERENCE_DIRECTORY: runs of transformers and PEFT step by step, torch's optimiser, transformers'
schedule, scikit-learn's metrics."""

import copy
import math
import pathlib
import sys

for room in ("model", "peft"):
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / room))

import numpy as np
import objective_reference
import peft_cases
import reference_models as reference
import sklearn.metrics
import torch
from peft import AdaLoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from transformers import BertForSequenceClassification, get_linear_schedule_with_warmup

STEPS, BATCH, EXAMPLES, SEED, RATE = 50, 16, 60, 3, 1e-3
MASK = (1 << 64) - 1
PURPOSE_ORDER = 1


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


def stream_seed(seed, purpose, stream):
    """base/random.h."""
    mixed = lambda value: SplitMix64(value).next()
    return mixed(mixed(mixed(seed) ^ purpose) ^ stream)


def shuffle(values, random):
    for last in range(len(values), 1, -1):
        other = random.below(last)
        values[last - 1], values[other] = values[other], values[last - 1]


def epoch_batches(lengths, epoch):
    """data/batch_plan.h, for data that fits one window."""
    random = SplitMix64(stream_seed(SEED, PURPOSE_ORDER, epoch))
    order = list(range(len(lengths)))
    shuffle(order, random)
    order.sort(key=lambda example: -lengths[example])
    batches = [order[begin:begin + BATCH] for begin in range(0, len(order), BATCH)]
    shuffle(batches, random)
    return batches


def parameter_groups(parameters):
    return [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.01},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0}]


def batches_of_run(data):
    batches = []
    for epoch in range(math.ceil(STEPS / math.ceil(EXAMPLES / BATCH))):
        batches += epoch_batches([len(row) for row in data.ids], epoch)
    return [reference.Batch(*([column[i] for i in chosen] for column in (data.ids, data.second, data.labels)))
            for chosen in batches[:STEPS]]


def adalora_penalty(peft, batch):
    """What PEFT adds to the loss that its model returns."""
    outputs = peft(**batch.padded(), labels=torch.tensor(batch.labels))
    return outputs.loss - torch.nn.functional.cross_entropy(outputs.logits, torch.tensor(batch.labels))


def train(logits, trained, batches, rate=RATE, adalora=None, optimizer=None):
    """Losses and norms of the steps; `trained` is left as the last step makes it."""
    optimizer = optimizer or torch.optim.AdamW(parameter_groups(list(trained.values())), lr=rate)
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(0.06 * len(batches)), len(batches))
    losses, norms = [], []
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(logits(batch), torch.tensor(batch.labels))
        if adalora is not None:
            value = value + adalora_penalty(adalora, batch)
        value.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)))
        optimizer.step()
        schedule.step()
        if adalora is not None:
            adalora.base_model.update_and_allocate(step)
        losses.append(value.item())
    return {"losses": torch.tensor(losses, dtype=torch.float64), "norms": torch.tensor(norms, dtype=torch.float64)}


def with_gradient(model, prefixes=(), suffixes=()):
    """Those that train, by the beginnings or the ends of their names; the others are frozen."""
    for name, value in model.named_parameters():
        value.requires_grad_(name.startswith(tuple(prefixes)) or name.endswith(tuple(suffixes)))
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def used(trained, pooling):
    return {name: value for name, value in trained.items() if pooling == "pooler" or "pooler" not in name}


HEAD = ("classifier.",)
EVERYTHING = ("bert.",) + HEAD
TOP = lambda layer: tuple(f"bert.encoder.layer.{i}." for i in range(layer, 3)) + ("bert.pooler.",) + HEAD

# What trains, by dtrain's spec: beginnings and ends of names.
PARTS = {
    "full": (EVERYTHING, ()),
    "head": (HEAD, ()),
    "layers:k=2": (TOP(1), ()),
    "bitfit": (HEAD, (".bias",)),
    "bitfit:bias_terms=query+intermediate.dense": (HEAD, (".query.bias", ".intermediate.dense.bias")),
}

# Phases, each with its beginnings of names, the step that it ends before, and its learning rate.
PHASES = {
    "lp-ft:head_learning_rate=0.005": ((HEAD, 15, 0.005), (EVERYTHING, 50, RATE)),
    "gradual:head_learning_rate=0.005": (
        (HEAD, 6, 0.005), (TOP(2), 13, RATE), (TOP(1), 19, RATE), (TOP(0), 25, RATE), (EVERYTHING, 50, RATE)),
}


def data_of_runs(config):
    return reference.random_batch(config, [2 + (7 * i) % 23 for i in range(EXAMPLES)], seed=6)


def directory_of(spec):
    return "".join(character if character.isalnum() else "_" for character in spec)


def write_trajectories(directory):
    start = directory / "no_dropout"
    model = BertForSequenceClassification.from_pretrained(start)
    data = data_of_runs(model.config)
    reference.write_tensors(directory / "train" / "data.safetensors", data.packed())
    batches = batches_of_run(data)
    load = lambda: BertForSequenceClassification.from_pretrained(start).eval().double()

    for kind, specs in (("trajectories", PARTS), ("phases", PHASES)):
        for spec in specs:
            output = directory / "train" / kind / directory_of(spec)
            output.mkdir(parents=True, exist_ok=True)
            (output / "spec.txt").write_text(spec)
            for pooling in ("pooler", "mean"):
                model = load()
                logits = lambda batch: reference.logits(model, batch, pooling)
                if kind == "trajectories":
                    trained = used(with_gradient(model, *specs[spec]), pooling)
                    tensors = train(logits, trained, batches)
                else:
                    begin, losses = 0, []
                    for prefixes, end, rate in specs[spec]:
                        trained = used(with_gradient(model, prefixes), pooling)
                        losses.append(train(logits, trained, batches[begin:end], rate)["losses"])
                        begin = end
                    tensors = {"losses": torch.cat(losses)}
                reference.write_tensors(output / f"{pooling}.safetensors", tensors | trained)

    for case in peft_cases.CASES:
        if not case.trajectory:
            continue
        torch.manual_seed(8)
        peft = get_peft_model(BertForSequenceClassification.from_pretrained(start), case.config()).eval()
        peft_cases.disturb(peft)
        output = directory / "train" / "trajectories" / case.name
        case.save(peft, output)
        for pooling in case.poolings(peft.config):
            if pooling == "cls":
                continue
            model = copy.deepcopy(peft).double()
            trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
            adalora = model if isinstance(case.config(), AdaLoraConfig) else None
            optimizer = None if case.loraplus_lr_ratio == 1 else create_loraplus_optimizer(
                model, torch.optim.AdamW, lr=RATE, loraplus_lr_ratio=case.loraplus_lr_ratio, loraplus_weight_decay=0.01)
            tensors = train(lambda batch: peft_cases.logits(model, batch, pooling), trained, batches, adalora=adalora,
                            optimizer=optimizer)
            tensors["exact"] = torch.tensor(int(case.exact))
            tensors |= {case.file_name(name): value for name, value in trained.items()}
            reference.write_tensors(output / f"{pooling}.safetensors", tensors)


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
    objective_reference.write(directory / "train" / "objectives")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
