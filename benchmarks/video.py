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
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Annotated

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

        def plain() -> None:
            for image in images:
                segmenter(image)

        def video() -> None:  # what `bisenetv2 predict` does, opening and closing files included
            source = open_source(path, sound=True)
            limit = len(images) / float(source.rate)
            output = Path(folder) / "out.mp4"
            with overlay_writer(output, source, segmenter.labels, preset=preset) as writer:
                convert(source, segmenter, [writer], seconds=limit)

        rounds_of = {"`segmenter(frame)`": [], "H.264 in and out": []}
        for _ in range(rounds):
            for runs, work in zip(rounds_of.values(), (plain, video), strict=True):
                runs.append(time_frames(work, len(images)))
    height, width = images[0].shape[:2]
    clip_of = f"{width}×{height}, {len(images)} frames a round, {cores} cores, preset {preset}"
    print(f"| {clip_of} | frames a second | processor time a frame |\n|---|---|---|")
    for name, runs in rounds_of.items():
        rates, processor = zip(*runs, strict=True)
        spread = f"{min(rates):.1f} to {max(rates):.1f}"  # the least and the greatest round
        print(f"| {name} | {median(rates):.1f} ({spread}) | {1000 * median(processor):.1f} ms |")
    of_plain, of_video = rounds_of.values()
    ratios = [100 * v[0] / p[0] for v, p in zip(of_video, of_plain, strict=True)]
    print(f"\nRatio: {median(ratios):.0f} % ({min(ratios):.0f} to {max(ratios):.0f}).")


def time_frames(work: Callable[[], None], frames: int) -> tuple[float, float]:
    """Returns frames a second, and the seconds of processor time a frame, of all threads."""
    start, processor = perf_counter(), process_time()
    work()
    return frames / (perf_counter() - start), (process_time() - processor) / frames


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


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
