"""Writes files/gradbench.jsonl: small inputs of GradBench's evaluations, and the answers by PyTorch in double precision.

    python tests/gradbench.py

The formulas are those of the evaluations' descriptions, written as loops over scalars where the example has arrays.
"""

import json
import math
import random
from pathlib import Path

import torch
from torch.autograd.functional import hessian, jacobian

torch.set_default_dtype(torch.float64)
draw = random.Random(1)
lines = []


def numbers(*shape, scale=1.0):
    if not shape:
        return round(draw.uniform(-scale, scale), 6)
    return [numbers(*shape[1:], scale=scale) for _ in range(shape[0])]


def case(module, function, given, output):
    output = output.tolist() if isinstance(output, torch.Tensor) else output
    if isinstance(given, dict):
        given = given | {"min_runs": 2, "min_seconds": 0.0}
    lines.append({"module": module, "function": function, "input": given, "output": output})


def gradient(f, *inputs):
    inputs = [torch.tensor(x).requires_grad_() for x in inputs]
    return torch.autograd.grad(f(*inputs), inputs, materialize_grads=True)


def hello():
    case("hello", "square", 3.0, 9.0)
    case("hello", "double", 3.0, 6.0)


def det():
    for ell in (1, 2, 4):
        a = numbers(ell * ell)
        f = lambda a: torch.linalg.det(a.reshape(ell, ell))
        case("det", "primal", {"A": a, "ell": ell}, f(torch.tensor(a)))
        case("det", "gradient", {"A": a, "ell": ell}, gradient(f, a)[0])


def llsq():
    x, n = numbers(3), 5

    def f(x):
        total = 0
        for i in range(n):
            t = -1 + 2 * i / (n - 1)
            total = total + ((t > 0) - (t < 0) - sum(x[j] * t**j for j in range(len(x)))) ** 2
        return total / 2

    case("llsq", "primal", {"x": x, "n": n}, f(torch.tensor(x)))
    case("llsq", "gradient", {"x": x, "n": n}, gradient(f, x)[0])


def lse():
    for x in (numbers(7), [1000.0, 1000.0, 999.0]):
        f = lambda x: torch.logsumexp(x, 0)
        case("lse", "primal", {"x": x}, f(torch.tensor(x)))
        case("lse", "gradient", {"x": x}, gradient(f, x)[0])


def ode():
    for x, s in ((numbers(3), 4), (numbers(1), 1)):

        def f(x):
            def slope(y):
                return torch.stack([x[i] * (y[i - 1] if i else 1.0) for i in range(len(x))])

            y, h = torch.zeros(len(x)), 2 / s
            for _ in range(s):
                k1 = slope(y)
                k2 = slope(y + h / 2 * k1)
                k3 = slope(y + h / 2 * k2)
                k4 = slope(y + h * k3)
                y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            return y

        case("ode", "primal", {"x": x, "s": s}, f(torch.tensor(x)))
        case("ode", "gradient", {"x": x, "s": s}, gradient(lambda x: f(x)[-1], x)[0])


