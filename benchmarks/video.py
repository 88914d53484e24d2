"""Measure how much of the plain frame rate is left when video is decoded and encoded as well.

Run, with the extra `video` installed:

    python benchmarks/video.py
    python benchmarks/video.py --model model.onnx --size 1080 1920 --preset veryfast
    python benchmarks/video.py --clip drive.mp4

Two rates are measured in one process, on the same cores, in turns, so that whatever else the
machine does hits both: `segmenter(frame)` over frames that lie decoded in memory, and
`bisenetv2 predict clip.mp4` (H.264 in, overlay as H.264 out) over the same frames. The aim is at
least 70 % of the first. The processor's time a frame is printed as well: other work on the machine
hardly touches it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Annotated, NamedTuple

import av
import numpy as np
import tyro
from tyro.conf import arg

from bisenetv2 import Segmenter, segment_video
from bisenetv2.data.streets import render_street
from bisenetv2.inference.video.pipeline import convert
from bisenetv2.inference.video.sources import Preset, open_source
from bisenetv2.inference.video.writers import overlay_writer


def main(
    *,
    clip: Path | None = None,
    model: Annotated[Path | None, arg(aliases=["-m"])] = None,
    size: tuple[int, int] = (720, 1280),
    frames: int = 60,
    rounds: int = 5,
    cores: int = 2,
    threads: int | None = None,
    preset: Preset = "ultrafast",
) -> None:
    """Measure both rates and print their ratio.

    Args:
        clip: Video to use; a pan over rendered streets if left out.
        model: Model file or checkpoint; the embedded model if left out.
        size: Height and width of the rendered clip.
        frames: Frames a round.
        rounds: Rounds of each rate.
        cores: CPU cores to use for everything, where the system allows to choose.
        threads: Threads of the segmenter; all of the cores by default.
        preset: x264's preset of the written video.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    segmenter = Segmenter(model, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        path = clip or render_clip(Path(folder) / "clip.mp4", size, frames)
        images = [image.copy() for image, _ in islice(segment_video(path, segmenter), frames)]
        plain, video = [], []
        for _ in range(rounds):
            plain.append(run_plain(segmenter, images))
            video.append(run_video(segmenter, path, Path(folder) / "out.mp4", len(images), preset))
    print_table(images[0].shape, len(images), cores, preset, plain, video)


def print_table(
    shape: tuple[int, ...],
    frames: int,
    cores: int,
    preset: str,
    plain: Sequence[Run],
    video: Sequence[Run],
) -> None:
    """Prints medians, and the least and the greatest of the rounds in brackets."""
    size = f"{shape[1]}×{shape[0]}, {frames} frames a round, {cores} cores, preset {preset}"
    print(f"| {size} | frames a second | processor time a frame |")
    print("|---|---|---|")
    for name, runs in (("`segmenter(frame)`", plain), ("H.264 in and out", video)):
        rates = [run.rate for run in runs]
        processor = 1000 * median(run.processor for run in runs)
        spread = f"{min(rates):.1f} to {max(rates):.1f}"
        print(f"| {name} | {median(rates):.1f} ({spread}) | {processor:.1f} ms |")
    ratios = [100 * v.rate / p.rate for v, p in zip(video, plain, strict=True)]
    print(f"\nRatio: {median(ratios):.0f} % ({min(ratios):.0f} to {max(ratios):.0f}).")


class Run(NamedTuple):
    """One round."""

    rate: float
    """Frames a second."""

    processor: float
    """Seconds of processor time a frame, of all threads."""

    @classmethod
    def of(cls, work: Callable[[], int]) -> Run:
        """Times work that returns how many frames it did."""
        start, processor = perf_counter(), process_time()
        frames = work()
        return cls(frames / (perf_counter() - start), (process_time() - processor) / frames)


def render_clip(path: Path, size: tuple[int, int], frames: int) -> Path:
    """Writes a pan over a rendered street, with the noise of a sensor, as H.264 at 30 a second."""
    height, width = size
    street = render_street(0, 0, (height, width + 2 * frames)).image
    noise = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "20"})
        stream.height, stream.width = size
        for number in range(frames):
            view = street[:, 2 * number : 2 * number + width].astype(np.int16)
            view += noise.integers(-4, 5, view.shape, np.int16)
            image = np.clip(view, 0, 255).astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def run_plain(segmenter: Segmenter, images: list[np.ndarray]) -> Run:
    """Segments decoded frames one after the other."""
    return Run.of(lambda: len([segmenter(image) for image in images]))


def run_video(segmenter: Segmenter, clip: Path, output: Path, frames: int, preset: Preset) -> Run:
    """Does what `bisenetv2 predict` does, opening and closing files included."""

    def work() -> int:
        source = open_source(clip, sound=True)
        limit = frames / float(source.rate)
        with overlay_writer(output, source, segmenter.labels, preset=preset) as writer:
            return convert(source, segmenter, [writer], seconds=limit).frames

    return Run.of(work)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
