"""Times the steps of W2 and W6 on two processes of one thread, ours and torch.distributed's (gloo), by turns.

    cargo build --profile lto --features mpi --example digits_mpi
    python3 tests/mpi_torch.py target/lto/examples/digits_mpi [ROUNDS]

needs PyTorch and mpirun. Both descend on the same kind of data, half of the batch on each process. The PyTorch side is
DistributedDataParallel. A line says how much longer PyTorch takes: the smallest ratio of lower quartiles among the rounds, the
median one, and the largest.
"""

import json
import os
import statistics
import subprocess
import sys
import time

# Widths, activation, rows of the batch.
WORKLOADS = {"W2": ([784, 100, 3], "Tanh", 18858), "W6": ([784, 1024, 1024, 10], "ReLU", 512)}
CHUNK = 256
SECONDS = 5


def worker(name, rank, size):
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=size)
    widths, activation, batch = WORKLOADS[name]
    torch.manual_seed(0)
    layers = []
    for k, (a, b) in enumerate(zip(widths, widths[1:])):
        layers += [torch.nn.Linear(a, b)] + ([getattr(torch.nn, activation)()] if k + 2 < len(widths) else [])
    model = DistributedDataParallel(torch.nn.Sequential(*layers))
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    rows = batch // size
    x, y = torch.rand(rows, widths[0]), torch.randint(widths[-1], (rows,))
    times, start = [], time.perf_counter()
    go_on = torch.ones(1)
    while go_on.item() > 0:
        for _ in range(5):
            begin = time.perf_counter()
            sgd.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            sgd.step()
            times.append((time.perf_counter() - begin) * 1e6)
        go_on[0] = float(time.perf_counter() - start < SECONDS)
        dist.broadcast(go_on, 0)
    if rank == 0:
        print(json.dumps({"step_us": quartiles(times)}))
    dist.destroy_process_group()


def quartiles(times):
    times = sorted(times)
    return [times[0], times[len(times) // 4], times[len(times) // 2]]


def torch_step(name):
    environment = dict(os.environ, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(20000 + os.getpid() % 10000), OMP_NUM_THREADS="1")
    ranks = [
        subprocess.Popen([sys.executable, __file__, "--worker", name, str(rank), "2"], env=environment, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    lines = [rank.communicate()[0] for rank in ranks]
    return json.loads(lines[0].splitlines()[-1])["step_us"]


def our_step(program, name):
    environment = dict(os.environ)
    for variable in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"]:
        environment[variable] = "1"
    command = ["mpirun", "--bind-to", "none", "-n", "2", program, "--bench", name, "--chunk", str(CHUNK), "--seconds", str(SECONDS)]
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)["step_us"]


def main():
    if sys.argv[1] == "--worker":
        return worker(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    for name in WORKLOADS:
        ratios = []
        for _ in range(rounds):
            ours, theirs = our_step(program, name), torch_step(name)
            ratios.append(theirs[1] / ours[1])
            print(f"{name}: ours {ours[1]:.0f} us, torch.distributed {theirs[1]:.0f} us", flush=True)
        print(f"{name}: torch.distributed takes {min(ratios):.2f}, {statistics.median(ratios):.2f}, {max(ratios):.2f} times as long")


main()
