"""The exact upsample-argmax against PyTorch's interpolate and argmax, in turn, in one process.

    python benchmarks/upsample_argmax.py
    python benchmarks/upsample_argmax.py --model runs/x/best.onnx --threads 4

The logits are a trained model's, of rendered streets at the paper's operating point: 128×256 in,
1024×2048 out. A model of fewer than 19 classes gets more planes, so that the figure is of as many
as Cityscapes has: its own once more, mirrored and lowered by 4, so that they win here and there as
rare classes do. Logits of pure noise, of which no cell's corners agree, are the worst case.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
import tyro

from bisenetv2 import Segmenter
from bisenetv2.data.streets import render_street
from bisenetv2.export.plain_road import plain_argmax
from bisenetv2.inference.benchmark import interleave, summarise
from bisenetv2.inference.machine import describe_machine
from bisenetv2.inference.upsample import upsample_argmax
from bisenetv2.labels import Mask

SIZE, SCALE, CLASSES, STREETS = (1024, 2048), 0.5, 19, 4

Floats = npt.NDArray[np.float32]


def main(*, model: Path | None = None, threads: int = 2, runs: int = 50) -> None:
    """Prints one row for each kind of logits.

    Args:
        model: The embedded model if left out.
        threads: Of PyTorch.
        runs: Of each road.
    """
    torch.set_num_threads(threads)
    segmenter = Segmenter(model, scale=SCALE)
    streets = [render_street(0, index, SIZE).image for index in range(STREETS)]
    trained = [segmenter.infer(segmenter.prepare(street)) for street in streets]
    own = len(trained[0])
    rng = np.random.default_rng(0)
    noise = [rng.standard_normal((CLASSES, 128, 256), np.float32) for _ in range(STREETS)]
    kinds = {f"trained, {own} classes": trained}
    if own < CLASSES:
        kinds[f"trained, {own} + {CLASSES - own} classes"] = [with_more(x) for x in trained]
    kinds[f"noise, {CLASSES} classes"] = noise

    print(f"{describe_machine()}, torch {torch.__version__}, {threads} threads")
    print(f"output {SIZE[0]}×{SIZE[1]}, {runs} runs of each, in turn\n")
    print(
        "| logits | PyTorch ms | p95 | upsample-argmax ms | p95 | times faster | unequal pixels |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, logits in kinds.items():
        print(f"| {name} | {row(logits, runs)} |", flush=True)


def with_more(logits: Floats) -> Floats:
    """Adds planes up to `CLASSES`."""
    more = logits[: CLASSES - len(logits), :, ::-1] - np.float32(4)
    return np.concatenate([logits, more])


def row(logits: list[Floats], runs: int) -> str:
    """Times both on the same logits and compares their masks."""
    roads = [partial(seconds, plain_argmax), partial(seconds, upsample_argmax)]
    slow, fast = interleave(roads, logits, runs=runs, warmup=len(logits))
    ratio = median(a / b for a, b in zip(slow, fast, strict=True))
    unequal = sum(
        int(np.count_nonzero(plain_argmax(x, SIZE) != upsample_argmax(x, SIZE))) for x in logits
    )
    cells = [
        f"{v:.2f}" for s in (slow, fast) for v in (summarise(s).median_ms, summarise(s).p95_ms)
    ]
    return " | ".join([*cells, f"{ratio:.1f}", f"{unequal} of {len(logits) * SIZE[0] * SIZE[1]}"])


def seconds(road: Callable[[Floats, tuple[int, int]], Mask], logits: Floats) -> float:
    """Takes the time of one call."""
    start = perf_counter()
    road(logits, SIZE)
    return perf_counter() - start


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
