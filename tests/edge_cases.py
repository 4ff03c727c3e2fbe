"""Writes the column "PyTorch" of src/edge_cases.md: what PyTorch gives for each row.

    python tests/edge_cases.py           rewrites the page
    python tests/edge_cases.py --check   fails if the page is not what this script writes

The page is the source: code and point of a row are read from it, and the functions below say what PyTorch calls the
code.
In float64 on the processor, or in float32 for the rows of single precision.
"""

import argparse
import json
import math
import pathlib
import re
import sys
import warnings

import torch
import torch.nn.functional as F

PAGE = pathlib.Path(__file__).parent.parent / "src" / "edge_cases.md"
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}
DIGITS = {torch.float64: 13, torch.float32: 7}


def first_of(function, **options):
    return lambda x: function(x, dim=0, **options)[0:1]


def labels(*classes):
    return torch.tensor(classes, dtype=torch.long)


def course_cross_entropy(x, t):
    p = torch.softmax(x, -1)
    return -(t * torch.log(p + 1e-16) + (1 - t) * torch.log(1 - p + 1e-16)).sum()


EXPRESSIONS = {
    "x.relu()": torch.relu,
    "x.abs()": torch.abs,
    "x.abs().sqrt()": lambda x: x.abs().sqrt(),
    "x.sign()": torch.sign,
    "x.clamp(-1.0, 1.0)": lambda x: x.clamp(-1, 1),
    "x.clamp(0.0, 1.0 / 0.0)": lambda x: x.clamp(0, float("inf")),
    "x.leaky_relu(0.25)": lambda x: F.leaky_relu(x, 0.25),
    "x.elu(0.5)": lambda x: F.elu(x, 0.5),
    "x.huber(1.0)": lambda x: F.huber_loss(x, torch.zeros_like(x), reduction="none"),
    "a.maximum(b)": torch.maximum,
    "a.minimum(b)": torch.minimum,
    "x.maximum(x)": lambda x: torch.maximum(x, x),
    "a.maximum(b).sqrt()": lambda a, b: torch.maximum(a, b).sqrt(),
    "x.relu6()": F.relu6,
    "x.hardtanh()": F.hardtanh,
    "x.hardswish()": F.hardswish,
    "x.selu()": F.selu,
    "x.celu(0.5)": lambda x: F.celu(x, 0.5),
    "x.prelu(0.25)": lambda x: F.prelu(x, torch.tensor(0.25, dtype=x.dtype)),
    "x.softsign()": F.softsign,
    "x.maximum(0.0)": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "x.clamp_min(0.0)": lambda x: torch.clamp_min(x, 0),
    "x.floor()": torch.floor,
    "x.round()": torch.round,
    "a.remainder(b)": torch.remainder,
    "a.xlogy(b)": torch.xlogy,
    "x.mish()": F.mish,
    "a.logaddexp(b)": torch.logaddexp,
    "x.lgamma()": torch.lgamma,
    "x.digamma()": torch.digamma,
    "x.cumprod(0)": lambda x: x.cumprod(0),
    "x.logcumsumexp(0)": lambda x: x.logcumsumexp(0),
    "x.cummax(0)": lambda x: x.cummax(0)[0],
    "x.cummin(0)": lambda x: x.cummin(0)[0],
    "x.lp_norm(3.0)": lambda x: torch.linalg.vector_norm(x, 3.0),
    "x.lp_norm(0.5)": lambda x: torch.linalg.vector_norm(x, 0.5),
    "a.cosine_similarity(b, 0, 1e-8)": lambda a, b: F.cosine_similarity(a, b, 0, 1e-8),
    "x.sort(0)": lambda x: x.sort(0)[0],
    "x.powf(0.0)": lambda x: x.pow(0.0),
    "x.powf(1.0)": lambda x: x.pow(1.0),
    "x.powf(2.0)": lambda x: x.pow(2.0),
    "x.powf(3.0)": lambda x: x.pow(3.0),
    "x.powf(0.5)": lambda x: x.pow(0.5),
    "x.powf(1.5)": lambda x: x.pow(1.5),
    "x.powf(-1.0)": lambda x: x.pow(-1.0),
    "a.pow(b)": torch.pow,
    "x.square()": torch.square,
    "x.sqrt()": torch.sqrt,
    "x.square().sqrt()": lambda x: x.square().sqrt(),
    "x.rsqrt()": torch.rsqrt,
    "x.recip()": torch.reciprocal,
    "a / b": lambda a, b: a / b,
    "a * b": lambda a, b: a * b,
    "x / 0.0": lambda x: x / 0.0,
    "1.0 / x": lambda x: 1.0 / x,
    "x - x": lambda x: x - x,
    "x * 0.0": lambda x: x * 0.0,
    "x.ln()": torch.log,
    "x.log2()": torch.log2,
    "x.log10()": torch.log10,
    "x.ln_1p()": torch.log1p,
    "x * x.ln()": lambda x: x * x.log(),
    "x.exp()": torch.exp,
    "x.exp_m1()": torch.expm1,
    "x.sigmoid()": torch.sigmoid,
    "x.tanh()": torch.tanh,
    "x.softplus()": F.softplus,
    "x.log_sigmoid()": F.logsigmoid,
    "x.gelu()": F.gelu,
    "x.gelu_tanh()": lambda x: F.gelu(x, approximate="tanh"),
    "x.silu()": F.silu,
    "x.erf()": torch.erf,
    "x.erfc()": torch.erfc,
    "x.sin()": torch.sin,
    "x.asin()": torch.asin,
    "x.acos()": torch.acos,
    "x.atan()": torch.atan,
    "x.acosh()": torch.acosh,
    "x.atanh()": torch.atanh,
    "a.atan2(b)": torch.atan2,
    "a.hypot(b)": torch.hypot,
    "a.hypot(b).sqrt()": lambda a, b: torch.hypot(a, b).sqrt(),
    "x.max()": torch.amax,
    "x.max_axes([1], No)": lambda x: x.amax(1),
    "x.max().sqrt()": lambda x: x.amax().sqrt(),
    "x.min()": torch.amin,
    "x.sum()": torch.sum,
    "x.mean()": torch.mean,
    "x.prod()": torch.prod,
    "x.norm()": torch.linalg.vector_norm,
    "x.norm().sqrt()": lambda x: torch.linalg.vector_norm(x).sqrt(),
    "x.logsumexp()": lambda x: torch.logsumexp(x, 0),
    "x.var(0)": lambda x: x.var(correction=0),
    "x.var(1)": lambda x: x.var(correction=1),
    "x.var(3)": lambda x: x.var(correction=3),
    "x.std(0)": lambda x: x.std(correction=0),
    "x.std(1)": lambda x: x.std(correction=1),
    "x.cumsum(0)": lambda x: x.cumsum(0),
    "x.softmax(0).slice(0, 0..1)": first_of(torch.softmax),
    "x.log_softmax(0).slice(0, 0..1)": first_of(torch.log_softmax),
    "x.softmax(0).ln().slice(0, 0..1)": lambda x: x.softmax(0).log()[0:1],
    "x.softmax(1)": lambda x: x.softmax(1),
    "Var::select(&array![true, false], a, b)": lambda a, b: torch.where(torch.tensor([True, False]), a, b),
    "Var::select(&array![true], a, b).sqrt()": lambda a, b: torch.where(torch.tensor([True]), a, b).sqrt(),
    "Var::select(&array![true], a, b.ln())": lambda a, b: torch.where(torch.tensor([True]), a, b.log()),
    "x.index_select(0, &[0, 0, 2])": lambda x: x.index_select(0, labels(0, 0, 2)),
    "x.index_select(0, &[])": lambda x: x.index_select(0, labels()),
    "x.index_select(0, &[2])": lambda x: x.index_select(0, labels(2)),
    "x.gather(0, &array![0, 0, 2])": lambda x: x.gather(0, labels(0, 0, 2)),
    "a.scatter_add(0, &array![1, 1], b)": lambda a, b: a.scatter_add(0, labels(1, 1), b),
    "x.pick(&[1, 1])": lambda x: x.gather(1, labels(1, 1)[:, None])[:, 0],
    "x.slice(0, 1..1)": lambda x: x[1:1],
    "x.tril(0)": torch.tril,
    "x.triu(0)": torch.triu,
    "x.pad([(1, 0)], 0.0)": lambda x: F.pad(x, (1, 0)),
    "x.tile([3])": lambda x: x.tile(3),
    "Var::concat(&[a, b], 0)": lambda a, b: torch.cat([a, b]),
    "x.reshape([0])": lambda x: x.reshape(0),
    "x.mse_loss(t, Sum)": lambda x, t: F.mse_loss(x, t, reduction="sum"),
    "x.mse_loss(t, Mean)": F.mse_loss,
    "x.l1_loss(t, Sum)": lambda x, t: F.l1_loss(x, t, reduction="sum"),
    "x.l1_loss(t, Sum).sqrt()": lambda x, t: F.l1_loss(x, t, reduction="sum").sqrt(),
    "x.huber_loss(t, 1.0, Sum)": lambda x, t: F.huber_loss(x, t, reduction="sum"),
    "x.hinge_loss(t, Sum)": lambda x, t: F.relu(1 - t * x).sum(),
    "x.perceptron_loss(t, Sum)": lambda x, t: F.relu(-t * x).sum(),
    "x.cross_entropy_labels(&[0], Sum)": lambda x: F.cross_entropy(x, labels(0), reduction="sum"),
    "x.cross_entropy_labels(&[1], Sum)": lambda x: F.cross_entropy(x, labels(1), reduction="sum"),
    "x.cross_entropy_labels(&[2], Sum)": lambda x: F.cross_entropy(x, labels(2), reduction="sum"),
    "x.cross_entropy_labels(&[], Mean)": lambda x: F.cross_entropy(x, labels()),
    "x.cross_entropy(t, Sum)": lambda x, t: F.cross_entropy(x, t, reduction="sum"),
    "x.nll_loss(&[1], Sum)": lambda x: F.nll_loss(x, labels(1), reduction="sum"),
    "x.binary_cross_entropy(t, Sum)": lambda x, t: F.binary_cross_entropy(x, t, reduction="sum"),
    "x.binary_cross_entropy_with_logits(t, Sum)": lambda x, t: F.binary_cross_entropy_with_logits(
        x, t, reduction="sum"
    ),
    "x.kl_div(t, Sum)": lambda x, t: F.kl_div(x, t, reduction="sum"),
    "x.kl_div(b, Sum)": lambda x, b: F.kl_div(x, b, reduction="sum"),
    "x.course_cross_entropy(t, Sum)": course_cross_entropy,
    "x.max_pool2d(2, 1)": lambda x: F.max_pool2d(x, 2, 1),
    "x.avg_pool2d(2, 1)": lambda x: F.avg_pool2d(x, 2, 1),
    "x.avg_pool2d(3, 1)": lambda x: F.avg_pool2d(x, 3, 1),
    "x.conv2d(w, None, 1, 0)": F.conv2d,
    "x.layer_norm(w, b, 1e-5)": lambda x, w, b: F.layer_norm(x, w.shape, w, b, 1e-5),
    "x.layer_norm(w, b, 0.0)": lambda x, w, b: F.layer_norm(x, w.shape, w, b, 0.0),
    "x.batch_norm(w, b, 1e-5)": lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, 1e-5),
    "a.matmul(b)": torch.matmul,
    "x.det()": torch.det,
    "x.inv()": torch.linalg.inv,
    "a.solve(b)": torch.linalg.solve,
    "x.logdet()": torch.logdet,
    "x.cholesky()": torch.linalg.cholesky,
    "x.trace()": torch.trace,
    "x.eigvalsh()": torch.linalg.eigvalsh,
    "x.eigvalsh().square()": lambda x: torch.linalg.eigvalsh(x).square(),
    "x.eigh().1.slice(0, 0..1)": lambda x: torch.linalg.eigh(x)[1][0:1],
    "x.qr().1": lambda x: torch.linalg.qr(x)[1],
    "x.svdvals()": torch.linalg.svdvals,
    "a + b": lambda a, b: a + b,
    "x.sum_axes([], No)": lambda x: x.sum([]),
    "x.sum_axes([0], No)": lambda x: x.sum([0]),
    "x.sum_axes([0, 0], No)": lambda x: x.sum([0, 0]),
    "x.broadcast_to([2, 0])": lambda x: x.broadcast_to(2, 0),
}


