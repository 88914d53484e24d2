"""How fast `bisenetv2 check` goes through images of 640×480, all checks included.

    python benchmarks/check_speed.py
    python benchmarks/check_speed.py --images 10000

It writes the images (JPEG) and masks (PNG) itself, different ones, to a temporary folder; their
pixels come from a few rendered streets, shifted and tinted.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro

from bisenetv2.data.check.files import list_files
from bisenetv2.data.check.run import check
from bisenetv2.data.streets import render_street
from bisenetv2.images import write_image, write_mask
from bisenetv2.inference.machine import describe_machine
from bisenetv2.progress import progress_bar

SIZE = 480, 640
STREETS = 12


def main(images: int = 300) -> None:
    """Prints seconds of each part and what 10,000 images would take at that rate.

    Args:
        images: How many.
    """
    with TemporaryDirectory() as name:
        write(Path(name), images)
        start = time.perf_counter()
        listing = list_files(name)
        listed = time.perf_counter()
        with progress_bar("check", listing.count) as bar:
            report = check(listing, progress=bar.advance)
        checked = time.perf_counter()
        quick_start = time.perf_counter()
        check(listing, quick=True)
        quick = time.perf_counter() - quick_start
    print(f"{describe_machine()}, {listing.count} images of {SIZE[1]}×{SIZE[0]}\n")
    print("| what | seconds | 10,000 images |\n|---|---:|---:|")
    for what, seconds in (
        ("inferring the encoding (without dataset.yaml)", listed - start),
        ("all checks", checked - listed),
        ("quick part", quick),
    ):
        print(f"| {what} | {seconds:.2f} | {seconds * 10_000 / listing.count:.0f} s |")
    print(f"\n{report.errors} errors, {len(report.findings) - report.errors} warnings.")


def write(root: Path, count: int) -> None:
    """Writes images and masks, four fifths of them to train, the others to val."""
    streets = [render_street(0, index, SIZE) for index in range(min(STREETS, count))]
    rng = np.random.default_rng(0)
    for index in range(count):
        image, mask = streets[index % len(streets)]
        shift = int(rng.integers(SIZE[1]))
        tinted = np.clip(image * rng.uniform(0.6, 1.3, 3), 0, 255).astype(np.uint8)
        split = "val" if index % 5 == 4 else "train"
        write_image(root / f"images/{split}/{index:06}.jpg", np.roll(tinted, shift, axis=1))
        write_mask(root / f"masks/{split}/{index:06}.png", np.roll(mask, shift, axis=1))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
