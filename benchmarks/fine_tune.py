"""A small data set learnt from our weights and from scratch, by the same command.

    python benchmarks/fine_tune.py --data ../shared/camvid

What somebody has who labels a few frames of a drive of their own: 20 frames for training, in
classes of their own choice. The frames are taken from CamVid's test split, the drive `Seq05VD`,
which the weights have never seen: 20 spread over its first half to train on, 40 spread over its
last third to be scored on. Its classes are merged to five, so that the heads start anew. Scores
are those of the last step; nothing is chosen by them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro

from bisenetv2.data.catalogue import open_dataset
from bisenetv2.data.dataset import Dataset
from bisenetv2.images import write_image, write_mask
from bisenetv2.inference.machine import describe_machine
from bisenetv2.labels import IGNORE_INDEX

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "weights" / "bisenetv2_camvid.safetensors"
DRIVE = "Seq05VD"
TRAIN, VAL = 20, 40

CLASSES = {
    "drivable": ("Road",),
    "walkable": ("Pavement",),
    "vehicle": ("Car",),
    "person": ("Pedestrian", "Bicyclist"),
    "other": ("Sky", "Building", "Pole", "Tree", "SignSymbol", "Fence"),
}
"""Classes of the small data set, and those of CamVid that each is made of."""

OPTIONS = ("--batch", "4", "--crop", "256", "352", "--warmup", "20", "--hold", "0.4")
"""Of both runs; frames of 480×360 are cut to this."""


def main(*, data: str = "../shared/camvid", steps: int = 150) -> None:
    """Prints a row for each start.

    Args:
        data: CamVid's folder at 480×360.
        steps: Of 4 frames.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_small_dataset(open_dataset(data, "test"), folder / "own")
        rows = [
            ("from scratch", steps, ("--rate", "0.05")),
            ("from scratch", 2 * steps, ("--rate", "0.05")),
            ("from our weights", steps, ("--rate", "0.01", "--init", str(WEIGHTS))),
        ]
        print(describe_machine())
        print(f"{TRAIN} frames of 480×360 to train on, {VAL} to score, {len(CLASSES)} classes\n")
        print("| start | steps | mIoU % |")
        print("|---|---:|---:|")
        for start, count, words in rows:
            score = train(folder / "own", folder / f"{start} {count}", count, words)
            print(f"| {start} | {count} | {100 * score:.1f} |", flush=True)


def write_small_dataset(dataset: Dataset, folder: Path) -> None:
    """Writes frames of the drive as images, masks of ids and a list of classes."""
    drive = [k for k in range(len(dataset)) if DRIVE in dataset.sample_name(k)]
    parts = {"train": (drive[: len(drive) // 2], TRAIN), "val": (drive[2 * len(drive) // 3 :], VAL)}
    merged = np.full(256, IGNORE_INDEX, np.uint8)
    for own, (_, names) in enumerate(CLASSES.items()):
        for name in names:
            merged[dataset.labels.names.index(name)] = own
    for split, (indices, count) in parts.items():
        for place in range(count):
            index = indices[place * len(indices) // count]
            sample = dataset[index]
            stem = Path(dataset.sample_name(index)).stem
            write_image(folder / "images" / split / f"{stem}.png", sample.image)
            write_mask(folder / "masks" / split / f"{stem}.png", merged[sample.mask])
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")


def train(data: Path, run: Path, steps: int, words: tuple[str, ...]) -> float:
    """Trains as a user would and returns the mIoU after the last step, 0-1."""
    command = [sys.executable, "-m", "bisenetv2", "train", "folder", "--data", str(data)]
    command += ["--run", str(run), "--iterations", str(steps), "--val-every", str(steps)]
    done = subprocess.run([*command, *OPTIONS, *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return float(next(line["miou"] for line in reversed(lines) if "miou" in line))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
