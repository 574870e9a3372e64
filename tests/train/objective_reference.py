"""What dtrain's objectives are compared with: losses and gradients of transformers and torch, metrics of scikit-learn and
scipy. train_reference.py calls it."""

import pathlib
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "model"))

import numpy as np
import reference_models as reference
import scipy.stats
import sklearn.metrics
import sklearn.utils.class_weight
import torch
from transformers.trainer_pt_utils import LabelSmoother

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
FAMILIES = {"bert": "new_gelu", "distilbert": "distilbert", "roberta": "roberta"}
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "dropout", "attention_dropout",
            "seq_classif_dropout")


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def random_targets(problem, examples, outputs, generator):
    if problem == SINGLE:
        return torch.randint(0, outputs, (examples,), generator=generator)
    if problem == MULTI:
        return torch.randint(0, 2, (examples, outputs), generator=generator).double()
    return normal(generator, examples, outputs).mul(2).round(decimals=1)


def write_models(directory):
    """A model of each problem type and family, saved by transformers, its loss on a batch and its gradients."""
    for problem, outputs in ((SINGLE, 4), (MULTI, 4), (MULTI, 1), (REGRESSION, 1), (REGRESSION, 3)):
        for family, name in FAMILIES.items():
            config = reference.small_config(name)
            config.num_labels = outputs
            config.problem_type = problem
            for key in DROPOUTS:
                if getattr(config, key, None) is not None:
                    setattr(config, key, 0.0)
            model = reference.model_of(config)
            output = directory / f"{problem}_{outputs}_{family}"
            model.save_pretrained(output)
            batch = reference.random_batch(config, [2 + (5 * i) % 17 for i in range(9)], seed=4)
            generator = torch.Generator().manual_seed(outputs)
            targets = random_targets(problem, 9, outputs, generator)
            model = model.double()
            result = model(**batch.padded(), labels=targets)
            result.loss.backward()
            tensors = {key: value for key, value in batch.packed().items() if key != "labels"}
            tensors |= {"targets": targets, "loss": result.loss, "logits": result.logits}
            tensors |= {f"gradient {key}": value.grad for key, value in model.named_parameters() if value.grad is not None}
            reference.write_tensors(output / "expected.safetensors", tensors)


def write_losses(directory):
    """Losses of torch with what may be added to them, and their gradients by the logits."""
    generator = torch.Generator().manual_seed(12)
    classes = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 3, 3, 4])  # nobody is of class 2
    logits = normal(generator, 12, 5)
    weight = torch.tensor([0.5, 2.0, 1.0, 0.0, 3.0], dtype=torch.float64)
    sets = torch.randint(0, 2, (12, 5), generator=generator).double()
    sets[:, 1], sets[:, 2] = 0, 1  # a label that never and one that always holds
    balanced = torch.zeros(5, dtype=torch.float64)
    balanced[[0, 1, 3, 4]] = torch.tensor(
        sklearn.utils.class_weight.compute_class_weight("balanced", classes=np.array([0, 1, 3, 4]), y=classes.numpy()))
    positive = sets.sum(0)
    positive_balanced = torch.where((positive > 0) & (positive < 12), (12 - positive) / positive.clamp(min=1), 1.0)
    smoother = LabelSmoother(epsilon=0.3)
    cases = {
        "weighted": (torch.nn.CrossEntropyLoss(weight=weight), classes),
        "balanced": (torch.nn.CrossEntropyLoss(weight=balanced), classes),
        "smooth": (torch.nn.CrossEntropyLoss(label_smoothing=0.3), classes),
        "smooth_by_transformers": (lambda x, y: smoother({"logits": x}, y), classes),  # sums in float
        "smooth_weighted": (torch.nn.CrossEntropyLoss(weight=weight, label_smoothing=0.3), classes),
        "positive_weighted": (torch.nn.BCEWithLogitsLoss(pos_weight=weight), sets),
        "positive_balanced": (torch.nn.BCEWithLogitsLoss(pos_weight=positive_balanced), sets),
    }
    tensors = {"logits": logits, "classes": classes, "sets": sets, "weight": weight}
    for name, (function, targets) in cases.items():
        variable = logits.clone().requires_grad_()
        loss = function(variable, targets)
        loss.backward()
        tensors |= {f"{name} loss": loss, f"{name} gradient": variable.grad}
    reference.write_tensors(directory / "losses.safetensors", tensors)


