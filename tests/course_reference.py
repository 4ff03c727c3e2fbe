"""The course's networks of one and of two layers in NumPy, from their formulas alone, in float64.

Without arguments it writes files/course_numpy.json: losses of `digits one-layer` and `digits two-layers` on every
thirtieth digit of data/digits178, for tests/lessons.rs. With --compare it prints the largest relative difference between
its losses and those of a file that `digits … --history FILE` has written:

    python3 tests/course_reference.py --compare history.npz --init init.npz [--data DIR] [--epsilon 1e-5]
"""

import argparse
import json
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent
SHOWN = [0, 1, 2, 5, 10, 20, 50, 100, 150, 199]


def load(directory, step=1):
    names = ["x.npy", "y.npy", "xt.npy", "yt.npy"]
    x, y, xt, yt = (np.load(directory / name)[::step].astype(np.float64) for name in names)
    return (x / 255, y), (xt / 255, yt)


def start(*shape):
    """Parameters that tell each index from its neighbours: 1e-3 (((7 i + 5 j + 3 i j) mod 23) - 11), in a vector i = 0."""
    i, j = np.indices((1, *shape)[-2:])
    return (1e-3 * ((7 * i + 5 * j + 3 * i * j) % 23 - 11)).reshape(shape)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def evaluate_loss(y, yhat):
    return -np.sum(y * np.log(yhat + 1e-16) + (1 - y) * np.log(1 - yhat + 1e-16)) / len(y)


def one_layer(train, test, w, b, passes, epsilon):
    w, b, history = w.copy(), b.copy(), []
    (x, y), (xt, yt) = train, test
    for _ in range(passes):
        yhat = softmax(x @ w + b)
        history.append([evaluate_loss(y, yhat), evaluate_loss(yt, softmax(xt @ w + b))])
        delta = yhat - y
        w -= epsilon * (x.T @ delta)
        b -= epsilon * delta.sum(axis=0)
    return np.array(history)


def two_layers(train, test, w1, b1, w2, b2, passes, epsilon):
    w1, b1, w2, b2, history = w1.copy(), b1.copy(), w2.copy(), b2.copy(), []
    (x, y), (xt, yt) = train, test
    for _ in range(passes):
        h = np.tanh(x @ w1 + b1)
        yhat = softmax(h @ w2 + b2)
        history.append([evaluate_loss(y, yhat), evaluate_loss(yt, softmax(np.tanh(xt @ w1 + b1) @ w2 + b2))])
        delta2 = yhat - y
        delta1 = (delta2 @ w2.T) * (1 - h * h)
        w2 -= epsilon * (h.T @ delta2)
        b2 -= epsilon * delta2.sum(axis=0)
        w1 -= epsilon * (x.T @ delta1)
        b1 -= epsilon * delta1.sum(axis=0)
    return np.array(history)


def table():
    train, test = load(HERE.parent / "data" / "digits178", step=30)
    one = [start(784, 3), start(3)]
    two = [start(784, 4), start(4), start(4, 3), start(3)]
    runs = {}
    for epsilon in ["1e-5", "1e-4"]:
        runs[f"one-layer --epsilon {epsilon}"] = one_layer(train, test, *one, 200, float(epsilon))
    for epsilon in ["1e-5", "1e-3"]:
        runs[f"two-layers --hidden 4 --epsilon {epsilon}"] = two_layers(train, test, *two, 200, float(epsilon))
    rows = {name: [[k, *map(float, history[k])] for k in SHOWN] for name, history in runs.items()}
    text = json.dumps(rows).replace("]], ", "]],\n").replace("[[", "[\n[").replace("], [", "],\n[")
    text = text.replace("]]", "]\n]")
    (HERE / "files" / "course_numpy.json").write_text(text + "\n")


def compare(options):
    train, test = load(options.data)
    init = np.load(options.init)
    found = np.load(options.compare)["history"]
    names = ["W", "b"] if "W" in init else ["W1", "b1", "W2", "b2"]
    parameters = [init[name] if name[0] == "W" else init[name].reshape(-1) for name in names]
    run = one_layer if "W" in init else two_layers
    expected = run(train, test, *parameters, len(found), options.epsilon)
    print(f"{len(found)} passes, {expected[0]} -> {expected[-1]}:", np.abs(found / expected - 1).max())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", type=pathlib.Path)
    parser.add_argument("--init", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, default=HERE.parent / "data" / "digits178")
    parser.add_argument("--epsilon", type=float, default=1e-5)
    arguments = parser.parse_args()
    compare(arguments) if arguments.compare else table()
