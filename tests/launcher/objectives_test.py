"""Multi-label classification and regression from a file to what transformers computes with what was saved."""

import csv
import json

import pytest

from conftest import CLASSES, Dtrain, results, rows, write_tsv

LENGTH = 32
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


def task_of(kind, tiny_model, multi, scores):
    folder, ending = (multi, "jsonl") if kind == "multi" else (scores, "tsv")
    files = [part for name, _, _ in SPLITS for part in (f"--{name}", folder / f"{name}.{ending}")]
    asked = [] if kind == "multi" else ["--problem-type", "regression"]
    return ["--model", tiny_model, "--max-length", LENGTH, *files, *asked]


@pytest.fixture(scope="module", params=["multi", "regression"])
def kind(request):
    return request.param


# Enough for a model of random weights to learn something.
METHODS = {"full": ["full", "--lr", "1e-3"], "lora": ["lora:target_modules=all-linear", "--lr", "1e-2"]}


@pytest.fixture(scope="module", params=METHODS)
def method(request):
    return request.param


@pytest.fixture(scope="module")
def run(kind, method, tiny_model, multi, scores, tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("run")
    Dtrain(folder, cache).succeeds("train", *task_of(kind, tiny_model, multi, scores), "--method", *METHODS[method],
                                   "--max-steps", "240", "--output", "out")
    return folder / "out"


def loaded(run, kind, tiny_model):
    """What was trained, as transformers or PEFT loads it."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    if (run / "model").exists():
        return AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    outputs = len(LABELS) if kind == "multi" else 1
    problem = "multi_label_classification" if kind == "multi" else "regression"
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=outputs, problem_type=problem)
    return PeftModel.from_pretrained(base, run / "adapter").eval()


def answered(model, tokenizer_folder, texts, labels):
    """Logits and loss of transformers."""
    import torch
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tokenizer_folder)(texts, padding=True, truncation=True, max_length=LENGTH,
                                                             return_tensors="pt")
    with torch.no_grad():
        outputs = model(**tokens, labels=torch.tensor(labels))
    return outputs.logits.double(), outputs.loss.item()


def table(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_transformers_computes_the_predictions_and_the_loss(dtrain, run, kind, tiny_model, multi, scores):
    import torch

    file = (multi / "test.jsonl") if kind == "multi" else (scores / "test.tsv")
    dtrain.succeeds("predict", "--run", run, "--input", file, "--max-length", LENGTH, "--output", "predicted")
    predicted = table(dtrain.folder / "predicted" / "predictions" / "predictions.tsv")
    metrics = results(run)["metrics"]["test"]
    model = loaded(run, kind, tiny_model)
    if kind == "multi":
        data = sets_of(45, 3)
        truth = [[float(label in labels) for label in LABELS] for labels, _ in data]
    else:
        data = scores_of(45, 3)
        truth = [[score] for score, _ in data]
    logits, loss = answered(model, tiny_model, [text for _, text in data], truth)
    if kind == "multi":
        probabilities = torch.sigmoid(logits)
        for row, of_row in zip(predicted, probabilities.tolist()):
            assert [float(row[f"p({label})"]) for label in LABELS] == pytest.approx(of_row, abs=2e-5)
            assert json.loads(row["predicted"]) == [label for label, p in zip(LABELS, of_row) if p > 0.5]
        assert metrics["log_loss"] == pytest.approx(loss, abs=1e-5)
    else:
        assert [float(row["predicted"]) for row in predicted] == pytest.approx(logits.flatten().tolist(), abs=2e-5)
        assert metrics["mse"] == pytest.approx(loss, abs=1e-5)


def test_evaluate_gives_the_metrics_of_the_run(dtrain, run, kind, multi, scores):
    file = (multi / "test.jsonl") if kind == "multi" else (scores / "test.tsv")
    dtrain.succeeds("evaluate", "--run", run, "--input", file, "--max-length", LENGTH, "--output", "evaluated")
    trained, evaluated = results(run)["metrics"]["test"], results(dtrain.folder / "evaluated")["metrics"]["test"]
    scalars = [name for name, value in trained.items() if isinstance(value, float)]
    assert len(scalars) >= 6
    assert [evaluated[name] for name in scalars] == pytest.approx([trained[name] for name in scalars], abs=1e-5)
    assert evaluated["untrained"] == trained["untrained"]


def test_metrics_are_those_of_the_predictions_that_were_written(run, kind):
    import scipy.stats
    import sklearn.metrics

    lines = table(run / "predictions" / "test.tsv")
    metrics = results(run)["metrics"]["test"]
    if kind == "multi":
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


def test_a_saved_model_says_what_it_is_and_is_trained_on(dtrain, run, kind, method, tiny_model, multi, scores):
    if method == "full":
        config = json.loads((run / "model" / "config.json").read_text())
        names = LABELS if kind == "multi" else ["LABEL_0"]
        assert config["problem_type"] == ("multi_label_classification" if kind == "multi" else "regression")
        assert config["id2label"] == {str(index): name for index, name in enumerate(names)}
    # Without --problem-type: the run says it.
    task = [part for part in task_of(kind, tiny_model, multi, scores) if part not in ("--problem-type", "regression")]
    dtrain.succeeds("train", *task, "--run", run, "--max-steps", "2", "--output", "more")
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
    logits, _ = answered(model, tiny_model, [text for _, text in scores_of(45, 3)], [[0.0] * outputs] * 45)
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


def test_compare_scores_each_objective_by_its_own_metric(dtrain, kind, tiny_model, multi, scores):
    dtrain.succeeds("compare", *task_of(kind, tiny_model, multi, scores), "--methods", "full,head", "--samples", "100",
                    "--lrs", "1e-2", "--seeds", "2", "--max-steps", "30", "--output", "study", timeout=180)
    report = results(dtrain.folder / "study")
    metric = "samples_f1" if kind == "multi" else "r2"
    of_full = next(cell for cell in report["cells"] if cell["method"] == "full")
    of_head = next(cell for cell in report["cells"] if cell["method"] == "head")
    difference = of_full["metrics"]["test"][metric]["mean"] - of_head["metrics"]["test"][metric]["mean"]
    assert report["comparisons"][0]["metric"] == metric
    assert report["comparisons"][0]["difference"] == pytest.approx(difference, abs=1e-9)
    assert "accuracy" not in (dtrain.folder / "study" / "report.md").read_text().replace("subset_accuracy", "")
    # What is in the journal is what is compared again.
    dtrain.succeeds("compare", *task_of(kind, tiny_model, multi, scores), "--methods", "full,head", "--samples", "100",
                    "--lrs", "1e-2", "--seeds", "2", "--max-steps", "30", "--output", "study", "--resume", timeout=180)
    assert results(dtrain.folder / "study")["comparisons"] == report["comparisons"]
