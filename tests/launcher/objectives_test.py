"""Multi-label classification and regression from a file to what transformers computes with what was saved."""

import csv
import json
import os
import pathlib
import subprocess
import typing

import pytest

from bases import write_distilbert, write_roberta
from conftest import CLASSES, Dtrain, results, rows, write_tsv

LENGTH = 32
POSITIONS = 64
LABELS = ["animal", "long", "plant", "tool"]


def sets_of(count, seed):
    """Rows of (labels, text): the class of a row, and whether it is long; every tenth has no label at all."""
    return [([] if index % 10 == 9 else [label] + ["long"] * (len(text.split()) > 6), text)
            for index, (label, text) in enumerate(rows(count, seed))]


def scores_of(count, seed):
    """Rows of (number, text): by the class of a row and its length."""
    return [(round(list(CLASSES).index(label) + len(text.split()) / 7, 3), text) for label, text in rows(count, seed)]


SPLITS = (("train", 120, 1), ("dev", 30, 2), ("test", 45, 3))


@pytest.fixture(scope="module")
def multi(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multi")
    for name, count, seed in SPLITS:
        lines = (json.dumps({"text": text, "label": labels}) for labels, text in sets_of(count, seed))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    for name, count, seed in SPLITS:
        write_tsv(folder / f"{name}.tsv", [(str(score), text) for score, text in scores_of(count, seed)])
    return folder


@pytest.fixture(scope="module")
def bases(tiny_model, tmp_path_factory):
    """A model of each family, by its name."""
    import torch

    torch.manual_seed(0)
    folders = {"bert": tiny_model}
    for name, write in (("roberta", write_roberta), ("distilbert", write_distilbert)):
        folders[name] = tmp_path_factory.mktemp(name)
        write(folders[name], POSITIONS)
    return folders


def task_of(kind, base, multi, scores):
    folder, ending = (multi, "jsonl") if kind == "multi" else (scores, "tsv")
    files = [part for name, _, _ in SPLITS for part in (f"--{name}", folder / f"{name}.{ending}")]
    asked = [] if kind == "multi" else ["--problem-type", "regression"]
    return ["--model", base, "--max-length", LENGTH, *files, *asked]


class Case(typing.NamedTuple):
    kind: str
    family: str
    method: str

    def __str__(self):
        return "-".join(self)


# Enough for a model of random weights to learn something.
LEARNT = [Case(kind, "bert", method) for kind in ("multi", "regression") for method in ("full", "lora")]
# Each kind on each family once, with a prompt, adapters of adapter-hub, and a method of two phases.
CASES = [*LEARNT, Case("multi", "roberta", "prompt"), Case("regression", "roberta", "lp-ft"),
         Case("multi", "distilbert", "lp-ft"), Case("regression", "distilbert", "houlsby")]
METHODS = {"full": ["full", "--lr", "1e-3", "--max-steps", "240"],
           "lora": ["lora:target_modules=all-linear", "--lr", "5e-3", "--max-steps", "600"],
           "prompt": ["prompt:num_virtual_tokens=4", "--lr", "3e-2", "--max-steps", "60"],
           "houlsby": ["houlsby", "--lr", "1e-2", "--max-steps", "60"],
           "lp-ft": ["lp-ft", "--lr", "1e-3", "--max-steps", "60"]}


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def run(case, bases, multi, scores, tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("run")
    Dtrain(folder, cache).succeeds("train", *task_of(case.kind, bases[case.family], multi, scores), "--method",
                                   *METHODS[case.method], "--output", "out")
    return folder / "out"


def answered(model, tokens, labels):
    """Logits and loss of transformers."""
    import torch

    with torch.no_grad():
        outputs = model.eval()(**{name: torch.tensor(values) for name, values in tokens.items()},
                               labels=torch.tensor(labels))
    return outputs.logits.double(), outputs.loss.item()


def answered_by_adapter_hub(run, base, tokens, labels, problem_type):
    """The same of what adapter-hub's package loads, in its own environment."""
    import torch

    request = tokens | {"base": str(base), "adapter": str(run / "adapter"), "labels": labels,
                        "problem_type": problem_type}
    script = pathlib.Path(__file__).parent / "adapter_hub_answers.py"
    ended = subprocess.run([os.environ["DTRAIN_TEST_ADAPTERS_PYTHON"], script], input=json.dumps(request), text=True,
                           stdout=subprocess.PIPE, check=True, timeout=90)
    answer = json.loads(ended.stdout.splitlines()[-1])
    return torch.tensor(answer["logits"], dtype=torch.double), answer["loss"]


def tokens_of(tokenizer_folder, texts):
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tokenizer_folder)(texts, padding=True, truncation=True, max_length=LENGTH)
    # DistilBERT takes no segments, which its tokenizer gives.
    return {name: tokens[name] for name in ("input_ids", "attention_mask")}


def answered_elsewhere(run, case, base, texts, labels):
    """Logits and loss of what was trained, as transformers, PEFT or adapter-hub loads it."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    tokens = tokens_of(base, texts)
    if (run / "model").exists():
        return answered(AutoModelForSequenceClassification.from_pretrained(run / "model"), tokens, labels)
    problem_type = "multi_label_classification" if case.kind == "multi" else "regression"
    if (run / "adapter" / "head_config.json").exists():
        return answered_by_adapter_hub(run, base, tokens, labels, problem_type)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels[0]),
                                                               problem_type=problem_type)
    return answered(PeftModel.from_pretrained(model, run / "adapter"), tokens, labels)


def table(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_whoever_loads_it_computes_the_predictions_and_the_loss(dtrain, run, case, bases, multi, scores):
    import torch

    file = (multi / "test.jsonl") if case.kind == "multi" else (scores / "test.tsv")
    dtrain.succeeds("predict", "--run", run, "--input", file, "--max-length", LENGTH, "--output", "predicted")
    predicted = table(dtrain.folder / "predicted" / "predictions" / "predictions.tsv")
    metrics = results(run)["metrics"]["test"]
    if case.kind == "multi":
        data = sets_of(45, 3)
        truth = [[float(label in labels) for label in LABELS] for labels, _ in data]
    else:
        data = scores_of(45, 3)
        truth = [[score] for score, _ in data]
    logits, loss = answered_elsewhere(run, case, bases[case.family], [text for _, text in data], truth)
    if case.kind == "multi":
        probabilities = torch.sigmoid(logits)
        for row, of_row in zip(predicted, probabilities.tolist()):
            assert [float(row[f"p({label})"]) for label in LABELS] == pytest.approx(of_row, abs=2e-5)
            assert json.loads(row["predicted"]) == [label for label, p in zip(LABELS, of_row) if p > 0.5]
        assert metrics["log_loss"] == pytest.approx(loss, abs=1e-5)
    else:
        assert [float(row["predicted"]) for row in predicted] == pytest.approx(logits.flatten().tolist(), abs=2e-5)
        assert metrics["mse"] == pytest.approx(loss, abs=1e-5)


def test_evaluate_gives_the_metrics_of_the_run(dtrain, run, case, multi, scores):
    file = (multi / "test.jsonl") if case.kind == "multi" else (scores / "test.tsv")
    dtrain.succeeds("evaluate", "--run", run, "--input", file, "--max-length", LENGTH, "--output", "evaluated")
    trained, evaluated = results(run)["metrics"]["test"], results(dtrain.folder / "evaluated")["metrics"]["test"]
    scalars = [name for name, value in trained.items() if isinstance(value, float)]
    assert len(scalars) >= 6
    assert [evaluated[name] for name in scalars] == pytest.approx([trained[name] for name in scalars], abs=1e-5)
    assert evaluated["untrained"] == trained["untrained"]


@pytest.mark.parametrize("case", LEARNT, indirect=True, ids=str)
def test_metrics_are_those_of_the_predictions_that_were_written(run, case):
    import scipy.stats
    import sklearn.metrics

    lines = table(run / "predictions" / "test.tsv")
    metrics = results(run)["metrics"]["test"]
    if case.kind == "multi":
        truth, answers = ([[label in json.loads(row[column]) for label in LABELS] for row in lines]
                          for column in ("label", "predicted"))
        assert metrics["micro_f1"] == pytest.approx(sklearn.metrics.f1_score(truth, answers, average="micro"))
        assert metrics["subset_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(truth, answers))
        assert metrics["micro_f1"] > metrics["untrained"]["micro_f1"], "nothing was learnt"
    else:
        truth, answers = ([float(row[column]) for row in lines] for column in ("label", "predicted"))
        assert metrics["pearson"] == pytest.approx(scipy.stats.pearsonr(truth, answers).statistic, abs=1e-6)
        assert metrics["spearman"] == pytest.approx(scipy.stats.spearmanr(truth, answers).statistic, abs=1e-6)
        assert metrics["r2"] > 0.3 and metrics["untrained"]["r2"] == pytest.approx(0, abs=1e-9)
        assert metrics["untrained"]["pearson"] is None


def test_a_saved_model_says_what_it_is_and_is_trained_on(dtrain, run, case, bases, multi, scores):
    if case.method in ("full", "lp-ft"):
        config = json.loads((run / "model" / "config.json").read_text())
        names = LABELS if case.kind == "multi" else ["LABEL_0"]
        assert config["problem_type"] == ("multi_label_classification" if case.kind == "multi" else "regression")
        assert config["id2label"] == {str(index): name for index, name in enumerate(names)}
    # Without --problem-type: the run says it.
    task = [part for part in task_of(case.kind, bases[case.family], multi, scores)
            if part not in ("--problem-type", "regression")]
    dtrain.succeeds("train", *task, "--run", run, "--lr", "1e-4", "--max-steps", "2", "--output", "more")
    again, before = results(dtrain.folder / "more"), results(run)
    assert again["problem_type"] == before["problem_type"]
    metric = again["select_metric"]
    assert again["metrics"]["test"][metric] == pytest.approx(before["metrics"]["test"][metric], rel=0.5)


def trained_elsewhere(folder, tiny_model, **settings):
    """A classifier that transformers saved, its weights far from zero."""
    import shutil

    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model, **settings)
    with torch.no_grad():
        model.classifier.weight.normal_()
        model.classifier.bias.normal_()
    model.save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model / name, folder)
    return model.eval()


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression", None])
def test_predict_heeds_the_problem_type_of_a_model_from_elsewhere(dtrain, tiny_model, scores, tmp_path, problem):
    import torch

    outputs = 3 if problem == "multi_label_classification" else 1  # one output and no word: transformers' regression
    model = trained_elsewhere(tmp_path / "model", tiny_model, num_labels=outputs, problem_type=problem)
    dtrain.succeeds("predict", "--run", tmp_path / "model", "--input", scores / "test.tsv", "--max-length", LENGTH,
                    "--output", "predicted")
    lines = table(dtrain.folder / "predicted" / "predictions" / "predictions.tsv")
    logits, _ = answered(model, tokens_of(tiny_model, [text for _, text in scores_of(45, 3)]), [[0.0] * outputs] * 45)
    if outputs == 1:
        assert list(lines[0]) == ["text", "predicted"]
        assert [float(row["predicted"]) for row in lines] == pytest.approx(logits.flatten().tolist(), abs=2e-5)
    else:
        found = [[float(row[f"p(LABEL_{label})"]) for label in range(3)] for row in lines]
        assert sum(found, []) == pytest.approx(torch.sigmoid(logits).flatten().tolist(), abs=2e-5)


def test_scores_are_no_classes_unless_asked_for(dtrain, tiny_model, multi, scores):
    task = task_of("regression", tiny_model, multi, scores)[:-2]
    dtrain.refuses("train", *task, code=3, says=["train.tsv:", "different numbers", "--problem-type regression"])
    # The other way round: classes where numbers are expected.
    dtrain.refuses("train", *task_of("multi", tiny_model, multi, scores), "--problem-type", "regression", code=3,
                   says=["train.jsonl", "expected"])


@pytest.mark.parametrize("which, options, says", [
    ("multi", ["--label-smoothing", "0.1"], "--label-smoothing"),
    ("regression", ["--label-smoothing", "0.1"], "--label-smoothing"),
    ("regression", ["--class-weights", "balanced"], "--class-weights"),
    ("regression", ["--select-metric", "accuracy"], "--select-metric: regression has no accuracy; expected one of pearson"),
    ("multi", ["--select-metric", "rmse"], "expected one of micro_f1"),
    ("multi", ["--problem-type", "multi_label"], "--problem-type: unknown problem type 'multi_label'"),
])
def test_what_an_objective_does_not_have_is_refused_before_anything_is_written(
        dtrain, tiny_model, multi, scores, which, options, says):
    dtrain.refuses("train", *task_of(which, tiny_model, multi, scores), *options, "--output", "out", code=2, says=says)
    assert not (dtrain.folder / "out").exists()


def test_class_weights_come_from_a_file_of_names(dtrain, task):
    weights = dtrain.folder / "weights.json"
    losses = {}
    for name, options in {"plain": [], "equal": ["--class-weights", weights],
                          "balanced": ["--class-weights", "balanced"],
                          "smooth": ["--label-smoothing", "0.2"]}.items():
        weights.write_text(json.dumps({"tool": 2, "plant": 2.0, "animal": 2}))
        dtrain.succeeds("train", *task, "--max-steps", "2", "--log-steps", "1", *options, "--output", name)
        losses[name] = [json.loads(line)["loss"] for line in (dtrain.folder / name / "log.jsonl").read_text().splitlines()]
    # The classes of the task are equally frequent, and a weight for all is none.
    assert losses["equal"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["balanced"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["smooth"] != pytest.approx(losses["plain"], rel=1e-5)
    weights.write_text(json.dumps({"tool": 5, "plant": 1, "animal": 1}))
    dtrain.succeeds("train", *task, "--max-steps", "2", "--log-steps", "1", "--class-weights", weights, "--output", "unequal")
    unequal = json.loads((dtrain.folder / "unequal" / "log.jsonl").read_text().splitlines()[0])["loss"]
    assert unequal != pytest.approx(losses["plain"][0], rel=1e-5)
    weights.write_text('{"tool": 1')
    dtrain.refuses("train", *task, "--class-weights", weights, code=3, says=["weights.json: not valid JSON", "complete?"])
    for content, says in (({"tool": 1, "plant": 1}, "'animal'"), ([1, 2, 3], "JSON object"),
                          ({"tool": 1, "plant": 1, "animal": 1, "tols": 1}, "did you mean 'tool'?"),
                          ({"tool": 1, "plant": 1, "animal": "x"}, "expected a number for 'animal'")):
        weights.write_text(json.dumps(content))
        dtrain.refuses("train", *task, "--class-weights", weights, code=3, says=[says, "weights.json"])
    weights.write_text(json.dumps({"tool": 1, "plant": 1, "animal": -1}))
    dtrain.refuses("train", *task, "--class-weights", weights, code=2, says=["--class-weights", "-1"])


@pytest.mark.parametrize("kind, family, method", [
    ("multi", "roberta", "lora"),
    ("regression", "distilbert", "prompt:num_virtual_tokens=4:prompt_tuning_init=TEXT:prompt_tuning_init_text=How old is "
                                 "it:tokenizer_name_or_path=BASE")])
def test_compare_scores_each_objective_by_its_own_metric(dtrain, kind, family, method, bases, multi, scores):
    methods = "full,head," + method.replace("BASE", str(bases[family]))
    study = ["compare", *task_of(kind, bases[family], multi, scores), "--methods", methods, "--samples", "100", "--lrs",
             "1e-2", "--seeds", "2", "--max-steps", "30", "--output", "study"]
    dtrain.succeeds(*study, timeout=180)
    report = results(dtrain.folder / "study")
    metric = "samples_f1" if kind == "multi" else "r2"
    means = {cell["method"]: cell["metrics"]["test"][metric]["mean"] for cell in report["cells"]}
    assert len(means) == 3 and len(report["comparisons"]) == 3
    for pair in report["comparisons"]:
        assert pair["metric"] == metric
        assert pair["difference"] == pytest.approx(means[pair["first"]] - means[pair["second"]], abs=1e-9)
    assert "accuracy" not in (dtrain.folder / "study" / "report.md").read_text().replace("subset_accuracy", "")
    # What is in the journal is what is compared again.
    dtrain.succeeds(*study, "--resume", timeout=180)
    assert results(dtrain.folder / "study")["comparisons"] == report["comparisons"]
    # By other means over the examples, of which less may be better, too.
    for other in ("log_loss", "subset_accuracy") if kind == "multi" else ("mse", "mae"):
        dtrain.succeeds(*study, "--resume", "--metric", other, timeout=180)
        judged = results(dtrain.folder / "study")
        means = {cell["method"]: cell["metrics"]["test"][other]["mean"] for cell in judged["cells"]}
        assert len(judged["comparisons"]) == 3
        for pair in judged["comparisons"]:
            assert pair["metric"] == other
            assert pair["difference"] == pytest.approx(means[pair["first"]] - means[pair["second"]], rel=1e-5, abs=1e-6)
    dtrain.refuses(*study, "--resume", "--metric", "accuracy", code=2, says=[f"expected one of {metric}, "])
