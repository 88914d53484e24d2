"""Index masks to every other format and back: the share of pixels that stay the same.

python benchmarks/convert_labels.py --data ../shared/camvid --split val
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import tyro

from bisenetv2.data.convert.classes import Options, find_class_list
from bisenetv2.data.convert.recognise import Format
from bisenetv2.data.convert.run import convert
from bisenetv2.images import read_mask
from bisenetv2.labels import CAMVID

FORMATS: tuple[Format, ...] = ("colour", "labelme", "coco", "yolo")


def main(*, data: Path, split: str = "val") -> None:
    """Prints a line for each format.

    Args:
        data: Folder of CamVid at 480×360.
        split: Its masks to convert.
    """
    masks = data / f"{split}annot"
    options = Options(find_class_list("camvid"), images=data / split)
    print("| format | masks | pixels | equal | % | s there | s back |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for kind in FORMATS:
        with TemporaryDirectory() as name:
            there, back = Path(name) / "there", Path(name) / "back"
            start = perf_counter()
            convert(masks, there, options, target_format=kind)
            between = perf_counter()
            count = convert(there, back, options).images
            end = perf_counter()
            pixels, equal = compare(masks, back / "masks")
        seconds = f"{between - start:.1f} | {end - between:.1f}"
        share = f"{100 * equal / pixels:.4f}"
        print(f"| {kind} | {count} | {pixels} | {equal} | {share} | {seconds} |")


def compare(masks: Path, back: Path) -> tuple[int, int]:
    """Counts the pixels of a folder of CamVid's masks, and those that another one has alike."""
    pixels = equal = 0
    for path in sorted(masks.glob("*.png")):
        expected = CAMVID.from_raw(read_mask(path), path)
        pixels += expected.size
        equal += int(np.count_nonzero(expected == read_mask(back / path.name)))
    return pixels, equal


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
