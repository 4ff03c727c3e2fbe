"""Writes files/optim.json: what torch.optim makes of two small parameters, its schedules, and clipped gradients, in float64.

The loss is (w0² + 3 w1² + 0.1 w2²) / 2 + sin(w0), and u² at every second step only, so that u has no gradient at the
others. L-BFGS descends Rosenbrock's valley, and the softmax cross-entropy of one layer.
"""

import json
import pathlib

import torch
from torch.optim import LBFGS, SGD, Adadelta, Adagrad, Adam, AdamW, NAdam, RAdam, RMSprop
from torch.optim import lr_scheduler as schedules

torch.set_default_dtype(torch.float64)  # NAdam keeps a product of momenta in this type
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
    "adadelta": (Adadelta, {}),
    "adadelta decayed": (Adadelta, {"rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    "nadam": (NAdam, {}),
    "nadam decayed": (NAdam, {"betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    "nadam decoupled": (NAdam, {"weight_decay": 0.5, "decoupled_weight_decay": True, "maximize": True}),
    "radam": (RAdam, {}),
    "radam rectified": (RAdam, {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    "radam decoupled": (RAdam, {"betas": (0.7, 0.5), "weight_decay": 0.5, "decoupled_weight_decay": True, "maximize": True}),
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
    "one cycle": lambda o: schedules.OneCycleLR(o, max_lr=0.1, total_steps=41),
    "one cycle late": lambda o: schedules.OneCycleLR(
        o, max_lr=0.1, total_steps=41, pct_start=0.75, div_factor=5, final_div_factor=50
    ),
    "chained": lambda o: schedules.ChainedScheduler(
        [
            schedules.LinearLR(o, start_factor=0.25, total_iters=6),
            schedules.ExponentialLR(o, gamma=0.9),
            schedules.StepLR(o, step_size=10, gamma=0.5),
        ]
    ),
    "one after the other": lambda o: schedules.SequentialLR(
        o,
        [
            schedules.LinearLR(o, start_factor=0.5, end_factor=0.75, total_iters=4),
            schedules.StepLR(o, step_size=3, gamma=0.5),
            schedules.ExponentialLR(o, gamma=0.9),
        ],
        milestones=[7, 20],
    ),
}
# Falls, stays, rises, jumps down.
LOSSES = [3.0 - 0.3 * k for k in range(6)] + [1.5] * 9 + [1.5 + 0.1 * k for k in range(7)] + [0.4] * 8
PLATEAUS = {
    "default": {"patience": 3},
    "cooling": {"factor": 0.5, "patience": 1, "cooldown": 3, "threshold": 0.2},
    "minimum": {"factor": 0.3, "patience": 0, "min_lr": 0.004},
    "rising": {"mode": "max", "factor": 0.5, "patience": 2},
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


def plateau(options):
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule, values = schedules.ReduceLROnPlateau(optimizer, **options), []
    for loss in LOSSES:
        schedule.step(loss)
        values.append(optimizer.param_groups[0]["lr"])
    return values


def groups():
    w, b = [torch.tensor([start], requires_grad=True) for start in (1.0, -2.0)]
    optimizer = Adam([{"params": [w], "lr": 0.1, "weight_decay": 0.3}, {"params": [b], "lr": 0.02}], betas=(0.8, 0.9))
    schedule, values = schedules.ExponentialLR(optimizer, gamma=0.8), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        (w.square() / 2 + b.sin()).sum().backward()
        optimizer.step()
        schedule.step()
        values.append([w.item(), b.item()])
    return values


def clipped(clip):
    w, b = torch.zeros(3, requires_grad=True), torch.zeros(2, requires_grad=True)
    w.grad, b.grad = torch.tensor([3.0, -0.5, 0.25]), torch.tensor([-4.0, 1.5])
    total = clip([w, b])
    return [total.item() if total is not None else 0.0] + w.grad.tolist() + b.grad.tolist()


def lbfgs(parameters, loss, count, **options):
    optimizer, values = LBFGS(parameters, line_search_fn="strong_wolfe", **options), []

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    for _ in range(count):
        before = optimizer.step(closure).item()
        values.append([before] + [x for p in parameters for x in p.detach().flatten().tolist()])
    return values


def rosenbrock(count, **options):
    x, y = [torch.tensor([start], requires_grad=True) for start in (-1.5, 2.0)]
    return lbfgs([x, y], lambda: ((1 - x) ** 2 + 100 * (y - x**2) ** 2).sum(), count, **options)


def one_layer(count, **options):
    x = torch.tensor([[((7 * i + 3 * k * k) % 11) / 5 - 1 for k in range(4)] for i in range(20)])
    labels = torch.tensor([(i * i + i // 3) % 3 for i in range(20)])
    w, b = torch.zeros(4, 3, requires_grad=True), torch.zeros(3, requires_grad=True)
    loss = lambda: torch.nn.functional.cross_entropy(x @ w + b, labels)
    return lbfgs([w, b], loss, count, **options)


result = {
    "optimizers": {name: steps(*case) for name, case in OPTIMIZERS.items()},
    "schedules": {name: rates(make) for name, make in SCHEDULES.items()},
    "losses": LOSSES,
    "plateaus": {name: plateau(options) for name, options in PLATEAUS.items()},
    "groups": groups(),
    "clipped": {
        "norm": clipped(lambda p: torch.nn.utils.clip_grad_norm_(p, 2.0)),
        "short": clipped(lambda p: torch.nn.utils.clip_grad_norm_(p, 6.0)),
        "value": clipped(lambda p: torch.nn.utils.clip_grad_value_(p, 1.25)),
    },
    "lbfgs": {
        "rosenbrock": rosenbrock(14, max_iter=3, max_eval=30),
        # After two more steps, a start that differs by one bit in the last place differs by 2e-10.
        "rosenbrock short memory": rosenbrock(8, max_iter=4, max_eval=30, history_size=2, lr=0.5),
        "rosenbrock few evaluations": rosenbrock(12),
        "one layer": one_layer(6, max_iter=4, max_eval=30),
    },
}
file = pathlib.Path(__file__).parent / "files" / "optim.json"
file.write_text(json.dumps(result).replace("]], ", "]],\n").replace("], \"", "],\n\"") + "\n")