def gmm():
    for d, k, n, m, gamma in ((3, 2, 4, 2, 1.5), (1, 1, 2, 0, 1.0)):
        x = numbers(n, d)
        given = {"d": d, "k": k, "n": n, "x": x, "m": m, "gamma": gamma}
        parameters = {"alpha": numbers(k), "mu": numbers(k, d), "q": numbers(k, d), "l": numbers(k, d * (d - 1) // 2)}

        def f(alpha, mu, q, l):
            roots = []
            for c in range(k):
                root, below = torch.diag(q[c].exp()), iter(range(d * (d - 1) // 2))
                for column in range(d):
                    for row in range(column + 1, d):
                        place = torch.zeros(d, d)
                        place[row, column] = 1
                        root = root + place * l[c, next(below)]
                roots.append(root)
            total = -n * (d / 2 * math.log(2 * math.pi) + torch.logsumexp(alpha, 0))
            for point in torch.tensor(x):
                beta = [alpha[c] + q[c].sum() - ((roots[c] @ (point - mu[c])) ** 2).sum() / 2 for c in range(k)]
                total = total + torch.logsumexp(torch.stack(beta), 0)
            nu = d + m + 1
            gamma_d = math.log(math.pi) * d * (d - 1) / 4 + sum(math.lgamma((nu - j) / 2) for j in range(d))
            total = total + k * (nu * d * math.log(gamma / math.sqrt(2)) - gamma_d)
            return total - gamma**2 / 2 * sum((root**2).sum() for root in roots) + m * q.sum()

        values = list(parameters.values())
        case("gmm", "objective", given | parameters, f(*map(torch.tensor, values)))
        gradients = gradient(f, *values)
        case("gmm", "jacobian", given | parameters, {name: g.tolist() for name, g in zip(parameters, gradients)})


def kmeans():
    points, centroids = numbers(9, 2), numbers(3, 2)

    def f(c):
        return sum(min(((c[j] - p) ** 2).sum() for j in range(len(c))) for p in torch.tensor(points))

    given, c = {"points": points, "centroids": centroids}, torch.tensor(centroids)
    case("kmeans", "cost", given, f(c))
    second = hessian(f, c).reshape(c.numel(), c.numel())
    case("kmeans", "dir", given, gradient(f, centroids)[0] / second.diag().reshape(c.shape))


def lstm():
    for layers, b, c in ((2, 3, 5), (1, 2, 2)):
        given = {
            "main_params": numbers(2 * layers, 4 * b),
            "extra_params": numbers(3, b),
            "state": numbers(2 * layers, b),
            "sequence": numbers(c, b),
        }
        sequence = torch.tensor(given["sequence"])

        def f(main, extra):
            state, total = list(torch.tensor(given["state"])), 0
            for t in range(c - 1):
                x = sequence[t] * extra[0]
                for j in range(layers):
                    gates = [torch.chunk(main[row], 4) for row in (2 * j, 2 * j + 1)]
                    gate = lambda k, x: x * gates[0][k] + gates[1][k]
                    hidden, cell = state[2 * j : 2 * j + 2]
                    cell = cell * torch.sigmoid(gate(0, x)) + torch.sigmoid(gate(1, hidden)) * torch.tanh(gate(3, hidden))
                    x = torch.sigmoid(gate(2, x)) * torch.tanh(cell)
                    state[2 * j : 2 * j + 2] = x, cell
                y = x * extra[1] + extra[2]
                total = total + (sequence[t + 1] * (y - torch.log(2 + y.exp().sum()))).sum()
            return -total / ((c - 1) * b)

        weights = given["main_params"], given["extra_params"]
        case("lstm", "objective", given, f(*map(torch.tensor, weights)))
        case("lstm", "jacobian", given, torch.cat([g.flatten() for g in gradient(f, *weights)]))


def rodrigues(r, x):
    square = (r * r).sum()
    if square == 0:
        return x + torch.linalg.cross(r, x)
    angle = square.sqrt()
    axis = r / angle
    along = axis * (axis * x).sum() * (1 - angle.cos())
    return x * angle.cos() + torch.linalg.cross(axis, x) * angle.sin() + along


def ba():
    for still in (False, True):
        n, m, p = 2, 3, 4
        cam, x, w, feat = numbers(11), numbers(3), numbers(), numbers(2)
        if still:
            cam[:3] = [0.0, 0.0, 0.0]

        def f(v):
            cam, x, w = v[:11], v[11:14], v[14]
            seen = rodrigues(cam[:3], x - cam[3:6])
            u = seen[:2] / seen[2]
            square = (u * u).sum()
            u = u * (1 + cam[9] * square + cam[10] * square**2)
            return torch.cat([w * (cam[6] * u + cam[7:9] - torch.tensor(feat)), (1 - w * w)[None]])

        v = torch.tensor(cam + x + [w])
        given = {"n": n, "m": m, "p": p, "cam": cam, "x": x, "w": w, "feat": feat}
        errors, by = f(v).tolist(), jacobian(f, v).tolist()
        errors = {
            "reproj_error": {"elements": errors[:2], "repeated": p},
            "w_err": {"element": errors[2], "repeated": p},
        }
        case("ba", "objective", given, errors)
        rows, cols, vals = [0], [], []
        for i in range(p):
            weight = 11 * n + 3 * m + i
            of = [11 * (i % n) + k for k in range(11)] + [11 * n + 3 * (i % m) + k for k in range(3)] + [weight]
            for error in range(2):
                cols, vals = cols + of, vals + by[error]
                rows.append(len(cols))
        for i in range(p):
            cols, vals = cols + [11 * n + 3 * m + i], vals + [by[2][14]]
            rows.append(len(cols))
        shown = lambda values: values[:30] + values[-1:]
        case("ba", "jacobian", given, {"rows": shown(rows), "cols": shown(cols), "vals": shown(vals)})


def ht():
    bones, vertices, points = 22, 5, 3
    parents = [-1, 0] + [0 if k % 4 == 0 else k + 1 for k in range(20)]
    model = {
        "bone_count": bones,
        "bone_names": [str(bone) for bone in range(bones)],
        "parents": parents,
        "base_relatives": [matrix[:3] + [[0.0, 0.0, 0.0, 1.0]] for matrix in numbers(bones, 4, 4, scale=0.7)],
        "inverse_base_absolutes": [matrix[:3] + [[0.0, 0.0, 0.0, 1.0]] for matrix in numbers(bones, 4, 4)],
        "base_positions": [row[:3] + [1.0] for row in numbers(vertices, 4)],
        "weights": numbers(vertices, bones, scale=0.5),
        "triangles": [[0, 1, 2], [1, 2, 3], [4, 3, 0]],
    }
    for simple, mirrored, still in ((False, False, False), (True, True, False), (False, True, True)):
        theta, us = numbers(26), [] if simple else numbers(points, 2)
        if still:
            theta[:3] = [0.0, 0.0, 0.0]
        of = [draw.randrange(vertices if simple else 3) for _ in range(points)]
        scan = numbers(points, 3)
        data = {"correspondences": of, "points": scan, "model": model | {"is_mirrored": mirrored}}

        def f(theta, us):
            pose = [torch.zeros(3) for _ in range(bones + 3)]
            pose[0], pose[1], pose[2] = theta[:3], torch.ones(3), theta[3:6]
            zero = torch.zeros(())
            for finger in range(5):
                a, b, c, d = theta[6 + 4 * finger : 10 + 4 * finger]
                row = 5 + 4 * finger
                pose[row], pose[row + 1] = torch.stack([a, b, zero]), torch.stack([c, zero, zero])
                pose[row + 2] = torch.stack([d, zero, zero])
            absolutes = []
            for j in range(bones):
                tx, tz, ty = pose[j + 3]
                one = torch.ones(())
                sx, cx, sy, cy, sz, cz = tx.sin(), tx.cos(), ty.sin(), ty.cos(), tz.sin(), tz.cos()
                x = torch.stack([one, zero, zero, zero, cx, -sx, zero, sx, cx]).reshape(3, 3)
                y = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy]).reshape(3, 3)
                z = torch.stack([cz, -sz, zero, sz, cz, zero, zero, zero, one]).reshape(3, 3)
                turn = torch.block_diag(z @ y @ x, one)
                local = torch.tensor(model["base_relatives"][j]) @ turn
                absolutes.append(local if parents[j] < 0 else absolutes[parents[j]] @ local)
            places = []
            for vertex in range(vertices):
                place = torch.zeros(3)
                for j in range(bones):
                    seen = torch.tensor(model["inverse_base_absolutes"][j]) @ torch.tensor(model["base_positions"][vertex])
                    place = place + model["weights"][vertex][j] * (absolutes[j] @ seen)[:3]
                if mirrored:
                    place = place * torch.tensor([-1.0, 1.0, 1.0])
                if pose[0].norm() >= 1e-4:
                    place = rodrigues(pose[0], place)
                places.append(place * pose[1] + pose[2])
            errors = []
            for i in range(points):
                if simple:
                    place = places[of[i]]
                else:
                    (a, b, c), (u, v) = model["triangles"][of[i]], us[i]
                    place = u * places[a] + v * places[b] + (1 - u - v) * places[c]
                errors.append(torch.tensor(scan[i]) - place)
            return torch.cat(errors)

        given = {"theta": theta, "us": us, "data": data}
        theta, us = torch.tensor(theta), torch.tensor(us).reshape(-1, 2)
        case("ht", "objective", given, f(theta, us))
        by_theta, by_us = jacobian(f, (theta, us))
        if simple:
            case("ht", "jacobian", given, by_theta)
        else:
            own = torch.stack([by_us[row, row // 3] for row in range(3 * points)])
            case("ht", "jacobian", given, torch.cat([own, by_theta], 1))


def descend(x, f):
    length = lambda v: math.sqrt(sum(v * v for v in v))
    (value, slopes), eta, downwards = f(x), 1e-5, 0
    while length(slopes) > 1e-5:
        if downwards == 10:
            eta, downwards = 2 * eta, 0
            continue
        after = [x - eta * slope for x, slope in zip(x, slopes)]
        if length([a - b for a, b in zip(x, after)]) <= 1e-5:
            break
        next_value, next_slopes = f(after)
        if next_value < value:
            x, value, slopes, downwards = after, next_value, next_slopes, downwards + 1
        else:
            eta, downwards = eta / 2, 0
    return x


def saddle():
    start = [0.75, -0.5]
    square = lambda v: v[0] ** 2 + v[1] ** 2
    twice = lambda v: [2 * v for v in v]
    x = descend(start, lambda x: (square(x), twice(x)))
    y = descend(start, lambda y: (square(y), twice(y)))
    for function in ("rr", "rf", "fr", "ff"):
        case("saddle", function, {"start": start}, x + y)


for evaluation in (ba, det, gmm, hello, ht, kmeans, llsq, lse, lstm, ode, saddle):
    evaluation()
# The answer of the evaluation's own description; the path has hundreds of steps.
case("particle", "fr", {"w": 0.0}, 0.2071918746486116)
path = Path(__file__).parent / "files" / "gradbench.jsonl"
path.write_text("".join(json.dumps(line) + "\n" for line in lines))
