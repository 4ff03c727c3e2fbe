"""Measures what a step on several ranks consists of, and predicts steps on many machines from it: the page "scaling out".

    cargo build --profile lto --features mpi --example digits_mpi
    python3 tests/mpi_model.py target/lto/examples/digits_mpi [ROUNDS]

needs mpirun. With --predict it measures nothing, and predicts from the constants below.

The model of a step on P ranks, each with r rows in m chunks, and a gradient of G bytes:

    T(P) = r c + m h + e + 3 (a + (P - 1) o) + 2 (P - 1) / P G / B

c is the time of a row. h is that of a chunk: its gradient is written, scaled and added. e is the rest of a step: the gradient is packed,
given to the parameters, and followed by the optimizer. They are fitted to steps of one rank with large and with small chunks. a is the
latency of a message, o the time of each further one of a list, B the bandwidth of a rank.
"""

import json
import os
import subprocess
import sys

# Seconds of a row, of a chunk, of the rest of a step; and of a message in a list of them.
CONSTANTS = {"W2": (3.4e-6, 8.5e-5, 1.1e-3), "W6": (100e-6, 4e-3, 3.5e-3), "message": 1.2e-6}
# Name, rows, bytes of the gradient, most rows of a chunk.
NETWORKS = [("W2", 18858, 315212, 256), ("W6", 512, 7454760, 512), ("100 million", 8192, 400_000_000, 512)]
# Sizes of chunks that the fit compares.
SIZES = {"W2": (256, 32), "W6": (512, 32)}
# Latency and bandwidth of a rank.
WIRES = [("10 Gbit/s", 20e-6, 1.25e9), ("100 Gbit/s", 3e-6, 12.5e9)]


def bench(program, ranks, workload, seconds, *options):
    environment = dict(os.environ)
    for variable in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"]:
        environment[variable] = "1"
    command = ["mpirun", "--bind-to", "none", "-n", str(ranks), program, "--bench", workload, "--seconds", str(seconds), *options]
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(program, rounds):
    """Prints the best of some rounds, in which all programs take turns, and returns the constants."""
    constants = {}
    for name, (large, small) in SIZES.items():
        best = {}
        # Ranks and rows of a chunk; four ranks need as many chunks.
        cases = [(1, large), (1, small)] + [(ranks, min(large, 128) if name == "W6" else large) for ranks in (1, 2, 4)]
        for _ in range(rounds):
            for case in cases:
                found = bench(program, case[0], name, 4, "--chunk", str(case[1]))
                if case not in best or found["step_us"][0] < best[case]["step_us"][0]:
                    best[case] = found
        for ranks, chunk in cases[2:]:
            found, alone = best[ranks, chunk], best[1, chunk]
            speed = alone["step_us"][0] / found["step_us"][0]
            print(f"{name}: {ranks} ranks: {found['step_us'][0]:.0f} us a step, {speed:.2f} times as fast as 1, {found['peak_rss_mib']} MiB")
        rows = best[1, large]["rows"]
        chunks = [-(-rows // size) for size in (large, small)]
        compute, step = ([best[1, size][field][0] * 1e-6 for size in (large, small)] for field in ("compute_us", "step_us"))
        of_chunk = (step[1] - step[0]) / (chunks[1] - chunks[0])
        within = (compute[1] - compute[0]) / (chunks[1] - chunks[0])
        row = (compute[0] - chunks[0] * within) / rows
        constants[name] = (row, of_chunk, step[0] - rows * row - chunks[0] * of_chunk)
    found = {ranks: bench(program, ranks, "messages", 6) for ranks in [2, 4]}
    print("2 ranks:", found[2], "\n4 ranks:", found[4])
    constants["message"] = found[2]["agree_us"][0] * 1e-6 / 2
    print("constants:", constants)
    return constants


def step(constants, network, ranks, wire):
    name, rows, size, chunk = network
    row, of_chunk, rest = constants.get(name) or (value * size / 7454760 for value in constants["W6"])
    own = -(-rows // ranks)
    _, latency, bandwidth = wire
    others = ranks - 1
    travel = 3 * (latency + others * constants["message"]) + 2 * others / ranks * size / bandwidth if others else 0
    return own * row + -(-own // chunk) * of_chunk + rest + travel


def predict(constants):
    for network in NETWORKS:
        for wire in WIRES:
            alone = step(constants, network, 1, wire)
            cells = []
            for ranks in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]:
                if ranks <= network[1]:
                    cells.append(f"{ranks}: {alone / step(constants, network, ranks, wire):.1f}")
            print(f"{network[0]}, {wire[0]}: {alone * 1e3:.0f} ms on one; times as fast on " + ", ".join(cells))


def main():
    if sys.argv[1] == "--predict":
        return predict(CONSTANTS)
    predict(measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3))


main()
