"""Files between this library and Python, in both directions.

    pip install numpy torch safetensors
    python tests/files.py            # checks, by the example `digits` (a few minutes)
    python tests/files.py --write    # writes tests/files/python_*, which the test `files` reads

The check takes a network of two layers, 784 -> 10 -> 3. The example writes it to `.npz` and to `.safetensors`; NumPy and
PyTorch read it, and compute the loss that the example reports. Then both write the network that PyTorch made of it by one
step of Adam; the example reads that, and reports the loss that PyTorch computes.

A weight is `(inputs, outputs)` in these files. `torch.nn.Linear` has `(outputs, inputs)`: transpose it on the way.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).parent.parent
NAMES = ["W1", "b1", "W2", "b2"]


def write():
    for precision, dtype in (("f32", np.float32), ("f64", np.float64)):
        weight = (np.arange(6).reshape(3, 2) / 3).astype(dtype)
        arrays = {"0.weight": weight, "0.bias": np.array([-1.0, np.inf], dtype)}
        place = ROOT / "tests" / "files" / f"python_{precision}"
        np.savez(place.with_suffix(".npz"), **arrays)
        save_file({name: torch.from_numpy(array) for name, array in arrays.items()}, place.with_suffix(".safetensors"))


def example(*arguments):
    command = ["cargo", "run", "--release", "--quiet", "--example", "digits", "--", "module", "--hidden", "10"]
    command += ["--activation", "tanh", "--loss", "softmax", "--json", *arguments]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(run.stdout.splitlines()[-1])


def loss(parameters):
    digits = ROOT / "data" / "digits178"
    x = torch.from_numpy(np.load(digits / "x.npy").astype(np.float64)) / 255
    y = torch.from_numpy(np.load(digits / "y.npy")).argmax(1)
    w1, b1, w2, b2 = parameters
    return torch.nn.functional.cross_entropy(torch.tanh(x @ w1 + b1) @ w2 + b2, y)


def check():
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        plot = ["--plot", str(place / "plot.svg")]
        for name in ("run.npz", "run.safetensors"):
            reported = example("--passes", "2", "--epsilon", "0.1", "--save", str(place / name), *plot)["train_loss"]
            if name.endswith("npz"):
                arrays = dict(np.load(place / name))
            else:
                arrays = load_numpy(place / name)
                both = load_file(place / name)
                assert all((both[n].numpy() == arrays[n]).all() for n in NAMES)
            assert sorted(arrays) == sorted(NAMES), sorted(arrays)
            found = loss([torch.from_numpy(arrays[n]) for n in NAMES]).item()
            assert abs(found - reported) < 1e-12, (found, reported)
            print(f"{name}: written here, {found:.12f} in PyTorch")

            parameters = [torch.from_numpy(arrays[n]).requires_grad_() for n in NAMES]
            optimizer = torch.optim.Adam(parameters, lr=0.01)
            loss(parameters).backward()
            optimizer.step()
            step = {n: p.detach() for n, p in zip(NAMES, parameters)}
            back = place / ("back" + (place / name).suffix)
            if name.endswith("npz"):
                np.savez(back, **{n: p.numpy() for n, p in step.items()})
            else:
                save_file(step, back)
            reported = example("--passes", "1", "--init", str(back), *plot)["first_train_loss"]
            found = loss(step.values()).item()
            assert abs(found - reported) < 1e-12, (found, reported)
            print(f"{back.name}: written by Python, {reported:.12f} here")


write() if "--write" in sys.argv else check()
