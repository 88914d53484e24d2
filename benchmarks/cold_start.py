"""`bisenetv2 predict` on one picture, from the start of the process to the files written.

    python benchmarks/cold_start.py
    python benchmarks/cold_start.py --size 360 480 --imports

The first run of a machine may compile the model and keep the result; the later ones are the figure.
`--imports` adds the packages that take longest to import.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import tyro

from bisenetv2.data.streets import render_street
from bisenetv2.images import write_image
from bisenetv2.inference.benchmark import summarise
from bisenetv2.inference.machine import describe_machine

SLOWEST = 15


def main(
    *,
    model: Path | None = None,
    size: tuple[int, int] = (1024, 2048),
    runs: int = 9,
    imports: bool = False,
) -> None:
    """Prints the first run's time, then median and 95th percentile of the others.

    Args:
        model: The embedded model if left out.
        size: Height and width of the picture.
        runs: How many after the first.
        imports: List the slowest imports too.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_image(folder / "street.jpg", render_street(0, 0, size).image)
        words = ["-m", "bisenetv2", "predict", "street.jpg", "-o", "out"]
        if model:
            words += ["--model", str(model.resolve())]
        # A cache of its own, so that the first run is one.
        environment = {**os.environ, "BISENETV2_CACHE": str(folder / "cache")}
        seconds = []
        for _ in range(1 + runs):
            start = perf_counter()
            run(words, folder, environment)
            seconds.append(perf_counter() - start)
        later = summarise(seconds[1:])
        print(f"{describe_machine()}, picture of {size[1]}×{size[0]}\n")
        print("| run | seconds | p95 |\n|---|---:|---:|")
        print(f"| first | {seconds[0]:.2f} | |")
        median, p95 = later.median_ms / 1000, later.p95_ms / 1000
        print(f"| later, median of {runs} | {median:.2f} | {p95:.2f} |")
        if imports:
            print_imports(run(["-X", "importtime", *words], folder, environment))


def run(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Runs Python and returns what it wrote to stderr."""
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
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
    tyro.cli(main, description=__doc__)
