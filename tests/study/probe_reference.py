"""Multinomial logistic regressions of scikit-learn on small features, at their optimum.

Usage: probe_reference.py DIRECTORY. Writes DIRECTORY/probes.safetensors.
"""

import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.preprocessing import StandardScaler

CLASSES = 5
PENALTIES = [10.0, 0.1, 1e-3, 1e-5]


def examples(random, count, centres):
    labels = random.choice(CLASSES, count, p=[0.4, 0.25, 0.2, 0.1, 0.05])
    features = centres[labels] + random.standard_normal((count, centres.shape[1]))
    # Scales far apart, and a feature that never changes.
    features = features * np.geomspace(1e-2, 1e2, centres.shape[1]) + 3
    features[:, 1] = 7
    return features, labels.astype(np.int64)


def main(directory):
    random = np.random.default_rng(11)
    centres = 0.45 * random.standard_normal((CLASSES, 12))
    tensors = {}
    sets = {name: examples(random, count, centres) for name, count in (("train", 240), ("dev", 160), ("test", 200))}
    scaler = StandardScaler().fit(sets["train"][0])
    for name, (features, labels) in sets.items():
        tensors[f"{name}.features"] = features
        tensors[f"{name}.labels"] = labels
    rows = []
    for l2 in PENALTIES:
        train, labels = scaler.transform(sets["train"][0]), sets["train"][1]
        model = LogisticRegression(C=1 / (len(labels) * l2), tol=1e-10, max_iter=100_000).fit(train, labels)
        objective = log_loss(labels, model.predict_proba(train)) + l2 / 2 * np.sum(model.coef_ ** 2)
        row = [l2, objective]
        for name in ("dev", "test"):
            features, labels = sets[name]
            features = scaler.transform(features)
            row += [log_loss(labels, model.predict_proba(features)), accuracy_score(labels, model.predict(features))]
        rows.append(row)
    tensors["solutions"] = np.array(rows)

    # What a path over the whole grid finds.
    best = None
    for half in range(2, -17, -1):
        l2 = 10.0 ** (half / 2)
        train, labels = scaler.transform(sets["train"][0]), sets["train"][1]
        model = LogisticRegression(C=1 / (len(labels) * l2), tol=1e-9, max_iter=100_000).fit(train, labels)
        loss = log_loss(sets["dev"][1], model.predict_proba(scaler.transform(sets["dev"][0])))
        if best is None or loss < best[1]:
            features, labels = sets["test"]
            best = [l2, loss, accuracy_score(labels, model.predict(scaler.transform(features)))]
    tensors["best"] = np.array(best)
    save_file(tensors, pathlib.Path(directory) / "probes.safetensors")


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    main(sys.argv[1])
