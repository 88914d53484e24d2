"""`bisenetv2 predict` on images: mask, colours and overlay of each, and its line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from bisenetv2.errors import UserError

if TYPE_CHECKING:
    from bisenetv2.images import Image
    from bisenetv2.inference.segmenter import Segmenter
    from bisenetv2.labels import Labels, Mask

DARK = 32
"""Value of 0-255 that images of 10 or 12 bits in files of 16 stay below."""


def predict_images(
    images: Sequence[tuple[Path, Path]], segmenter: Segmenter, alpha: float | None, json: bool
) -> int:
    """Segments images, each a path and the path of its outputs without ending.

    Args:
        images: Pairs of these paths.
        segmenter: What segments.
        alpha: Opacity of the colours in the overlay; `None`: write none.
        json: Whether lines are JSON.

    Returns:
        Exit code: 0, 1 if some could not be read, 2 if none could.

    Raises:
        UserError: If a picture cannot be written.
    """
    from bisenetv2.images import read_image
    from bisenetv2.progress import progress_bar

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
            labels = segmenter.labels
            writing = pool.submit(write_and_tell, path, stem, frame, mask, labels, alpha, json)
        if writing is not None:
            print(writing.result())
    done = len(images) - failed
    if failed and not done:
        return 2
    if not json:
        print(f"{done} of {len(images)} segmented, pictures in {images[0][1].parent}/")
    return 1 if failed else 0


def write_and_tell(
    path: Path,
    stem: Path,
    frame: Image,
    mask: Mask,
    labels: Labels,
    alpha: float | None,
    json: bool,
) -> str:
    """Writes the pictures of an image and returns the line that tells its classes."""
    from bisenetv2.inference.overlay import class_shares

    outputs = [str(output) for output in write_pictures(stem, frame, mask, labels, alpha)]
    shares = class_shares(mask, labels)
    if json:
        return dumps({"source": str(path), "outputs": outputs, "shares": shares})
    return f"{path}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())


def picture_paths(stem: Path) -> tuple[Path, Path, Path]:
    """Names the pictures of mask, colours and overlay."""
    indices, colours, blend = (
        stem.with_name(f"{stem.name}_{kind}.png") for kind in ("mask", "color", "overlay")
    )
    return indices, colours, blend


def write_pictures(
    stem: Path, frame: Image, mask: Mask, labels: Labels, alpha: float | None
) -> tuple[Path, ...]:
    """Writes mask, colours and, unless `alpha` is `None`, the overlay; returns their paths."""
    from bisenetv2.images import write_image, write_mask
    from bisenetv2.inference.overlay import overlay

    indices, colours, blend = picture_paths(stem)
    write_mask(indices, mask)
    write_image(colours, labels.colorize(mask))
    if alpha is None:
        return indices, colours
    write_image(blend, overlay(frame, mask, labels, alpha))
    return indices, colours, blend
