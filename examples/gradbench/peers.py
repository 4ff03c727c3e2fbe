"""Times the gradients of some evals beside PyTorch and JAX, by turns in one run, on one thread, in double precision.

    cargo build --profile lto --example gradbench
    python3 examples/gradbench/peers.py target/lto/examples/gradbench [ROUNDS]

needs numpy, torch and jax. The inputs are random, from a fixed seed. All three must give the same gradient to 1e-9. A
line has the best median of the rounds in microseconds, and how many times as fast as each peer the tool is. Compilation
is not timed: neither JAX's, nor the recording of a program.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = "1"
import jax
import jax.numpy as jnp
import numpy as np
import torch

jax.config.update("jax_enable_x64", True)
torch.set_num_threads(1)
SECONDS = 0.4
random = np.random.default_rng(0)


def llsq(x, t, sign, xp):
    # t has a row for each point: t^0, t^1, ...
    return 0.5 * ((sign - t @ x) ** 2).sum()


def lse(x, xp):
    largest = x.max()
    return largest + xp.log(xp.exp(x - largest).sum())


def gmm(alpha, mu, q, l, x, below, m, gamma, xp):
    (n, d), k = x.shape, alpha.shape[0]
    if xp is torch:
        lower = torch.zeros(k, d, d, dtype=torch.float64)
        lower[:, below[0], below[1]] = l
        lower = lower + torch.diag_embed(torch.exp(q))
        logsumexp = torch.logsumexp
    else:
        lower = jnp.zeros((k, d, d)).at[:, below[0], below[1]].set(l) + jax.vmap(jnp.diag)(jnp.exp(q))
        logsumexp = jax.scipy.special.logsumexp
    product = xp.einsum("kab,nkb->nka", lower, x[:, None, :] - mu)
    beta = alpha + q.sum(1) - 0.5 * (product**2).sum(2)
    nu = d + m + 1
    log_gamma = d * (d - 1) / 4 * math.log(math.pi) + sum(math.lgamma(nu / 2 - j / 2) for j in range(d))
    prior = k * (nu * d * math.log(gamma / math.sqrt(2)) - log_gamma)
    prior = prior - 0.5 * gamma**2 * (lower**2).sum() + m * q.sum()
    data = logsumexp(beta, 1).sum() - n * (d / 2 * math.log(2 * math.pi) + logsumexp(alpha, 0))
    return data + prior


def ode(x, steps, xp):
    f = lambda y: xp.concatenate([x[:1], x[1:] * y[:-1]])
    y, h = xp.zeros_like(x), 2.0 / steps
    for _ in range(steps):
        k1 = f(y)
        k2 = f(y + h / 2 * k1)
        k3 = f(y + h / 2 * k2)
        k4 = f(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y[-1]


def lstm(main, extra, state, sequence, xp):
    sigmoid = torch.sigmoid if xp is torch else jax.nn.sigmoid
    layers, b = state.shape[0] // 2, state.shape[1]
    blocks = main.reshape(2 * layers, 4, b)

    def step(state, now):
        h, after = now * extra[0], []
        for j in range(layers):
            weights, biases, hidden, cell = blocks[2 * j], blocks[2 * j + 1], state[2 * j], state[2 * j + 1]
            forget, output = (sigmoid(h * weights[k] + biases[k]) for k in (0, 2))
            take, change = sigmoid(hidden * weights[1] + biases[1]), xp.tanh(hidden * weights[3] + biases[3])
            cell = cell * forget + take * change
            h = output * xp.tanh(cell)
            after += [h, cell]
        return xp.stack(after), h * extra[1] + extra[2]

    if xp is torch:
        outputs = []
        for now in sequence[:-1]:
            state, y = step(state, now)
            outputs.append(y)
        outputs = torch.stack(outputs)
    else:
        _, outputs = jax.lax.scan(step, state, sequence[:-1])
    log_total = xp.log(2 + xp.exp(outputs).sum(1))
    return -((sequence[1:] * (outputs - log_total[:, None])).sum()) / outputs.size if xp is jnp else -(
        (sequence[1:] * (outputs - log_total[:, None])).sum()
    ) / outputs.numel()


def by_torch(f, arrays, constants):
    constants = [torch.from_numpy(c) if isinstance(c, np.ndarray) else c for c in constants]

    def run():
        leaves = [torch.from_numpy(a).requires_grad_() for a in arrays]
        gradients = torch.autograd.grad(f(*leaves, *constants, torch), leaves)
        return np.concatenate([g.numpy().ravel() for g in gradients])

    return run


def by_jax(f, arrays, constants):
    arrays = [jnp.asarray(a) for a in arrays]
    constants = [jnp.asarray(c) if isinstance(c, np.ndarray) else c for c in constants]
    compiled = jax.jit(jax.grad(lambda arrays: f(*arrays, *constants, jnp)))

    def run():
        gradients = jax.block_until_ready(compiled(arrays))
        return np.concatenate([np.asarray(g).ravel() for g in gradients])

    return run


def microseconds(run):
    run()
    times, start = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < SECONDS:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    return statistics.median(times) * 1e6


class Tool:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **message):
        print(json.dumps({"id": 0, **message}), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        assert answer["success"], answer
        return answer

    def gradient(self, module, function, values):
        self.ask(kind="define", module=module)
        values = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}
        values |= {"min_runs": 3, "min_seconds": SECONDS}
        answer = self.ask(kind="evaluate", module=module, function=function, input=values)
        times = [t["nanoseconds"] for t in answer["timings"] if t["name"] == "evaluate"]
        output = answer["output"]
        if isinstance(output, dict):
            output = [x for k in ("alpha", "mu", "q", "l") for x in np.ravel(output[k])]
        return statistics.median(times) / 1e3, np.asarray(output)


def workloads():
    """Yields name, module, function, the tool's input, the peers' function, its arrays and its constants, and the peers."""
    for n, m in [(128, 128), (8196, 128)]:
        x = random.normal(size=m)
        t = -1 + 2 * np.arange(n) / (n - 1)
        powers = t[:, None] ** np.arange(m)
        yield f"llsq n={n}", "llsq", "gradient", {"x": x, "n": n}, llsq, [x], [powers, np.sign(t)]
    for n in [10_000, 160_000]:
        x = random.normal(size=n)
        yield f"lse n={n}", "lse", "gradient", {"x": x}, lse, [x], []
    for d, k, n in [(2, 5, 1000), (10, 25, 1000), (32, 25, 1000)]:
        alpha, mu, q = random.normal(size=k), random.random((k, d)), random.normal(size=(k, d))
        l, x = random.normal(size=(k, d * (d - 1) // 2)), random.normal(size=(n, d))
        # Below the diagonal, column by column.
        below = [np.array([i for j in range(d) for i in range(j + 1, d)]), np.array([j for j in range(d) for _ in range(j + 1, d)])]
        values = {"d": d, "k": k, "n": n, "x": x, "m": 0, "gamma": 1.0, "alpha": alpha, "mu": mu, "q": q, "l": l}
        yield f"gmm d={d}, k={k}", "gmm", "jacobian", values, gmm, [alpha, mu, q, l], [x, below, 0, 1.0]
    for n, s in [(1000, 10), (10_000, 10)]:
        x = random.random(n)
        yield f"ode n={n}, s={s}", "ode", "gradient", {"x": x, "s": s}, ode, [x], [s]
    for layers, c in [(2, 1024), (4, 1024)]:
        b = 14
        main, extra = random.normal(size=(2 * layers, 4 * b)) * 0.5, random.normal(size=(3, b)) * 0.5
        state, sequence = random.normal(size=(2 * layers, b)) * 0.5, random.integers(0, 2, size=(c, b)).astype(float)
        values = {"main_params": main, "extra_params": extra, "state": state, "sequence": sequence}
        yield f"lstm l={layers}, c={c}", "lstm", "jacobian", values, lstm, [main, extra], [state, sequence]


def main():
    tool, rounds = Tool(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print(f"{'':16} {'tapegrad':>10} {'PyTorch':>10} {'JAX':>10}   times as fast as PyTorch, JAX")
    for name, module, function, values, f, arrays, constants in workloads():
        peers = [by_torch(f, arrays, constants), by_jax(f, arrays, constants)]
        best = [math.inf] * 3
        for _ in range(rounds):
            ours, gradient = tool.gradient(module, function, values)
            times = [ours, *map(microseconds, peers)]
            best = [min(pair) for pair in zip(best, times)]
        for peer in peers:
            difference = np.abs(gradient - peer()).max() / max(1, np.abs(gradient).max())
            assert difference < 1e-9, (name, difference)
        print(f"{name:16}", *(f"{x:10.1f}" for x in best), f"  {best[1] / best[0]:.2g}, {best[2] / best[0]:.2g}", flush=True)


main()
