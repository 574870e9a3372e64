"""What scipy makes of small studies: variance components, intervals, p-values, proportions and crossovers; and scikit-learn
of metrics of classes, and of what the weight of an example does to them.

Usage: statistics_reference.py DIRECTORY. Writes DIRECTORY/statistics.json.
"""

import json
import math
import pathlib
import sys

import numpy as np
from scipy import integrate, optimize, special, stats
from sklearn.metrics import f1_score, matthews_corrcoef, precision_recall_fscore_support

random = np.random.default_rng(3)


def components(rows):
    """Mean squares of two-way analysis of variance without replication, from least squares with and without a factor."""
    seeds, examples = rows.shape
    seed, example = np.indices(rows.shape)
    one = np.ones((rows.size, 1))
    by_seed = np.eye(seeds)[seed.ravel()]
    by_example = np.eye(examples)[example.ravel()]
    y = rows.ravel()

    def residual(*factors):
        design = np.hstack(factors)
        return np.sum((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2)

    both = residual(one, by_seed, by_example)
    seed_square = (residual(one, by_example) - both) / (seeds - 1)
    example_square = (residual(one, by_seed) - both) / (examples - 1)
    rest_square = both / ((seeds - 1) * (examples - 1))
    return tuple(max(0, square) / rows.size for square in (seed_square, example_square - rest_square, rest_square))


def tail(distance, seeds, examples, seed_variance, example_variance, rest_variance, one_way, unit):
    """P(true mean > mean + distance): the normal tail, integrated over the seed variance that may be behind its estimate."""
    degrees = seeds - 1
    fixed = example_variance + one_way**2 * distance * max(0, unit - distance) / examples
    normaliser = math.log(2) * (1 - degrees / 2) - special.gammaln(degrees / 2)

    def integrand(y):  # y is chi-distributed
        variance = max(seed_variance * degrees / (y * y), rest_variance) + fixed
        density = math.exp(normaliser + (degrees - 1) * math.log(y) - y * y / 2)
        return density * special.ndtr(-distance / math.sqrt(variance)) if variance > 0 else 0

    ends = [0, 1e-3, 0.03, 0.3, 1, 3, 10]
    if 0 < rest_variance and 0 < seed_variance < 100 * rest_variance:
        ends = sorted([*ends, min(10, math.sqrt(seed_variance * degrees / rest_variance))])
    model = sum(integrate.quad(integrand, begin, end, epsabs=1e-12, epsrel=1e-10)[0]
                for begin, end in zip(ends, ends[1:]) if end > begin)
    missed = max(0, 1 - distance / unit) ** examples
    return max(model, min(0.5, missed))


def paired(rows, unit=1.0):
    rows = np.asarray(rows, dtype=float)
    seeds, examples = rows.shape
    mean = rows.mean()
    seed_variance, example_variance, rest_variance = components(rows)
    by_example = rows.mean(0)
    differing = np.abs(by_example).sum()
    one_way = abs(by_example.sum()) / differing if differing > 0 else 0.0
    parts = (seeds, examples, seed_variance, example_variance, rest_variance, one_way, unit)
    half_width = optimize.brentq(lambda d: tail(d, *parts) - 0.025, 1e-9, 30 * unit, xtol=1e-11)
    return {"rows": rows.tolist(), "unit": unit, "mean": mean, "seed_variance": seed_variance,
            "example_variance": example_variance, "rest_variance": rest_variance, "one_way": one_way,
            "half_width": half_width, "p": 2 * tail(abs(mean), *parts) if mean != 0 else 1.0,
            "below": [[mean - 0.02, tail(0.02, *parts)], [mean + 0.3, 1 - tail(0.3, *parts)]]}


def study(seeds, examples, disagreement, shift, scatter):
    """One method's rights minus another's: examples that lean to either, chance, and a shift of each seed."""
    lean = np.where(random.random(examples) < disagreement, random.uniform(-1, 1, examples), 0)
    strength = lean + shift + scatter * random.standard_normal((seeds, 1))
    hit = np.sign(strength) * (random.random((seeds, examples)) < np.abs(strength))
    chance = np.where(random.random((seeds, examples)) < 0.03, random.choice([-1, 1], (seeds, examples)), 0)
    return np.where(hit == 0, chance, hit)


def lines():
    """Differences that grow with log N, and where they reach a level (Fieller: the roots, found by bisection)."""
    cases = []
    for counts, seeds, slope, noise in [([100, 1000, 10000], 5, 0.02, 0.002), ([100, 300, 1000, 3000], 3, -0.015, 0.003),
                                        ([50, 500, 5000, 50000], 3, 0.001, 0.01)]:
        x = np.log(counts)
        y = slope * (x - x.mean()) + 0.01 + noise * random.standard_normal(len(counts)) / np.sqrt(seeds)
        seed_variance = noise ** 2 / seeds * random.chisquare(seeds - 1, len(counts)) / (seeds - 1)
        example_variance = random.uniform(1e-7, 1e-6, len(counts))
        level = 0.01
        fit = stats.linregress(x, y)
        pooled, degrees = seed_variance.mean(), len(counts) * (seeds - 1)
        scatter = np.sum((y - fit.intercept - fit.slope * x) ** 2) / (len(x) - 2)
        if scatter > pooled * stats.f.ppf(0.95, len(x) - 2, degrees):
            pooled, degrees = scatter, len(x) - 2
        t = stats.t.ppf(0.975, degrees)
        xx = np.sum((x - x.mean()) ** 2)

        def outside(at):
            variance = pooled * (1 / len(x) + (at - x.mean()) ** 2 / xx) + example_variance.mean()
            return (fit.intercept + fit.slope * at - level) ** 2 - t ** 2 * variance

        crossing = (level - fit.intercept) / fit.slope
        interval = None
        if fit.slope ** 2 > t ** 2 * pooled / xx:
            interval = [float(np.exp(optimize.brentq(outside, crossing, end))) for end in (crossing - 100, crossing + 100)]
        cases.append({"samples": counts, "seeds": seeds, "means": y.tolist(), "seed_variances": seed_variance.tolist(),
                      "example_variances": example_variance.tolist(), "level": level,
                      "crossing": float(np.exp(crossing)), "interval": interval})
    assert [case["interval"] is None for case in cases] == [False, False, True]
    return cases


CLASS_METRICS = {
    "macro_f1": lambda *answers, **weights: f1_score(*answers, average="macro", zero_division=0, **weights),
    "weighted_f1": lambda *answers, **weights: f1_score(*answers, average="weighted", zero_division=0, **weights),
    "matthews": lambda *answers, **weights: matthews_corrcoef(*answers, **weights),
}


def influences(metric, truth, predicted, step=1e-4):
    """n times the metric's derivative by the weight of each example; examples with the same answer share it."""
    known = {}
    for i, cell in enumerate(zip(truth, predicted)):
        if cell not in known:
            ends = []
            for sign in (1, -1):
                weights = np.ones(len(truth))
                weights[i] += sign * step
                ends.append(metric(truth, predicted, sample_weight=weights))
            known[cell] = len(truth) * (ends[0] - ends[1]) / (2 * step)
    return [known[cell] for cell in zip(truth, predicted)]


def of_classes(truth, predicted):
    labels = sorted(set(truth))
    scores = precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    return [{"label": label, "precision": precision, "recall": recall, "f1": f1, "support": int(support)}
            for label, precision, recall, f1, support in zip(labels, *scores)]


def class_metrics():
    def answers(shares, examples, right):
        truth = random.choice(len(shares), examples, p=shares)
        return truth, np.where(random.random(examples) < right, truth, random.choice(len(shares), examples, p=shares))

    uneven = [0.5, 0.2, 0.12, 0.09, 0.06, 0.03]
    zipf = 1 / np.arange(1, 46)
    never_said = answers(uneven, 200, 0.7)
    never_said[1][never_said[1] == 1] = 0  # a class that is never answered ...
    never_said[0][never_said[0] == 2] = 0  # ... and one that never occurs
    constant = answers(uneven, 60, 0.7)[0], np.zeros(60, dtype=int)
    drawn = {"uneven": answers(uneven, 300, 0.7), "two classes": answers([0.8, 0.2], 100, 0.8),
             "many classes": answers(zipf / zipf.sum(), 100, 0.6), "never said": never_said, "constant": constant}
    cases = []
    for name, pair in drawn.items():
        truth, predicted = (each.tolist() for each in pair)
        of_metrics = {metric: {"value": float(function(truth, predicted)),
                               "influences": influences(function, truth, predicted)}
                      for metric, function in CLASS_METRICS.items()}
        cases.append({"name": name, "truth": truth, "predicted": predicted, "classes": of_classes(truth, predicted)}
                     | of_metrics)
    return cases


def main(directory):
    far = [[1, 0, 0, 1, 0, 0, 1, 0], [1, 1, 1, 1, 0, 0, 1, 1], [0, 0, 0, 1, -1, -1, 1, 0]]
    same = np.zeros((3, 100))
    one = np.zeros((3, 100))
    one[:, 0] = 1
    studies = [far, same, one, study(2, 60, 0.3, 0.1, 0.05), study(3, 300, 0.06, 0.0, 0.0),
               study(3, 300, 0.06, 0.05, 0.02), study(5, 200, 0.1, 0.02, 0.05), study(10, 50, 0.2, 0.1, 0.02)]
    # Balanced accuracy weighs examples.
    weighted = study(3, 200, 0.1, 0.03, 0.02) * np.where(random.random(200) < 0.2, 2.5, 0.625)
    cases = [paired(rows) for rows in studies] + [paired(weighted, 2.5)]
    proportions = []
    for successes, trials in [(0, 3), (3, 3), (1, 3), (2, 10), (0, 100)]:
        interval = stats.binomtest(successes, trials).proportion_ci(0.95, "exact")
        proportions.append([successes, trials, interval.low, interval.high])
    document = {"paired": cases, "proportions": proportions, "lines": lines(),
                "class_metrics": class_metrics()}
    (pathlib.Path(directory) / "statistics.json").write_text(json.dumps(document))


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    main(sys.argv[1])
