"""Runs the benchmarks and writes what they printed, with machine and date, into `RESULTS.md`.

    python benchmarks/write_results.py

It takes up to forty minutes on two cores; leave the machine alone meanwhile. A name or several run
only those sections and leave the others as they are: `python benchmarks/write_results.py training`.
Trials of recipes, `losses`, `progressive` and `networks`, take half an hour each or more and run by
name alone.
`--to RESULTS_AVX2.md` keeps the figures of another kind of machine beside these. On an NVIDIA GPU:
`python benchmarks/write_results.py gpu-frame gpu-large gpu-training --to RESULTS_GPU.md`.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import NamedTuple

from bisenetv2 import __version__
from bisenetv2.files import write_bytes
from bisenetv2.inference.machine import describe_machine

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).parent

HEADER = """\
# Results

What the commands printed. Everything compared was run in turn in one process on the machine named;
other machines, other figures. `python benchmarks/write_results.py` writes this file: `RESULTS.md`
is of a CPU with AMX, `RESULTS_ZEN5.md` and `RESULTS_AVX512.md` of two with AVX-512 (VNNI and
bfloat16; Zen 5, and Zen 4 with half its width), `RESULTS_AVX2.md` of one with AVX2 and no more,
`RESULTS_GPU.md` of an NVIDIA GPU, with remarks.
"""


class Section(NamedTuple):
    """A command and what its output means."""

    title: str
    text: str
    command: str
    long: bool = False
    """Whether it only runs if it is named."""


SECTIONS = {
    "frame": Section(
        "Frame to mask",
        "The paper's operating point, both resizes inside the clock, against the plain road, and "
        "where the network's time goes.",
        "bisenetv2 benchmark --preset cityscapes --against plain --profile",
    ),
    "gpu-frame": Section(
        "Frame to mask on a GPU",
        "The paper's operating point, both resizes inside the clock, one frame at a time.",
        "bisenetv2 benchmark --size base --preset cityscapes --engine torch --runs 100",
        long=True,
    ),
    "gpu-large": Section(
        "V2-Large, frame to mask on a GPU",
        "The same for the larger network.",
        "bisenetv2 benchmark --size large --preset cityscapes --engine torch --runs 100",
        long=True,
    ),
    "gpu-training": Section(
        "Training on a GPU",
        "Images a second, the loader included, against the plain loop's step.",
        "python benchmarks/gpu_training.py --data ../shared/camvid --batch 16 32",
        long=True,
    ),
    "upsample": Section(
        "Upsample-argmax",
        "On the trained network's logits, against PyTorch's `interpolate` and `argmax`.",
        "python benchmarks/upsample_argmax.py",
    ),
    "engines": Section(
        "Engines",
        "The paper's three rows, V2 and V2-Large, on every engine.",
        "python benchmarks/engines.py",
    ),
    "video": Section(
        "Video",
        "H.264 in and out against the same frames segmented one after the other from memory, in "
        "turns on the same cores.",
        "python benchmarks/video.py",
    ),
    "training": Section(
        "Training",
        "Images a second of a step of the recipe, against the plain loop.",
        "python benchmarks/training_speed.py",
    ),
    "tuning": Section(
        "Fine-tuning",
        "20 frames of a drive that the weights have never seen, in five classes of its own, learnt "
        "from our weights and from scratch by the same command.",
        "python benchmarks/fine_tune.py --data ../shared/camvid",
    ),
    "losses": Section(
        "Losses below full resolution",
        "Whether they cost accuracy: short runs on CamVid's train, scored on its val.",
        "python benchmarks/recipe_trials.py losses --budget 250 --seeds 3",
        long=True,
    ),
    "progressive": Section(
        "Progressive resolution",
        "How much of a run to spend on it: short runs on CamVid's train, scored on its val.",
        "python benchmarks/recipe_trials.py progressive --budget 200",
        long=True,
    ),
    "networks": Section(
        "Networks of the paper",
        "V2, without boosters, in the printed-cost reading, and V2-Large: short runs on CamVid's "
        "train from scratch, scored on its val.",
        "python benchmarks/recipe_trials.py networks --budget 200",
        long=True,
    ),
    "evaluation": Section(
        "Evaluation",
        "What `bisenetv2 evaluate` reaches of the engine's own rate on the same frames.",
        "python benchmarks/evaluation_speed.py --data ../shared/camvid --split val",
    ),
    "check": Section(
        "Data check",
        "All checks over 10,000 images of 640×480.",
        "python benchmarks/check_speed.py --images 10000",
    ),
    "cold": Section(
        "Cold start",
        "`bisenetv2 predict` on one picture, from the start of the process to the files written.",
        "python benchmarks/cold_start.py --imports",
    ),
}


def main() -> None:
    """Runs the sections asked for and rewrites them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--to", metavar="FILE", default="RESULTS.md", help="in benchmarks/")
    options = parser.parse_args()
    asked = options.sections or [name for name in SECTIONS if not SECTIONS[name].long]
    unknown = [name for name in asked if name not in SECTIONS]
    if unknown:
        parser.error(f"unknown section {unknown[0]}: the sections are {', '.join(SECTIONS)}")
    for name in asked:
        print(f"{name}: {SECTIONS[name].command}", file=sys.stderr, flush=True)
        write(FOLDER / options.to, name, measure(SECTIONS[name]))


def measure(section: Section) -> str:
    """Runs a section's command and returns the section's text."""
    words = shlex.split(section.command)
    module = ["-m", "bisenetv2"] if words[0] == "bisenetv2" else []
    done = subprocess.run(
        [sys.executable, *module, *words[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    head = f"{section.text}\n\n```sh\n{section.command}\n```\n"
    stand = f"{date.today().isoformat()}, bisenetv2 {__version__}, {describe_machine()}:\n"
    printed = done.stdout.strip().replace(f"{ROOT}/", "")  # the same wherever the copy lies
    return f"{head}\n{stand}\n{printed}\n"


def write(results: Path, name: str, text: str) -> None:
    """Puts a section's text into its place in the file."""
    sections = read(results)
    sections[name] = text
    parts = [f"## {SECTIONS[key].title}\n\n{sections[key]}" for key in SECTIONS if key in sections]
    write_bytes(results, "\n".join([HEADER, *parts]).encode())


def read(results: Path) -> dict[str, str]:
    """Reads the sections that were written before."""
    if not results.exists():
        return {}
    _, *parts = results.read_text().split("\n## ")
    titles = {section.title: name for name, section in SECTIONS.items()}
    split = (part.partition("\n\n") for part in parts)
    return {titles[title]: text.rstrip("\n") + "\n" for title, _, text in split if title in titles}


if __name__ == "__main__":
    main()
