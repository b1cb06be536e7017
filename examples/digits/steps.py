"""The steps: plain functions. The next one gets what one returns; a Path is transferred as a file.

Each function imports what it needs, so that a job loads nothing else, and submitting the workflow needs none of it.
"""

from pathlib import Path

import aiflow_ext as af


def prepare():
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    wanted = af.current_job().properties
    x, y = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        x, y, test_size=wanted["test_share"], random_state=wanted["seed"], stratify=y
    )
    np.savez("digits.npz", train_x=train_x, test_x=test_x, train_y=train_y, test_y=test_y)
    print(f"{len(train_y)} pictures to learn from, {len(test_y)} to test with")
    return Path("digits.npz")


def train(data):
    import joblib
    import numpy as np
    from sklearn.svm import SVC

    digits = np.load(data)
    model = SVC(**af.current_job().properties).fit(digits["train_x"], digits["train_y"])
    print(f"{model} keeps {len(model.support_)} support vectors")
    joblib.dump(model, "model.joblib")
    return Path("model.joblib")


def evaluate(model, data):
    import joblib
    import numpy as np
    from sklearn.metrics import accuracy_score, classification_report, confusion_matrix

    digits = np.load(data)
    truth, guess = digits["test_y"], joblib.load(model).predict(digits["test_x"])
    scores = {
        "accuracy": accuracy_score(truth, guess),
        "confusion": confusion_matrix(truth, guess),
        "by_digit": classification_report(truth, guess, digits=3),
    }
    print(f"accuracy {scores['accuracy']:.4f} on {len(truth)} pictures")
    return scores


def draw(scores):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from sklearn.metrics import ConfusionMatrixDisplay

    ConfusionMatrixDisplay(scores["confusion"]).plot(cmap="Blues", colorbar=False)
    pyplot.title(f"accuracy {scores['accuracy']:.2%}")
    pyplot.savefig("confusion-matrix.png", dpi=120, bbox_inches="tight")
    return Path("confusion-matrix.png")


def report(scores, picture):
    from base64 import b64encode

    html = f"""<!doctype html><meta charset="utf-8"><title>Handwritten digits</title>
<body style="font-family: sans-serif; max-width: 45em; margin: 2em auto">
<h1>Handwritten digits: accuracy {scores["accuracy"]:.2%}</h1>
<img alt="confusion matrix" src="data:image/png;base64,{b64encode(picture.read_bytes()).decode()}">
<pre>{scores["by_digit"]}</pre>
"""
    Path("report.html").write_text(html, encoding="utf-8")
    return Path("report.html")


def validate(scores):
    least = af.current_job().properties["least_accuracy"]
    if scores["accuracy"] < least:
        raise ValueError(f"accuracy {scores['accuracy']:.4f} is below {least}: the model is not pushed")


def predict(release, data):
    import tarfile

    import joblib
    import numpy as np

    with tarfile.open(release) as packed:
        model = joblib.load(packed.extractfile("model.joblib"))
    digits = np.load(data)
    table = np.column_stack([model.predict(digits["test_x"]), digits["test_y"]])
    np.savetxt("predictions.csv", table, fmt="%d", delimiter=",", header="predicted,truth", comments="")
    return Path("predictions.csv")
