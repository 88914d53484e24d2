"""Read and write images and masks.

Images are decoded by OpenCV, the fastest decoder at hand; masks by Pillow, because OpenCV returns
the luminance of a palette PNG, not its ids.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from bisenetv2.errors import UserError
from bisenetv2.files import read_bytes, write_bytes
from bisenetv2.mask_arrays import read_array, read_coco_stuff_mat, whole_numbers

Image = npt.NDArray[np.uint8]
"""RGB, H×W×3, C-contiguous."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
"""File name endings taken for images, in lower case."""

MASK_SUFFIXES = (*IMAGE_SUFFIXES, ".gif", ".npy", ".mat")
"""File name endings taken for masks, in lower case."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")
"""Pillow's names of these formats; whatever else it could open is not even tried."""


_ID_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "F")
"""Pillow's modes of a single channel of numbers; in the last they may be fractions."""

_ORIENTATION = 0x0112
"""EXIF's tag of the orientation."""

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS = 256, 257, 258
"""TIFF's tags of the size, and of the bits of each band."""

_ENDINGS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
"""Last bytes of a whole file of the format."""


class Header(NamedTuple):
    """What an image file says of itself before its pixels."""

    size: tuple[int, int]
    """Height and width in pixels as stored."""

    orientation: int
    """EXIF orientation, 1-8; 1 is upright, 5-8 swap height and width."""

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width as `read_image` returns them."""
        return self.size[::-1] if self.orientation > 4 else self.size


def read_header(path: str | Path) -> Header:
    """Reads the header of an image, or of a mask that is one, and looks at its last bytes.

    Nothing is decoded unless these are not as they should be.

    Raises:
        UserError: If the file is missing, no image, cut off, or of more than 178 megapixels.
    """
    try:
        with Path(path).open("rb") as file, _opened(path, file, _formats(path)) as header:
            orientation = _orientation(header)
            size = _stored_size(header)
            ending = _ENDINGS.get(header.format or "", b"")
            place = file.tell()
            file.seek(max(0, file.seek(0, os.SEEK_END) - len(ending)))
            whole = file.read() == ending
            file.seek(place)
            if ending and not whole:  # cut off, or something was appended
                header.load()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return Header(size, orientation if orientation in range(1, 9) else 1)


def _stored_size(image: PillowImage.Image) -> tuple[int, int]:
    if isinstance(image, TiffImageFile):  # Pillow gives the size of the upright picture
        return int(image.tag_v2[_TIFF_HEIGHT]), int(image.tag_v2[_TIFF_WIDTH])
    return image.height, image.width


def _orientation(image: PillowImage.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the picture to find out
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (struct.error, SyntaxError, ValueError, TypeError, OSError):  # a damaged block
        return 1


def read_image(path: str | Path, *, reduced: bool = False) -> Image:
    """Reads an image as RGB `uint8` H×W×3, turned upright where EXIF says so.

    16-bit images are scaled to 8 bits and an alpha channel is dropped.

    Args:
        path: The file.
        reduced: Return it at half its size, which is quicker to decode where it is a JPEG.

    Raises:
        UserError: If the file is missing, truncated, no image, or of more than 178 megapixels.
    """
    return decode_image(read_bytes(path), path, reduced=reduced)


def decode_image(data: bytes, name: str | Path, *, reduced: bool = False) -> Image:
    """Decodes the bytes of an image file, as `read_image` does; `name` is for its errors.

    Raises:
        UserError: If they are truncated, no image, of more than 178 megapixels, or hold fractions.
    """
    with _opened(name, BytesIO(data)) as header:
        # Some versions of OpenCV paint the missing half of a JPEG instead of refusing it; Pillow
        # refuses. Its slower decoding is spent only on files that do not end as they should.
        ending = _ENDINGS.get(header.format or "", b"")
        if not data.endswith(ending):
            header.load()
        if header.mode == "F":
            raise UserError(f"{name}: holds fractions, not values of 0-255; save it in 8 bits")
        # Of four 8-bit bands OpenCV would multiply the colours by what it takes for alpha.
        if isinstance(header, TiffImageFile) and header.tag_v2.get(_TIFF_BITS) == (8,) * 4:
            step = 2 if reduced else 1
            return np.ascontiguousarray(np.asarray(header.convert("RGB"))[::step, ::step])
    flag = cv2.IMREAD_REDUCED_COLOR_2 if reduced else cv2.IMREAD_COLOR_RGB
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f"{name}: a damaged image, or a kind OpenCV cannot decode; save it anew")
    if reduced:  # OpenCV offers no reduced RGB
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(image, np.uint8)  # H, W, 3


def is_lossy(path: str | Path) -> bool:
    """Tells whether a file's format has changed values: JPEG, or WebP that is not lossless.

    Raises:
        UserError: If the file cannot be read.
    """
    suffix = Path(path).suffix.lower()
    if suffix != ".webp":
        return suffix in (".jpg", ".jpeg")
    data, place = read_bytes(path), 12  # behind `RIFF`, a size and `WEBP`
    while place + 8 <= len(data):
        if data[place : place + 4] in (b"VP8 ", b"VP8L"):
            return data[place : place + 4] == b"VP8 "
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + size + size % 2  # chunks start at even places
    return False


def read_mask(path: str | Path, *, as_colors: bool = False) -> npt.NDArray[np.integer]:
    """Reads a mask file of any kind: an image of ids or of colours, an array (`.npy`, `.mat`).

    A `.mat` is one of COCO-Stuff 10k: its ids 1-182 become 0-181 and its 0 becomes 255, as in the
    PNG files of COCO-Stuff 164k.

    Args:
        path: The file.
        as_colors: Whether palette and grey files are wanted in colour, rather than as ids.

    Returns:
        H×W of ids, or RGB `uint8` H×W×3. Alpha is dropped; what is wholly transparent is black.

    Raises:
        UserError: If the file is missing, truncated, of no known kind, an image of more than 178
            megapixels, or holds ids too large to be grey values where colours are wanted.
    """
    read = {".npy": read_array, ".mat": read_coco_stuff_mat}.get(Path(path).suffix.lower())
    pixels = read(path) if read else decode_mask(read_bytes(path), path, as_colors=as_colors)
    if not as_colors or pixels.ndim == 3:
        return pixels
    if pixels.size and (pixels.min() < 0 or pixels.max() > 255):
        raise UserError(f"{path}: holds ids up to {pixels.max()} where colours are expected")
    return np.repeat(pixels.astype(np.uint8)[..., None], 3, axis=2)  # H, W, 3


def read_palette(path: str | Path) -> npt.NDArray[np.uint8] | None:
    """Reads the colours of a palette image, 256×3, without its pixels; `None` where it has none.

    Raises:
        UserError: If the file is missing or no image.
    """
    if Path(path).suffix.lower() in (".npy", ".mat"):
        return None
    with _opened(path, BytesIO(read_bytes(path)), _formats(path)) as file:
        palette = file.getpalette() if file.mode == "P" else None
        if palette is None:
            return None
        colors = np.zeros((256, 3), np.uint8)
        colors.ravel()[: len(palette)] = palette
        return colors


def decode_mask(
    data: bytes, name: str | Path, *, as_colors: bool = False
) -> npt.NDArray[np.integer]:
    """Decodes the bytes of a mask that is an image, as `read_mask` does; `name` is for its errors.

    Raises:
        UserError: If they are truncated, no image, of more than 178 megapixels, or hold fractions.
    """
    with _opened(name, BytesIO(data), _formats(name)) as file:
        if file.mode in _ID_MODES and not (as_colors and file.mode in ("1", "P")):
            file.load()
            return whole_numbers(name, np.asarray(file))  # H, W
        if file.mode not in ("1", "P", "RGB", "RGBA", "RGBa", "RGBX", "LA", "La", "PA"):
            raise UserError(f"{name}: {file.mode} pixels are no mask; save it as an 8-bit PNG")
        if file.mode in ("RGB", "P", "1"):
            return np.asarray(file.convert("RGB"))
        colors = np.array(file.convert("RGBA"))
        colors[colors[..., 3] == 0] = 0
        return np.ascontiguousarray(colors[..., :3])


def _formats(path: str | Path) -> tuple[str, ...]:
    """Names the formats a file may have: GIF is one of masks alone."""
    return (*_FORMATS, "GIF") if Path(path).suffix.lower() == ".gif" else _FORMATS


@contextmanager
def _opened(
    path: str | Path, source: BinaryIO, formats: tuple[str, ...] = _FORMATS
) -> Iterator[PillowImage.Image]:
    """Opens an image by its header alone; what Pillow raises then and later names the path.

    A header that declares a monstrous size is refused here, before any decoder allocates it.
    """
    try:
        with PillowImage.open(source, formats=formats) as file:
            yield file
    except UnidentifiedImageError as error:
        raise UserError(
            f"{path}: not an image of a known format ({', '.join(formats)}), or a truncated one; "
            "replace or remove it"
        ) from error
    except PillowImage.DecompressionBombError as error:
        raise UserError(f"{path}: too large ({error}); cut it into smaller images") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{path}: truncated or damaged image file ({error}); replace or remove it"
        ) from error


def write_image(path: str | Path, image: npt.NDArray[np.uint8]) -> None:
    """Writes an RGB image (`uint8` H×W×3); the name's ending chooses the format.

    Raises:
        UserError: If the format is unknown or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise UserError(f"{path}: unknown image format; use one of {', '.join(IMAGE_SUFFIXES)}")
    write_bytes(path, encode_image(image, suffix, path))


def encode_image(image: npt.NDArray[np.uint8], suffix: str, name: str | Path) -> bytes:
    """Encodes an RGB image (`uint8` H×W×3) in one of the formats of `IMAGE_SUFFIXES`.

    Raises:
        UserError: If the format cannot hold the image; it begins with `name`.
    """
    try:
        done, encoded = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]))
    except cv2.error:
        done = False
    if not done:
        size = " × ".join(str(side) for side in image.shape)
        raise UserError(f"{name}: {suffix} cannot hold an image of {size}; use .png")
    return encoded.tobytes()


def write_mask(path: str | Path, mask: npt.NDArray[np.uint8]) -> None:
    """Writes a mask (`uint8` H×W) as a single-channel PNG whose grey values are the indices.

    Raises:
        UserError: If the name does not end in `.png` or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"{path}: masks are written as .png, the lossless format")
    write_bytes(path, encode_mask(mask))


def encode_mask(mask: npt.NDArray[np.uint8]) -> bytes:
    """Encodes a mask (`uint8` H×W) as `write_mask` writes it."""
    buffer = BytesIO()
    PillowImage.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()
