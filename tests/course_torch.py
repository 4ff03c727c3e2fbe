"""The course's PyTorch section in PyTorch itself, in float64.

Without arguments it writes files/course_torch.json: losses of `digits tape`, `optimizer` and `module` on every
thirtieth digit of data/digits178, for tests/lessons.rs. With --compare it prints the largest relative difference between
its losses and those of a file that `digits LESSON … --history FILE` has written:

    python3 tests/course_torch.py --compare history.npz --init init.npz --lesson module [--data DIR] [--epsilon 1e-4]
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from course_reference import HERE, SHOWN, load, start

NAMES = ["W1", "b1", "W2", "b2"]


def evaluate_loss(y, yhat):
    n = y.shape[0]
    terms = torch.mul(y, torch.log(yhat + 1e-16)) + torch.mul(1 - y, torch.log(1 - yhat + 1e-16))
    return -torch.sum(terms) / n


class Mlp(torch.nn.Module):
    def __init__(self, w1, b1, w2, b2):
        super().__init__()
        self.c1 = torch.nn.Linear(*w1.shape, dtype=torch.float64)
        self.c2 = torch.nn.Linear(*w2.shape, dtype=torch.float64)
        with torch.no_grad():
            for layer, w, b in [(self.c1, w1, b1), (self.c2, w2, b2)]:
                layer.weight.copy_(w.T)
                layer.bias.copy_(b)

    def forward(self, x):
        return torch.softmax(self.c2(torch.relu(self.c1(x))), dim=1)


def run(lesson, sets, parameters, passes, epsilon, activation=torch.tanh):
    (x, y), (xt, yt) = ([torch.from_numpy(a) for a in pair] for pair in sets)
    parameters = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in parameters]
    w1, b1, w2, b2 = parameters

    def predict(x):
        return torch.softmax(activation(x @ w1 + b1) @ w2 + b2, dim=1)

    optimizer = None
    if lesson == "optimizer":
        optimizer = torch.optim.SGD(parameters, lr=epsilon, momentum=0.9)
    if lesson == "module":
        predict = Mlp(*(p.detach() for p in parameters))
        optimizer = torch.optim.SGD(predict.parameters(), lr=epsilon)
    history = []
    for _ in range(passes):
        loss = evaluate_loss(y, predict(x))
        with torch.no_grad():
            history.append([loss.item(), evaluate_loss(yt, predict(xt)).item()])
        loss.backward()
        if optimizer:
            optimizer.step()
            optimizer.zero_grad()
        else:
            with torch.no_grad():
                for p in parameters:
                    p -= epsilon * p.grad
                    p.grad.zero_()
    return np.array(history)


def table():
    sets = load(HERE.parent / "data" / "digits178", step=30)
    parameters = [start(784, 4), start(4), start(4, 3), start(3)]
    runs = {}
    for epsilon in ["1e-4", "0.3"]:
        for lesson in ["tape", "optimizer", "module"]:
            runs[f"{lesson} --hidden 4 --epsilon {epsilon}"] = run(lesson, sets, parameters, 200, float(epsilon))
        relu = run("tape", sets, parameters, 200, float(epsilon), activation=torch.relu)
        runs[f"tape --activation relu --hidden 4 --epsilon {epsilon}"] = relu
    rows = {name: [[k, *map(float, history[k])] for k in SHOWN] for name, history in runs.items()}
    text = json.dumps(rows).replace("]], ", "]],\n").replace("[[", "[\n[").replace("], [", "],\n[")
    text = text.replace("]]", "]\n]")
    (HERE / "files" / "course_torch.json").write_text(text + "\n")


def compare(options):
    init = np.load(options.init)
    found = np.load(options.compare)["history"]
    parameters = [init[name] if name[0] == "W" else init[name].reshape(-1) for name in NAMES]
    activation = {"tanh": torch.tanh, "relu": torch.relu}[options.activation]
    expected = run(options.lesson, load(options.data), parameters, len(found), options.epsilon, activation)
    print(f"{len(found)} passes, {expected[0]} -> {expected[-1]}:", np.abs(found / expected - 1).max())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", type=pathlib.Path)
    parser.add_argument("--init", type=pathlib.Path)
    parser.add_argument("--lesson", choices=["tape", "optimizer", "module"], default="tape")
    parser.add_argument("--activation", choices=["tanh", "relu"], default="tanh")
    parser.add_argument("--data", type=pathlib.Path, default=HERE.parent / "data" / "digits178")
    parser.add_argument("--epsilon", type=float, default=1e-4)
    arguments = parser.parse_args()
    compare(arguments) if arguments.compare else table()
