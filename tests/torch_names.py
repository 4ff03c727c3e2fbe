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


class Digamma(torch.autograd.Function):
    """torch.digamma with the zeta function in its derivative: torch.polygamma(1, x) has 9 digits."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.digamma(x)

    @staticmethod
    def backward(ctx, g):
        return g * torch.special.zeta(2.0, ctx.saved_tensors[0])


class Lgamma(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.lgamma(x)

    @staticmethod
    def backward(ctx, g):
        return g * Digamma.apply(ctx.saved_tensors[0])


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

# Elementwise functions.
case("selu", [[2, 3]], F.selu, -2, 2)
case("celu", [[2, 3]], lambda x: F.celu(x, 1.5), -2, 2)
case("mish", [[2, 3]], F.mish, -4, 4)
case("softsign", [[2, 3]], F.softsign, -2, 2)
case("hardswish", [[2, 6]], F.hardswish, -5, 5)
case("relu6", [[2, 3]], F.relu6, -4, 10)
case("hardtanh", [[2, 3]], F.hardtanh, -2, 2)
case("softplus_beta", [[2, 3]], lambda x: F.softplus(x, beta=2.5), -2, 2)
case("prelu", [[2, 3, 2], [3]], F.prelu)
case("glu", [[2, 6]], F.glu)
case("exp2", [[2, 3]], torch.exp2, -3, 3)
case("floor", [[2, 3]], lambda x: torch.floor(x) * x, -3, 3)
case("ceil", [[2, 3]], lambda x: torch.ceil(x) * x, -3, 3)
case("round", [[2, 3]], lambda x: torch.round(x) * x, -3, 3)
case("lgamma", [[3, 4]], Lgamma.apply, 0.1, 6)
case("digamma", [[3, 4]], Digamma.apply, 0.1, 6)
case("remainder", [[3, 4], [4]], torch.remainder, -4, 4)
case("xlogy", [[2, 3], [3]], torch.xlogy, 0.1, 2)
case("logaddexp", [[2, 3], [3]], torch.logaddexp, -20, 20)
case("lerp", [[2, 3], [3], [2, 1]], torch.lerp)
case("maximum with a number", [[2, 3]], lambda x: torch.maximum(x, torch.tensor(0.2)) * x)
case("minimum with a number", [[2, 3]], lambda x: torch.minimum(x, torch.tensor(0.2)) * x)
case("clamp_min", [[2, 3]], lambda x: torch.clamp_min(x, 0.2) * x)
case("clamp_max", [[2, 3]], lambda x: torch.clamp_max(x, 0.2) * x)
case("exponent_of", [[2, 3]], lambda x: torch.pow(2.5, x), -2, 2)
case("operators that assign", [[2, 3], [3]], lambda x, y: ((x * 2 + y - 1) * x / y - y) / 3, 0.5, 2)
case("sum of an iterator", [[2, 3]], lambda x: sum([x, x.square(), x.exp()]) * x * x.exp())

# Reductions and linear algebra.
case("sum_axis", [[2, 3]], lambda x: x.sum(1).square())
case("mean_axis", [[2, 3]], lambda x: x.mean(0).square())
case("max_axis", [[2, 3]], lambda x: x.amax(1).square())
case("min_axis", [[2, 3]], lambda x: x.amin(-1).square())
case("prod_axis", [[2, 3]], lambda x: x.prod(1))
case("norm_axis", [[2, 3]], lambda x: torch.linalg.vector_norm(x, dim=1))
case("logsumexp_axis", [[2, 3]], lambda x: x.logsumexp(0))
case("var_axis", [[2, 3]], lambda x: x.var(1))
case("std_axis", [[2, 3]], lambda x: x.std(1, correction=0))
case("cumprod", [[2, 7]], lambda x: x.cumprod(1))
case("cumprod with zeros", [[2, 5]], lambda x: (x * I([1.0, 1.0, 0.0, 1.0, 1.0])).cumprod(1))
case("logcumsumexp", [[5, 2]], lambda x: x.logcumsumexp(0), -20, 20)
case("cummax", [[2, 7]], lambda x: x.cummax(1)[0] * x)
case("cummin", [[7, 2]], lambda x: x.cummin(0)[0] * x)
case("lp_norm", [[2, 3]], lambda x: torch.linalg.vector_norm(x, 2.5))
case("lp_norm_axes", [[2, 3, 2]], lambda x: torch.linalg.vector_norm(x, 3.0, dim=(0, 2), keepdim=True) * x)
case("lp_norm 1", [[2, 3]], lambda x: torch.linalg.vector_norm(x, 1.0).square())
case("lp_norm infinity", [[2, 3]], lambda x: torch.linalg.vector_norm(x, math.inf, dim=1).square())
case("cdist", [[2, 3, 2], [4, 2]], torch.cdist)
case("cdist 3", [[3, 2], [4, 2]], lambda x, y: torch.linalg.vector_norm(x[:, None] - y, 3.0, dim=-1))
case("cosine_similarity", [[2, 3], [3]], lambda x, y: F.cosine_similarity(x, y, dim=-1, eps=1e-8))
case("outer", [[2], [3]], torch.outer)
case("slogdet", [[2, 3, 3]], lambda x: torch.linalg.slogdet(x)[0] * torch.linalg.slogdet(x)[1])
case("sort", [[2, 5]], lambda x: x.sort(1)[0] * I([1.0, 2.0, 3.0, 4.0, 5.0]) * x)
case("topk", [[5, 2]], lambda x: x.topk(3, 0)[0].square())
case("argmax", [[2, 5]], lambda x: x.square().gather(1, x.argmax(1)[:, None])[:, 0])
case("argmin", [[5, 2]], lambda x: x.square().gather(0, x.argmin(0)[None])[0])
EINSUMS = {
    "ij,jk->ik": [[2, 3], [3, 4]],
    "ij,jk": [[2, 3], [3, 2]],
    "ba": [[2, 3]],
    "bij,bjk->bik": [[2, 3, 2], [2, 2, 3]],
    "bij,bkj->kbi": [[2, 3, 2], [2, 2, 2]],
    "i,j->ij": [[2], [3]],
    "ij,ij->": [[2, 3], [2, 3]],
    "ii->i": [[3, 3]],
    "ii": [[3, 3]],
    "iji->j": [[2, 3, 2]],
    "ij,j->i": [[2, 3], [3]],
    "ij->j": [[2, 3]],
    "i,ij,j->": [[2], [2, 3], [3]],
    "ab,bc,cd,de->ae": [[2, 3], [3, 2], [2, 4], [4, 2]],
    "...ij,...jk->...ik": [[2, 2, 3], [3, 2]],
    "...i->...": [[2, 3]],
    "...ij->...ji": [[2, 2, 3]],
    "b...,b->b...": [[2, 3], [2]],
    "ij,kl,ij->lk": [[2, 3], [2, 2], [2, 3]],
    "bhid,bhjd->bhij": [[2, 2, 3, 2], [2, 2, 2, 2]],
    "ij,jk,ik->ik": [[1, 3], [3, 2], [2, 2]],
    ",ij->ji": [[], [2, 3]],
}
for subscripts, shapes in EINSUMS.items():
    case("einsum " + subscripts, shapes, lambda *x, subscripts=subscripts: torch.einsum(subscripts, *x))

# Losses.
LABELS, IGNORED, WEIGHTS = I([2, 0, 1]), I([2, 9, 1]), I([0.5, 2.0, 1.5, 0.0])
for reduction in ["mean", "sum", "none"]:
    of = {"reduction": reduction}
    case("mse_loss " + reduction, [[2, 3], [2, 3]], lambda x, t, of=of: F.mse_loss(x, t, **of))
    case("l1_loss " + reduction, [[2, 3], [2, 3]], lambda x, t, of=of: F.l1_loss(x, t, **of))
    case("huber_loss " + reduction, [[2, 3], [2, 3]], lambda x, t, of=of: F.huber_loss(x, t, delta=0.7, **of))
    case("smooth_l1_loss " + reduction, [[2, 3], [2, 3]], lambda x, t, of=of: F.smooth_l1_loss(x, t, beta=0.7, **of))
    case("cross_entropy " + reduction, [[2, 3], [2, 3]], lambda x, t, of=of: F.cross_entropy(x, t.softmax(1), **of))
    case("cross_entropy_labels " + reduction, [[3, 4]], lambda x, of=of: F.cross_entropy(x, LABELS, **of))
    case("nll_loss " + reduction, [[3, 4]], lambda x, of=of: F.nll_loss(x.square(), LABELS, **of))
    case(
        "binary_cross_entropy " + reduction,
        [[2, 3], [2, 3]],
        lambda x, t, of=of: F.binary_cross_entropy(x.sigmoid(), t.sigmoid(), **of),
    )
    case(
        "binary_cross_entropy_with_logits " + reduction,
        [[2, 3], [2, 3]],
        lambda x, t, of=of: F.binary_cross_entropy_with_logits(x, t.sigmoid(), **of),
    )
    case(
        "weighted_binary_cross_entropy_with_logits " + reduction,
        [[2, 3], [2, 3]],
        lambda x, t, of=of: F.binary_cross_entropy_with_logits(x, t.sigmoid(), pos_weight=I([0.5, 2.0, 3.0]), **of),
    )
    case("kl_div " + reduction, [[2, 3], [2, 3]], lambda x, t, of=of: F.kl_div(x.log_softmax(1), t.softmax(1), **of))
    case(
        "cross_entropy_with weights " + reduction, [[3, 4]], lambda x, of=of: F.cross_entropy(x, LABELS, WEIGHTS, **of)
    )
    case(
        "cross_entropy_with everything " + reduction,
        [[3, 4]],
        lambda x, of=of: F.cross_entropy(x, IGNORED, WEIGHTS, ignore_index=9, label_smoothing=0.3, **of),
    )
case("cross_entropy_with an ignored label", [[3, 4]], lambda x: F.cross_entropy(x, IGNORED, ignore_index=9))
case("cross_entropy_with smoothing", [[3, 4]], lambda x: F.cross_entropy(x, LABELS, label_smoothing=0.3))
case("smooth_l1_loss 0", [[2, 3], [2, 3]], lambda x, t: F.smooth_l1_loss(x, t, beta=0.0))


def table(file):
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
        numbers = lambda a: (a.detach() + torch.zeros(a.shape)).flatten().tolist()  # a tensor of zeros may hold none
        rows[name] = {
            "shapes": shapes,
            "range": [low, high],
            "shape": list(y.shape),
            "value": numbers(y),
            "first": [numbers(g) for g in first],
            "second": [numbers(g) for g in second],
        }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    path = pathlib.Path(__file__).parent / "files" / file
    path.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    table("torch_names.json")