def after(*backward):
    """Runs backward passes of functions of all operands one after the other, then returns the first gradient."""

    def run(*operands):
        for function in backward:
            function(*operands).backward()
        return operands[0].grad

    return run


def cleared(again):
    def run(x):
        x.square().backward()
        x.grad = None
        if again:
            x.square().backward()
        return x.grad

    return run


def twice(x):
    y = x.square()
    y.backward()
    y.backward()
    return x.grad


def grad_of_other(function):
    def run(x, a):
        function(x, a).sum().backward()
        return a.grad

    return run


def square_with(*seed):
    return lambda x: seeded(x.square(), x, seed[0])


def seeded(y, x, seed):
    y.backward(torch.tensor(seed, dtype=x.dtype))
    return x.grad


def constant_grad(x):
    c = torch.tensor(3.0, dtype=x.dtype)
    (c * x).backward()
    return c.grad


def both_grads(x, t):
    (x * t).backward()
    return x.grad, t.grad


def grad_of_intermediate(x):
    y = x.square()
    y.backward()
    return y.grad


def wrt_intermediate(x):
    y = x.square()
    return torch.autograd.grad(y * 2, y)[0]


def grads_only(x):
    torch.autograd.grad(x.square(), x)
    return x.grad


def backward_of_gradient(x):
    torch.autograd.grad(x.square(), x, create_graph=True)[0].backward()
    return x.grad


