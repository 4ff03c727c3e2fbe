"""Writes files/optim.json: what torch.optim makes of two small parameters, and its schedules, in float64.

The loss is (w0² + 3 w1² + 0.1 w2²) / 2 + sin(w0), and u² at every second step only, so that u has no gradient at the
others.
"""

import json
import pathlib

import torch
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from torch.optim import lr_scheduler as schedules

STEPS = 7
OPTIMIZERS = {
    "sgd": (SGD, {}),
    "sgd decayed uphill": (SGD, {"weight_decay": 0.1, "maximize": True}),
    "sgd momentum": (SGD, {"momentum": 0.9}),
    "sgd dampened": (SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "sgd nesterov": (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "sgd nesterov uphill": (SGD, {"momentum": 0.9, "nesterov": True, "maximize": True}),
    "adam": (Adam, {}),
    "adam decayed": (Adam, {"betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.1}),
    "adam amsgrad": (Adam, {"betas": (0.3, 0.4), "amsgrad": True, "weight_decay": 0.1}),
    "adam uphill": (Adam, {"maximize": True}),
    "adamw": (AdamW, {}),
    "adamw amsgrad": (AdamW, {"betas": (0.3, 0.4), "amsgrad": True, "weight_decay": 0.5}),
    "adamw uphill": (AdamW, {"maximize": True}),
    "rmsprop": (RMSprop, {}),
    "rmsprop decayed": (RMSprop, {"alpha": 0.7, "eps": 1e-3, "weight_decay": 0.1}),
    "rmsprop momentum": (RMSprop, {"alpha": 0.7, "momentum": 0.5}),
    "rmsprop centered": (RMSprop, {"alpha": 0.7, "centered": True}),
    "rmsprop centered momentum": (RMSprop, {"alpha": 0.7, "centered": True, "momentum": 0.5, "maximize": True}),
    "adagrad": (Adagrad, {}),
    "adagrad decayed": (Adagrad, {"lr_decay": 0.5, "weight_decay": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-3}),
    "adagrad uphill": (Adagrad, {"maximize": True}),
}
SCHEDULES = {
    "step": lambda o: schedules.StepLR(o, step_size=7, gamma=0.5),
    "multi_step": lambda o: schedules.MultiStepLR(o, milestones=[5, 11, 11, 20], gamma=0.3),
    "exponential": lambda o: schedules.ExponentialLR(o, gamma=0.93),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, T_max=9, eta_min=0.003),
    "linear": lambda o: schedules.LinearLR(o, start_factor=0.2, end_factor=0.9, total_iters=12),
    "function": lambda o: schedules.LambdaLR(o, lambda step: 1 / (1 + step)),
    "warm-up": lambda o: schedules.SequentialLR(
        o,
        [schedules.LinearLR(o, start_factor=0.1, total_iters=4), schedules.CosineAnnealingLR(o, T_max=10)],
        milestones=[4],
    ),
}


def steps(kind, options):
    w = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    u = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    optimizer = kind([w, u], lr=0.1, **options)
    values = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = (w.square() * torch.tensor([1.0, 3.0, 0.1], dtype=torch.float64)).sum() / 2 + w[0].sin()
        if step % 2 == 1:
            loss = loss + u.square().sum()
        loss.backward()
        optimizer.step()
        values.append(w.tolist() + u.tolist())
    return values


def rates(make, count=40):
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule, values = make(optimizer), []
    for _ in range(count):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return values


result = {
    "optimizers": {name: steps(*case) for name, case in OPTIMIZERS.items()},
    "schedules": {name: rates(make) for name, make in SCHEDULES.items()},
}
file = pathlib.Path(__file__).parent / "files" / "optim.json"
file.write_text(json.dumps(result).replace("]], ", "]],\n").replace("], \"", "],\n\"") + "\n")
