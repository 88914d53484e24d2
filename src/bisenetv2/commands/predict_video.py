"""`bisenetv2 predict` on moving pictures: names, progress, Ctrl-C and what is said at the end."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from json import dumps
from pathlib import Path
from signal import SIGINT

from bisenetv2.commands.predict_images import Options
from bisenetv2.commands.signals import Stop
from bisenetv2.errors import StoppedError, UserError
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.video.frames import Source
from bisenetv2.inference.video.pipeline import Tally, convert
from bisenetv2.inference.video.sources import OVERLAY_SUFFIXES, open_source
from bisenetv2.progress import progress_bar

INTERRUPTED = 128
"""Exit code after a signal on a file; shells add the signal's number to it."""


def predict_video(
    source: str | Sequence[Path], segmenter: Segmenter, stem: Path, options: Options, stop: Stop
) -> int:
    """Segments one source of moving pictures.

    Args:
        source: As `open_source` takes it.
        segmenter: Finds the masks.
        stem: Path of the outputs without ending: `STEM_overlay.mp4` (or what `overlay_path` finds
            the source needs), `STEM_masks`; of a live source numbered where that is there.
        options: What to write and how.
        stop: Once set, the source ends.

    Returns:
        Exit code: 0; 1 if a part could not be read; `INTERRUPTED` if what is not live was stopped.

    Raises:
        UserError: If the source or a value cannot be used.
        StoppedError: If it ended before its first frame.
    """
    from bisenetv2.inference.video import writers  # which need PyAV

    if not options.overlay and options.masks == "none":
        raise UserError("--no-overlay leaves nothing to write: add --masks png or --masks ffv1")
    if options.seconds is not None and not 0 < options.seconds < math.inf:
        raise UserError(f"seconds {options.seconds:g}: expected a number of seconds above 0")
    opened = open_source(source, fps=options.fps, sound=options.overlay)
    try:
        if opened.live and options.overlay_path is None:
            stem = free_stem(stem, options)
        outputs: list[Path] = []
        with ExitStack() as stack:
            opening = []
            if options.overlay:
                outputs.append(overlay_path(opened, stem, options))
                look = options.alpha, options.preset, options.crf
                opening.append(writers.overlay_writer(outputs[-1], opened, segmenter.labels, *look))
            if options.masks != "none":
                outputs.append(masks_path(stem, options))
                opening.append(
                    writers.mask_video_writer(outputs[-1], opened)
                    if options.masks == "ffv1"
                    else writers.mask_folder_writer(outputs[-1])
                )
            taking = [stack.enter_context(writer) for writer in opening]
            total = opened.total  # `None` where only Ctrl-C ends it
            if options.seconds is not None:
                limit = max(1, round(options.seconds * opened.rate))
                total = limit if total is None else min(total, limit)
            bar = stack.enter_context(progress_bar(Path(opened.name).name, total))

            def report(tally: Tally) -> None:
                dropped = f"  dropped {tally.dropped}" if opened.live else ""
                bar.advance(text=f"latency {1000 * tally.latency:.0f} ms{dropped}")

            tally = convert(
                opened, segmenter, taking, seconds=options.seconds, stop=stop, report=report
            )
            if not tally.frames:  # what the writers began is thrown away
                raise StoppedError("interrupted", stop.number or SIGINT)
    finally:
        opened.stop()
    return say_what_was_done(opened, tally, outputs, stop.is_set(), options.json)


def overlay_path(source: Source, stem: Path, options: Options) -> Path:
    """Names the overlay: MP4, or Matroska where the source is, if that can hold its sound."""
    from bisenetv2.inference.video.writers import suffix_for_sound

    if options.overlay_path is not None:
        return options.overlay_path
    preferred = ".mkv" if Path(source.name).suffix.lower() in (".mkv", ".webm") else ".mp4"
    suffix = suffix_for_sound(source, preferred)
    if suffix != preferred:
        told = f"{source.name}: {preferred} cannot hold its sound; writing {suffix}"
        print(told, file=sys.stderr if options.json else sys.stdout)
    return stem.with_name(f"{stem.name}_overlay{suffix}")


def masks_path(stem: Path, options: Options) -> Path:
    """Names the file or the folder of masks."""
    return stem.with_name(f"{stem.name}_masks{'.mkv' if options.masks == 'ffv1' else ''}")


def video_paths(stem: Path, options: Options) -> list[Path]:
    """Names all that a video may give, whatever its sound."""
    paths = [stem.with_name(f"{stem.name}_overlay{suffix}") for suffix in OVERLAY_SUFFIXES]
    if options.overlay_path is not None:
        paths = [options.overlay_path]
    masks = [] if options.masks == "none" else [masks_path(stem, options)]
    return [*(paths if options.overlay else []), *masks]


def free_stem(stem: Path, options: Options) -> Path:
    """Numbers a stem whose outputs are there: what was live cannot be recorded again."""
    free, number = stem, 1
    while any(path.exists() for path in video_paths(free, options)):
        number += 1
        free = stem.with_name(f"{stem.name}_{number}")
    return free


def say_what_was_done(
    source: Source, tally: Tally, outputs: Sequence[Path], interrupted: bool, json: bool
) -> int:
    """Prints what was written and what was lost; returns the exit code."""
    for line in source.damage:
        print(f"bisenetv2 predict: {source.name}: {line}", file=sys.stderr)
    rate = tally.frames / tally.seconds if tally.seconds else 0.0
    if json:
        content = {
            "source": source.name,
            "outputs": [str(path) for path in outputs],
            "frames": tally.frames,
            "dropped": tally.dropped,
            "frames_per_second": rate,
            "interrupted": interrupted,
            "damage": source.damage,
        }
        print(dumps(content))
    else:
        dropped = f", {tally.dropped} dropped" if source.live else ""
        ended = "interrupted after " if interrupted and not source.live else ""
        written = ", ".join(map(str, outputs))
        frames = f"{tally.frames} frame{'' if tally.frames == 1 else 's'}"
        print(f"{source.name}: {ended}{frames}, {rate:.1f} a second{dropped}: {written}")
    if interrupted:
        return 0 if source.live else INTERRUPTED
    return 1 if source.damage else 0