def penalty(x):
    slope = torch.autograd.grad(torch.linalg.vector_norm(x), x, create_graph=True)[0]
    slope.square().sum().backward()
    return x.grad


def linear_twice(x):
    first = torch.autograd.grad(x * 2, x, create_graph=True)[0]
    return torch.autograd.grad(first, x, allow_unused=True)[0] is None


def updated_parameter():
    w = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    y = w.square()
    with torch.no_grad():
        w.copy_(torch.tensor([5.0]))
    y.sum().backward()
    return w.grad


NOTHING = object()

PROGRAMS = {
    "(x * x).backward(); x.grad()": after(lambda x: x * x),
    "let y = x.square(); (y + y).backward(); x.grad()": after(lambda x: x.square() + x.square()),
    "let y = x.square(); y.backward(); y.backward(); x.grad()": twice,
    "x.square().backward(); tape.zero_grad(); x.grad()": cleared(False),
    "x.square().backward(); tape.zero_grad(); x.square().backward(); x.grad()": cleared(True),
    "x.square().backward(); a.grad()": grad_of_other(lambda x, a: x.square()),
    "(x + a * 0.0).backward(); a.grad()": grad_of_other(lambda x, a: x + a * 0.0),
    "let y = Var::select(&array![true], x, a); y.sum().backward(); a.grad()": grad_of_other(
        lambda x, a: torch.where(torch.tensor([True]), x, a)
    ),
    "x.square().grads_or_none(&[x, a])[1].is_none()": lambda x, a: torch.autograd.grad(
        x.square(), [x, a], allow_unused=True
    )[1]
    is None,
    "x.square().grad_wrt(a).item()": lambda x, a: torch.autograd.grad(x.square(), a)[0].item(),
    "x.square().backward()": after(lambda x: x.square()),
    "x.square().backward(); x.grad()": after(lambda x: x.square()),
    "x.square().sum().backward(); x.grad()": after(lambda x: x.square().sum()),
    "x.square().backward_with(array![1.0, 10.0]); x.grad()": square_with([1.0, 10.0]),
    "x.square().backward_with(1.0)": square_with(1.0),
    "x.square().backward_with(array![0.0, NAN]); x.grad()": square_with([0.0, math.nan]),
    "x.relu().backward_with(array![INF, 1.0]); x.grad()": lambda x: seeded(x.relu(), x, [math.inf, 1.0]),
    "let slope = x.norm().grad_wrt(x); slope.square().sum().backward(); x.grad()": penalty,
    "x.sqrt().backward_with(array![0.0]); x.grad()": lambda x: seeded(x.sqrt(), x, [0.0]),
    "tape.constant(3.0).square().backward()": lambda: torch.tensor(3.0).square().backward(),
    "let c = tape.constant(3.0); (c * x).backward(); c.grad()": constant_grad,
    "(x * t).backward(); (x.grad(), t.grad())": both_grads,
    "x.backward(); x.grad()": after(lambda x: x),
    "let y = x.square(); y.backward(); y.grad()": grad_of_intermediate,
    "let y = x.square(); (y * 2.0).grad_wrt(y).item()": wrt_intermediate,
    "let _ = x.square().grad_wrt(x); x.grad()": grads_only,
    "let first = x.square().grad_wrt(x); first.backward(); x.grad()": backward_of_gradient,
    "let first = (x * 2.0).grad_wrt(x); first.grads_or_none(&[x])[0].is_none()": linear_twice,
    "x.item()": lambda x: x.item(),
    "let other = Tape::new(); (x + other.leaf(2.0)).item()": NOTHING,
    "let w = Param::new(array![3.0]); let y = tape.param(&w).square(); w.set_value(array![5.0]); "
    "y.sum().backward(); w.grad()": updated_parameter,
}