def multi_label_metrics(logits, truth):
    probabilities, predicted, true = torch.sigmoid(logits).numpy(), (logits > 0).numpy().astype(int), truth.numpy().astype(int)
    f1 = lambda average, zero=0: sklearn.metrics.f1_score(true, predicted, average=average, zero_division=zero)
    columns = range(true.shape[1])
    precision, recall, f1s, support = sklearn.metrics.precision_recall_fscore_support(
        true, predicted, average=None, zero_division=0)
    return {
        "micro_f1": f1("micro"), "macro_f1": f1("macro"), "samples_f1": f1("samples", 1.0),
        "subset_accuracy": sklearn.metrics.accuracy_score(true, predicted),
        "micro_precision": sklearn.metrics.precision_score(true, predicted, average="micro", zero_division=0),
        "micro_recall": sklearn.metrics.recall_score(true, predicted, average="micro", zero_division=0),
        "log_loss": np.mean([sklearn.metrics.log_loss(true[:, i], probabilities[:, i], labels=[0, 1]) for i in columns]),
        "precision": precision, "recall": recall, "f1": f1s, "support": support,
    }


def regression_metrics(logits, truth):
    pairs = [(logits[:, i].numpy(), truth[:, i].numpy()) for i in range(truth.shape[1])]
    mean = lambda function: np.mean([function(predicted, true) for predicted, true in pairs])
    return {
        "pearson": mean(lambda predicted, true: scipy.stats.pearsonr(predicted, true).statistic),
        "spearman": mean(lambda predicted, true: scipy.stats.spearmanr(predicted, true).statistic),
        "r2": mean(lambda predicted, true: sklearn.metrics.r2_score(true, predicted)),
        "rmse": sklearn.metrics.root_mean_squared_error(truth.numpy(), logits.numpy()),
        "mae": sklearn.metrics.mean_absolute_error(truth.numpy(), logits.numpy()),
        "mse": sklearn.metrics.mean_squared_error(truth.numpy(), logits.numpy()),
    }


def write_metrics(directory):
    generator = torch.Generator().manual_seed(11)
    sets = lambda examples, labels, share: (torch.rand(examples, labels, generator=generator) < share).double()
    multi = {
        "six_labels": (normal(generator, 200, 6), sets(200, 6, 0.3)),
        "two_labels": (normal(generator, 50, 2), sets(50, 2, 0.5)),
        "labels_without_examples": (normal(generator, 40, 8) - 1, sets(40, 8, 0.02)),
        "nothing_predicted": (normal(generator, 40, 3) - 9, sets(40, 3, 0.2)),
        "ties_at_the_threshold": (normal(generator, 60, 4).round(), sets(60, 4, 0.4)),
        "one_example": (normal(generator, 1, 3), sets(1, 3, 0.5)),
    }
    everything = sets(30, 5, 0.5)
    multi["all_right"] = (everything * 18 - 9, everything)
    line = normal(generator, 100, 1)
    regression = {
        "noisy": (line + normal(generator, 100, 1), line),
        "ties": (normal(generator, 120, 1).round(), normal(generator, 120, 1).round()),
        "far_from_zero": (line + 1e6, line * 0.5 + 1e6),
        "constant_predictions": (torch.full((30, 1), 0.1, dtype=torch.float64), normal(generator, 30, 1)),
        "three_outputs": (normal(generator, 80, 3), normal(generator, 80, 3)),
        "opposite": (-line, line),
        "all_right": (line, line),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, cases, metrics in (("multi_label", multi, multi_label_metrics),
                                     ("regression", regression, regression_metrics)):
            (directory / kind).mkdir(exist_ok=True)
            for name, (logits, truth) in cases.items():
                tensors = {key: torch.as_tensor(np.asarray(value)) for key, value in metrics(logits, truth).items()}
                reference.write_tensors(directory / kind / f"{name}.safetensors",
                                        tensors | {"logits": logits, "targets": truth})


def write(directory):
    directory.mkdir(parents=True, exist_ok=True)
    write_models(directory)
    write_losses(directory)
    write_metrics(directory)
