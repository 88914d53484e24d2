"""`bisenetv2 predict` on one picture, from the start of the process to the files written.

    python benchmarks/cold_start.py
    python benchmarks/cold_start.py --size 360 480 --imports

The first run of a machine may compile the model and keep the result; the later ones are the figure.
`--imports` adds the packages that take longest to import.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from bisenetv2.data.streets import render_street
from bisenetv2.images import write_image
from bisenetv2.inference.benchmark import summarise
from bisenetv2.inference.machine import describe_machine

SLOWEST = 15


def main() -> None:
    """Prints the first run's time, then median and 95th percentile of the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="the embedded model if left out")
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048), help="height and width")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--imports", action="store_true")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        height, width = options.size
        write_image(folder / "street.jpg", render_street(0, 0, (height, width)).image)
        words = ["-m", "bisenetv2", "predict", "street.jpg", "-o", "out"]
        if options.model:
            words += ["--model", str(options.model.resolve())]
        # A cache of its own, so that the first run is one.
        environment = {**os.environ, "BISENETV2_CACHE": str(folder / "cache")}
        seconds = []
        for _ in range(1 + options.runs):
            start = perf_counter()
            run(words, folder, environment)
            seconds.append(perf_counter() - start)
        later = summarise(seconds[1:])
        print(f"{describe_machine()}, picture of {width}×{height}\n")
        print("| run | seconds | p95 |\n|---|---:|---:|")
        print(f"| first | {seconds[0]:.2f} | |")
        print(
            f"| later, median of {options.runs} | {later.median_ms / 1000:.2f} "
            f"| {later.p95_ms / 1000:.2f} |"
        )
        if options.imports:
            log = run(["-X", "importtime", *words], folder, environment)
            print_imports(log)


def run(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Runs Python and returns what it wrote to stderr."""
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stderr


def print_imports(log: str) -> None:
    """Prints the slowest imports of a log of `python -X importtime`."""
    found = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)", log)
    slowest = sorted(found, key=lambda line: int(line[1]), reverse=True)[:SLOWEST]
    print("\n| import | ms with what it imports | ms alone |\n|---|---:|---:|")
    for alone, whole, _, package in slowest:
        print(f"| {package} | {int(whole) / 1000:.0f} | {int(alone) / 1000:.0f} |")


if __name__ == "__main__":
    main()
