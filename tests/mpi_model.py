"""Measures what a step on several ranks consists of, and predicts steps on many machines from it: the page "scaling out".

    cargo build --profile lto --features mpi --example digits_mpi
    python3 tests/mpi_model.py target/lto/examples/digits_mpi [ROUNDS]

needs mpirun. With --predict it measures nothing, and predicts from the constants below.

The model of a step on P ranks, with n rows in chunks, a gradient of G bytes, and k parts for each rank:

    T(P) = rows(P) c + l(P) G + 3 (a + (P - 1) o) + (k + 1) (P - 1) / P G / B

c is the time of a row, rows(P) those of the rank with most of them. l(P) is the time of a byte of the gradient without the network: it is
packed, added, and given to the parameters and the optimizer. a is the latency of a message, o the time that each further message
of a rank takes, B the bandwidth of a rank.
"""

import json
import os
import subprocess
import sys

# Seconds for a row of W2 and W6; seconds for a byte of the gradient; seconds for a message in a list of them.
CONSTANTS = {"W2": 4.2e-6, "W6": 145e-6, "byte": 1.0e-9, "message": 1.0e-6}
# Name, rows, bytes of the gradient, smallest chunk.
NETWORKS = [("W2", 18858, 315212, 16), ("W6", 512, 7454760, 16), ("100 million", 8192, 400_000_000, 8)]
# Latency and bandwidth of a rank.
WIRES = [("10 Gbit/s", 20e-6, 1.25e9), ("100 Gbit/s", 3e-6, 12.5e9)]


def bench(program, ranks, workload, seconds):
    environment = dict(os.environ)
    for variable in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"]:
        environment[variable] = "1"
    command = ["mpirun", "--bind-to", "none", "-n", str(ranks), program, "--bench", workload, "--seconds", str(seconds)]
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(program, rounds):
    """Prints the best of some rounds, in which the numbers of ranks take turns, and returns the constants."""
    constants = {}
    for name in ["W2", "W6"]:
        best = {}
        for _ in range(rounds):
            for ranks in [1, 2, 4]:
                found = bench(program, ranks, name, 4)
                if ranks not in best or found["step_us"][1] < best[ranks]["step_us"][1]:
                    best[ranks] = found
        for ranks, found in best.items():
            speed = best[1]["step_us"][1] / found["step_us"][1]
            print(f"{name}: {ranks} ranks: {found['step_us'][1]:.0f} us a step, {speed:.2f} times as fast as 1, {found['peak_rss_mib']} MiB")
        alone = best[1]
        constants[name] = alone["compute_us"][1] * 1e-6 / alone["rows"]
        if name == "W6":
            constants["byte"] = (alone["step_us"][1] - alone["compute_us"][1]) * 1e-6 / alone["bytes"]
    found = {ranks: bench(program, ranks, "messages", 6) for ranks in [2, 4]}
    print("2 ranks:", found[2], "\n4 ranks:", found[4])
    constants["message"] = found[4]["agree_us"][1] * 1e-6 / 3
    print("constants:", constants)
    return constants


def step(constants, network, ranks, wire):
    name, rows, size, chunk = network
    # 100 million weights of linear layers take as long for each as those of W6.
    row = constants.get(name) or constants["W6"] * size / 7454760
    chunks = -(-rows // chunk)
    if chunks < ranks:
        return None
    own = min(rows, -(-chunks // ranks) * chunk)
    _, latency, bandwidth = wire
    others = ranks - 1
    travel = 3 * (latency + others * constants["message"]) + 2 * others / ranks * size / bandwidth if others else 0
    return own * row + size * constants["byte"] + travel


def predict(constants):
    for network in NETWORKS:
        for wire in WIRES:
            alone = step(constants, network, 1, wire)
            cells = []
            for ranks in [1, 8, 16, 32, 64, 128, 256, 512, 1024]:
                time = step(constants, network, ranks, wire)
                cells.append(f"{ranks}: {alone / time:.1f}" if time else f"{ranks}: -")
            print(f"{network[0]}, {wire[0]}: {alone * 1e3:.0f} ms on one; times as fast on " + ", ".join(cells))


def main():
    if sys.argv[1] == "--predict":
        return predict(CONSTANTS)
    predict(measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3))


main()