def parse(text, dtype):
    if text.startswith("zeros("):
        return torch.zeros(tuple(int(n) for n in re.findall(r"\d+", text)), dtype=dtype)
    # As JSON but for two names; every number is a float, so that -0 keeps its sign.
    text = text.replace("inf", "Infinity")
    return torch.tensor(json.loads(text, parse_int=float), dtype=dtype)


def operands(point, dtype):
    result = {}
    for part in filter(None, (part.strip() for part in point.split(";"))):
        name, text = part.split(" = ")
        result[name] = parse(text, dtype).requires_grad_(name != "t")
    return result


def number(x, digits):
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    x = float(f"{x:.{digits - 1}e}")
    if x == 0:
        return "0"
    if 1e-4 <= abs(x) < 1e6:
        return str(int(x)) if x == int(x) else repr(x)
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def text(value, digits=13):
    if value is None:
        return "None"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return number(value, digits)
    if isinstance(value, tuple):
        return "(" + ", ".join(text(part, digits) for part in value) + ")"
    if value.dim() == 0:
        return number(value.item(), digits)
    if value.dim() > 1 and value.numel() == 0:
        return f"zeros({', '.join(map(str, value.shape))})"
    return "[" + ", ".join(text(part, digits) for part in value) + "]"


def equal(ours, theirs, tolerance):
    """Compares two cells: the words between the numbers, and the numbers."""
    pattern = r"-?(?:inf|\d+(?:\.\d+)?(?:e-?\d+)?)|NaN"
    if re.sub(pattern, "#", ours) != re.sub(pattern, "#", theirs):
        return False
    for a, b in zip(re.findall(pattern, ours), re.findall(pattern, theirs)):
        a, b = float(a), float(b)
        near = a == b or (math.isfinite(a) and math.isfinite(b) and b != 0 and abs(a / b - 1) <= tolerance)
        if not near and not (math.isnan(a) and math.isnan(b)):
            return False
    return True


