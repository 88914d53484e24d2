"""Timing: the stages of a frame's road, roads run in turn, and what is quoted of their times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter, sleep
from typing import NamedTuple, TypeVar

import numpy as np

from bisenetv2.errors import UserError
from bisenetv2.images import Image, read_image
from bisenetv2.inference.engines import DeviceDecoder
from bisenetv2.inference.overlay import overlay
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.labels import Mask

Input = TypeVar("Input")
Outcome = TypeVar("Outcome")

READ, RESIZE, NETWORK, UPSAMPLE, OVERLAY = "read", "resize", "network", "upsample-argmax", "overlay"
"""The stages of a frame's road."""

FRAME_TO_MASK = "frame to mask"
"""Resize, network and upsample-argmax under one clock, as the paper takes its frames a second."""

FILE_TO_PICTURE = "file to picture"
"""All five stages under one clock."""

UNTRAINED = "nothing (untrained)"
"""Name of the training data in the card of a network whose weights are random."""

SETTLE = 0.05
"""Seconds between two roads. ONNX Runtime's threads go on turning for a while after a frame, and
would take from the next road a third of its pace."""


class Preset(NamedTuple):
    """Frame and network size of one of the paper's speed figures."""

    size: tuple[int, int]
    """Height and width of the frame in pixels."""

    scale: float
    """Side of the network's input over the frame's, before rounding to multiples of 32."""


PRESETS = {
    "cityscapes": Preset((1024, 2048), 0.5),
    "camvid": Preset((720, 960), 1.0),
    "coco-stuff": Preset((640, 640), 1.0),
}
"""The paper's rows, by the name of their data (section 3 of the specification)."""


class Timed(NamedTuple):
    """One frame's passage."""

    seconds: dict[str, float]
    """Seconds of each stage, in the order of the road."""

    mask: Mask
    """The mask it ended in."""


def time_stages(segmenter: Segmenter, frame: Image) -> Timed:
    """Segments a frame and takes the time of each stage and of the whole.

    An engine that finds the masks on its own device does two stages in one: their time is the
    network's, and upsample-argmax has none.
    """
    size, engine = frame.shape[:2], segmenter.engine
    clock = [perf_counter()]
    network_frame = segmenter.prepare(frame)
    clock.append(perf_counter())
    stages = [RESIZE, NETWORK]
    if isinstance(engine, DeviceDecoder):
        mask = engine.masks(network_frame, size)[0]
    else:
        logits = segmenter.infer(network_frame)
        clock.append(perf_counter())
        stages.append(UPSAMPLE)
        mask = segmenter.decode(logits, size)
    clock.append(perf_counter())
    laps = (after - before for before, after in pairwise(clock))
    seconds = dict(zip(stages, laps, strict=True))
    return Timed({**seconds, FRAME_TO_MASK: clock[-1] - clock[0]}, mask)


def time_file(segmenter: Segmenter, path: Path) -> Timed:
    """Reads a file, segments it, lays the colours over it; takes the time of each stage.

    Raises:
        UserError: If the file cannot be read.
    """
    start = perf_counter()
    frame = read_image(path)
    read = perf_counter()
    seconds, mask = time_stages(segmenter, frame)
    segmented = perf_counter()
    overlay(frame, mask, segmenter.labels)
    done = perf_counter()
    return Timed(
        {READ: read - start, **seconds, OVERLAY: done - segmented, FILE_TO_PICTURE: done - start},
        mask,
    )


def interleave(
    roads: Sequence[Callable[[Input], Outcome]],
    inputs: Sequence[Input],
    *,
    runs: int,
    warmup: int,
    advance: Callable[[], None] = lambda: None,
) -> list[list[Outcome]]:
    """Runs every road on one input, then every road on the next, and so on.

    What slows the machine for a while then slows all roads alike, and their ratio stands. Which
    road goes first changes from input to input. Between two roads there is a pause of `SETTLE`.

    Args:
        roads: What to run.
        inputs: What to run them on, over and over.
        runs: Runs of each road whose outcome is kept, at least 1.
        warmup: Runs of each road before those, 0 or more.
        advance: Called after each run of all roads, warm-up included.

    Returns:
        For each road its outcomes, in the order of the runs.

    Raises:
        UserError: If a number is out of range.
    """
    if runs < 1 or warmup < 0:
        raise UserError(f"{runs} runs after {warmup} of warm-up: at least 1 after 0 are needed")
    outcomes: list[list[Outcome]] = [[] for _ in roads]
    for kept, count in ((False, warmup), (True, runs)):
        for run in range(count):
            for turn in range(len(roads)):
                index = (run + turn) % len(roads)
                if len(roads) > 1:
                    sleep(SETTLE)
                outcome = roads[index](inputs[run % len(inputs)])
                if kept:
                    outcomes[index].append(outcome)
            advance()
    return outcomes


@dataclass(frozen=True)
class Summary:
    """What is quoted of many times of one thing."""

    median_ms: float
    """Milliseconds that half of the runs stayed below."""

    p95_ms: float
    """Milliseconds that 95 % of the runs stayed below."""


def summarise(seconds: Sequence[float]) -> Summary:
    """Takes median and 95th percentile, interpolated, of at least one time in seconds."""
    median, p95 = np.percentile(seconds, (50, 95))
    return Summary(1000 * float(median), 1000 * float(p95))


def precision_of(path: str | Path) -> str:
    """Tells by the operations in a model file whether it computes in `INT8` or in `FP32`."""
    # Every quantised file holds this operation's name; no other bytes of a file spell it.
    return "INT8" if b"QuantizeLinear" in Path(path).read_bytes() else "FP32"
