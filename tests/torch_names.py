"""Writes files/torch_names.json: values and derivatives of PyTorch's functions in float64, for tests/torch_names.rs.

Each case has the shapes of its inputs, the interval that they lie in, and a function. With fixed weights u and w the table
holds the value y, the gradients g of sum(u y) by each input, and the gradients of sum(w g) by each input.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def spread(shape, low, high, k):
    """Numbers between low and high, far from each other; k is the number of the array."""
    count = math.prod(shape)
    turns = [(i + 1) * 0.6180339887498949 + (k + 1) * 0.4142135623730951 for i in range(count)]
    return torch.tensor([low + (high - low) * (t - math.floor(t)) for t in turns]).reshape(shape)


CASES = {}


def case(name, shapes, f, low=-1.0, high=1.0):
    assert name not in CASES, name
    CASES[name] = (shapes, low, high, f)


I = torch.tensor

# Shapes and indices.
case("index", [[3, 4]], lambda x: x[:, -2][:, None] * x[1])
case("slice", [[5, 4]], lambda x: x[-3:-1, 1:])
case("unbind", [[3, 4]], lambda x: x.unbind(1)[0] * x.unbind(-1)[3])
case("split", [[5, 2]], lambda x: x.split(2)[0] * x.split(2)[1] + x.split(2)[2])
case("split_sizes", [[2, 5]], lambda x: x.split([1, 3, 1], 1)[1] * x.split([1, 3, 1], 1)[2])
case("chunk", [[5, 2]], lambda x: x.chunk(4)[0] * x.chunk(4)[1] + x.chunk(4)[2])
case("flatten", [[2, 3, 2]], lambda x: x.flatten() * x.flatten(1).sum())
case("flatten_axes", [[2, 3, 2]], lambda x: x.flatten(1, 2).square())
case("reshape", [[2, 6]], lambda x: x.reshape(3, -1, 2).square())
case("roll", [[2, 5]], lambda x: x.roll(-2, 1) * x.roll(11, 1))
case("movedim", [[2, 3, 2]], lambda x: x.movedim(0, -1).square())
case("repeat_interleave", [[2, 3]], lambda x: x.repeat_interleave(2, 1).square())
case("masked_fill", [[2, 3]], lambda x: x.square().masked_fill(I([False, True, False]), 7.0))
case("diagonal", [[3, 4]], lambda x: x.diagonal(1)[:2] * x.diagonal(-1))
case("pick_axis", [[3, 4]], lambda x: x.square().gather(0, I([[2, 0, 2, 1]]))[0])
case("take", [[4, 2]], lambda x: F.embedding(I([[3, 0], [3, 1]]), x.square()))


def table():
    rows = {}
    for name, (shapes, low, high, f) in CASES.items():
        x = [spread(shape, low, high, k).requires_grad_() for k, shape in enumerate(shapes)]
        y = f(*x)
        loss = (y * spread(list(y.shape), -1.0, 1.0, 7)).sum()

        def gradients(z):
            if not z.requires_grad:
                return [torch.zeros_like(a) for a in x]
            grads = torch.autograd.grad(z, x, create_graph=True, allow_unused=True)
            return [torch.zeros_like(a) if g is None else g for a, g in zip(x, grads)]

        first = gradients(loss)
        second = gradients(sum((g * spread(list(g.shape), -1.0, 1.0, 11 + k)).sum() for k, g in enumerate(first)))
        numbers = lambda a: a.detach().flatten().tolist()
        rows[name] = {
            "shapes": shapes,
            "range": [low, high],
            "shape": list(y.shape),
            "value": numbers(y),
            "first": [numbers(g) for g in first],
            "second": [numbers(g) for g in second],
        }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    path = pathlib.Path(__file__).parent / "files" / "torch_names.json"
    path.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    table()
