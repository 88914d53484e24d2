"""Read and write images and masks.

Images are read by OpenCV, masks by Pillow: OpenCV returns the luminance of a palette PNG, not its
ids. Every write goes to a temporary name first and is renamed when whole.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from bisenetv2.errors import UserError

Image = npt.NDArray[np.uint8]
"""RGB, H×W×3, C-contiguous."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
"""File name endings taken for images, in lower case."""


def read_image(path: str | Path) -> Image:
    """Reads an image as RGB `uint8` H×W×3, turned upright where EXIF says so.

    Raises:
        UserError: If the file is missing, truncated or no image.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if image is None:
        raise UserError(f"{path}: not an image, or a truncated one; replace or remove it")
    return np.ascontiguousarray(image, np.uint8)


def read_mask(path: str | Path) -> npt.NDArray[np.integer]:
    """Reads the ids of a mask file as they stand: palette indices, grey values or 16-bit ids.

    Returns:
        H×W of ids, `uint8` or a wider integer type.

    Raises:
        UserError: If the file is missing, truncated, no image, or holds colours in place of ids.
    """
    try:
        with PillowImage.open(path) as file:
            if file.mode == "1":
                return np.asarray(file).astype(np.uint8)
            if file.mode not in ("L", "P", "I", "I;16", "I;16B", "I;16L"):
                raise UserError(
                    f"{path}: holds {file.mode} colours, not class ids; "
                    "convert it to a single-channel mask"
                )
            return np.asarray(file)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: not an image; replace or remove it") from error
    except OSError as error:
        reason = error.strerror or "truncated or damaged"
        raise UserError(f"{path}: cannot be read ({reason})") from error
    except (SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise UserError(f"{path}: damaged image file ({error})") from error


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; renames it to `path` when the block ends well.

    Creates the folder where it is missing. On an exception nothing is left behind.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=target.suffix,
                                        dir=target.parent)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_image(path: str | Path, image: npt.NDArray[np.uint8]) -> None:
    """Writes an RGB image (`uint8` H×W×3); the name's ending chooses the format.

    Raises:
        UserError: If the format is unknown or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise UserError(f"{path}: unknown image format; use one of {', '.join(IMAGE_SUFFIXES)}")
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), np.ascontiguousarray(image[..., ::-1])):
            raise UserError(f"{path}: cannot be written")


def write_mask(path: str | Path, mask: npt.NDArray[np.uint8]) -> None:
    """Writes a mask (`uint8` H×W) as a single-channel PNG whose grey values are the indices."""
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"{path}: masks are written as .png, the lossless format")
    with atomic_path(path) as temporary:
        PillowImage.fromarray(mask).save(temporary, format="PNG")