def of_all(gradients, digits):
    if len(gradients) == 1:
        return text(next(iter(gradients.values())), digits)
    return ", ".join(f"{name}: {text(gradient, digits)}" for name, gradient in gradients.items())


def expression(code, at, results):
    """Returns what PyTorch gives where the page says something else."""
    dtype = torch.float32 if "f32" in at else torch.float64
    tolerance, digits = TOLERANCE[dtype], DIGITS[dtype]
    point = operands(re.search("`(.*)`", at).group(1), dtype)
    leaves = {name: x for name, x in point.items() if name != "t"}
    value, gradient, second = results
    try:
        y = EXPRESSIONS[code](*point.values())
        # A backward pass as most programs run it: PyTorch has other formulas for some that are differentiated again.
        first = torch.autograd.grad(y.sum(), leaves.values(), allow_unused=True)
        found = {"value": text(y.detach(), digits), "gradient": of_all(dict(zip(leaves, first)), digits)}
        if second:
            y = EXPRESSIONS[code](*point.values())
            first = torch.autograd.grad(y.sum(), leaves.values(), create_graph=True, allow_unused=True)
            total = sum(g.sum() for g in first if g is not None)
            seconds = [None] * len(leaves)
            if total.requires_grad:
                seconds = torch.autograd.grad(total, leaves.values(), allow_unused=True)
            found["second derivative"] = of_all(dict(zip(leaves, seconds)), digits)
    except (RuntimeError, IndexError, ValueError):
        return "same" if value.startswith("panics") else "raises"
    page = {"value": value, "gradient": gradient, "second derivative": second}
    differs = [name for name in found if not equal(page[name], found[name], tolerance)]
    return ", ".join(f"{name} `{found[name]}`" for name in differs) or "same"


def program(code, at, results):
    run = PROGRAMS[code]
    if run is NOTHING:
        return "—"
    try:
        found = text(run(*operands(at.strip("`"), torch.float64).values()))
    except (RuntimeError, IndexError, ValueError):
        return "same" if results[0].startswith("panics") else "raises"
    return "same" if equal(results[0], found, 1e-12) else f"`{found}`"


def column(line):
    """Returns a line of the page with PyTorch's cell."""
    if not line.startswith("| `"):
        return line
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    code, at, *results, _, why = cells
    code, results = code.strip("`"), [result.strip("`") for result in results]
    says = (program if len(results) == 1 else expression)(code, at, results)
    cells[-2:] = [says, why]
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="change nothing, fail if something would change")
    check = arguments.parse_args().check
    warnings.simplefilter("ignore")
    page = PAGE.read_text(encoding="utf-8")
    written = "\n".join(column(line) for line in page.split("\n"))
    if not check:
        PAGE.write_text(written, encoding="utf-8")
    elif written != page:
        sys.exit(f"{PAGE.name} is not what PyTorch {torch.__version__} gives: run this script without --check")


if __name__ == "__main__":
    main()
