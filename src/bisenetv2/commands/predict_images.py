"""`bisenetv2 predict` on images: mask, colours and overlay of each, and its line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Suppress

from bisenetv2.errors import UserError
from bisenetv2.images import Image, read_image, write_image, write_mask
from bisenetv2.inference.overlay import class_shares, overlay
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.video.sources import Preset
from bisenetv2.labels import Labels, Mask
from bisenetv2.progress import progress_bar

DARK = 32
"""Value of 0-255 that images of 10 or 12 bits in files of 16 stay below."""


@dataclass(frozen=True)
class Options:
    """What `bisenetv2 predict` writes, and how."""

    alpha: float = 0.5
    """Opacity of the colours in the overlay, 0 to 1."""

    overlay: bool = True
    """Write images and videos with overlay."""

    masks: Literal["none", "png", "ffv1"] = "none"
    """Write a video's masks: png, a folder NAME_masks of numbered PNG files; ffv1, a lossless video
    NAME_masks.mkv. Grey values are class indices."""

    fps: float | None = None
    """Frames a second of an image sequence (25 by default), or to ask a camera for."""

    seconds: float | None = None
    """Stop after this much of a video, of a camera or stream also where it falls silent."""

    preset: Preset = "ultrafast"
    """Encoder's trade of speed for size; slower gives smaller files."""

    crf: int = 20
    """Encoder's quality, 0 to 51; less is better and larger."""

    json: bool = False
    """Print one JSON object a source, on a line, in place of the sentences."""

    overlay_path: Annotated[Path | None, Suppress] = None
    """Where a video's overlay goes; `None` names it after the source."""


def predict_images(
    images: Sequence[tuple[Path, Path]], segmenter: Segmenter, options: Options
) -> int:
    """Segments images, each a path and the path of its outputs without ending.

    Args:
        images: Pairs of these paths.
        segmenter: What segments.
        options: What to write.

    Returns:
        Exit code: 0, 1 if some could not be read, 2 if none could.

    Raises:
        UserError: If a picture cannot be written.
    """
    failed = 0
    with (
        progress_bar("predict", len(images), enabled=len(images) > 1) as bar,
        ThreadPoolExecutor(1) as pool,  # encoding pictures takes about as long as segmenting
    ):
        writing: Future[str] | None = None
        for path, stem in images:
            bar.advance()
            try:
                frame = read_image(path)
            except UserError as error:
                print(f"bisenetv2 predict: {error}", file=sys.stderr)
                failed += 1
                continue
            if frame.max() < DARK:
                print(
                    f"bisenetv2 predict: {path}: almost black, at most {frame.max()} of 255; if it "
                    "has 10 or 12 bits in a file of 16, stretch them to all 16",
                    file=sys.stderr,
                )
            mask = segmenter(frame)
            if writing is not None:
                print(writing.result())
            parts = path, stem, frame, mask, segmenter.labels, options
            writing = pool.submit(write_and_tell, *parts)
        if writing is not None:
            print(writing.result())
    done = len(images) - failed
    if not done:
        return 2
    if not options.json:
        print(f"{done} of {len(images)} segmented, pictures in {images[0][1].parent}/")
    return 1 if failed else 0


def write_and_tell(
    path: Path, stem: Path, frame: Image, mask: Mask, labels: Labels, options: Options
) -> str:
    """Writes the pictures of an image and returns the line that tells its classes."""
    alpha = options.alpha if options.overlay else None
    outputs = [str(output) for output in write_pictures(stem, frame, mask, labels, alpha)]
    shares = class_shares(mask, labels)
    if options.json:
        return dumps({"source": str(path), "outputs": outputs, "shares": shares})
    return f"{path}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())


def picture_paths(stem: Path) -> list[Path]:
    """Names the pictures of mask, colours and overlay."""
    return [stem.with_name(f"{stem.name}_{kind}.png") for kind in ("mask", "color", "overlay")]


def write_pictures(
    stem: Path, frame: Image, mask: Mask, labels: Labels, alpha: float | None
) -> list[Path]:
    """Writes mask, colours and, unless `alpha` is `None`, the overlay; returns their paths."""
    indices, colours, blend = picture_paths(stem)
    write_mask(indices, mask)
    write_image(colours, labels.colorize(mask))
    if alpha is None:
        return [indices, colours]
    write_image(blend, overlay(frame, mask, labels, alpha))
    return [indices, colours, blend]
