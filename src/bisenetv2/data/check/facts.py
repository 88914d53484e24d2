"""One parallel pass over the files of a data set gathers all that `check` judges by."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.data.check.files import Listing, all_pairs
from bisenetv2.data.encodings import pack_colors, single_channel
from bisenetv2.data.folder.survey import count_values
from bisenetv2.errors import UserError
from bisenetv2.images import Header, read_header, read_image, read_mask

THUMBNAIL = 32
"""Side in pixels of the grey picture that stands for an image in the search for duplicates."""

_LEAST_REDUCED = 256
"""Images whose shorter side has fewer pixels are decoded in full: colours need no more than that
many, and thumbnails far fewer."""

_MOST_STRANGE = 16
"""Values without a meaning that are kept of a mask, the most frequent ones."""


@dataclass(frozen=True)
class ImageFacts:
    """An image, decoded."""

    digest: bytes
    """Of the file."""

    thumbnail: npt.NDArray[np.uint8]
    """Grey, 32×32."""

    mean: npt.NDArray[np.float64]
    """Of each channel, RGB, 0-255."""

    square: npt.NDArray[np.float64]
    """Mean square of each channel."""


@dataclass(frozen=True)
class MaskFacts:
    """A mask, decoded."""

    classes: npt.NDArray[np.int64]
    """Pixels of each class, C."""

    ignored: int
    """Pixels that the labels ignore."""

    strange: dict[int, int] = field(default_factory=dict)
    """Pixels of values that mean nothing: ids, or colours as 0xRRGGBB."""

    strays: int = 0
    """All such pixels."""

    @property
    def pixels(self) -> int:
        """Pixels of the mask."""
        return int(self.classes.sum()) + self.ignored + self.strays


@dataclass
class PairFacts:
    """What is known of an image and its mask; what could not be found out is `None`."""

    split: str
    image_path: Path
    mask_path: Path
    header: Header | None = None
    mask_size: tuple[int, int] | None = None
    """Height and width in pixels."""

    image: ImageFacts | None = None
    mask: MaskFacts | None = None
    troubles: list[tuple[Path, str]] = field(default_factory=list)
    """Files that cannot be read and why."""


def gather(
    listing: Listing,
    decoded: Container[int] | None = None,
    progress: Callable[[], None] | None = None,
) -> list[PairFacts]:
    """Looks at every pair.

    Args:
        listing: The pairs.
        decoded: Places of the pairs to decode; of the others only headers are read. `None`: all.
        progress: Called after each pair.

    Returns:
        Facts in the order of the listing; a damaged file is a fact like others.
    """
    found = []
    pairs = all_pairs(listing)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = [
            pool.submit(look, split, *pair, listing, decoded is None or place in decoded)
            for place, (split, pair) in enumerate(pairs)
        ]
        try:
            for job in jobs:
                found.append(job.result())
                if progress is not None:
                    progress()
        finally:  # an interrupt does not wait for thousands of files
            pool.shutdown(wait=False, cancel_futures=True)
    return found


def look(split: str, image: Path, mask: Path, listing: Listing, decoded: bool) -> PairFacts:
    """Gathers the facts of one pair."""
    facts = PairFacts(split, image, mask)
    try:
        facts.header = read_header(image)
        if decoded:
            facts.image = _look_at_image(image, facts.header)
    except UserError as error:
        facts.troubles.append((image, str(error)))
    try:
        if decoded:
            facts.mask_size, facts.mask = _look_at_mask(mask, listing)
        elif mask.suffix.lower() not in (".npy", ".mat"):
            facts.mask_size = read_header(mask).size
    except UserError as error:
        facts.troubles.append((mask, str(error)))
    return facts


def _look_at_image(path: Path, header: Header) -> ImageFacts:
    image = read_image(path, reduced=min(header.size) >= 2 * _LEAST_REDUCED)
    mean, deviation = (np.asarray(p, np.float64).ravel() for p in cv2.meanStdDev(image))  # 3, 3
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    thumbnail = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    return ImageFacts(digest, np.asarray(thumbnail, np.uint8), mean, deviation**2 + mean**2)


def _look_at_mask(path: Path, listing: Listing) -> tuple[tuple[int, int], MaskFacts | None]:
    encoding, labels = listing.encoding, listing.labels
    in_colors = encoding.kind == "colors"
    pixels = read_mask(path, as_colors=in_colors)
    size = pixels.shape[0], pixels.shape[1]
    if labels is None:
        return size, None
    values = pack_colors(pixels) if in_colors else single_channel(pixels)
    if values is None:
        raise UserError(f"{path}: holds colours where the other masks hold class ids; convert it")
    counts = count_values(values.ravel())
    if in_colors:
        indices = encoding.classify(np.array(list(counts), np.int32))
    elif encoding.kind == "instances":
        listed = dict(labels.raw_ids or ())
        indices = np.array([listed.get(value, value != 0) for value in counts], np.int16)
    else:
        same = ((index, index) for index in (*range(len(labels)), labels.ignore_index))
        listed = {labels.ignore_index: labels.ignore_index, **dict(labels.raw_ids or same)}
        indices = np.array([listed.get(value, -1) for value in counts], np.int16)
    table = np.zeros(257, np.int64)  # -1 where a value means nothing, then the classes
    np.add.at(table, indices + 1, np.array(list(counts.values()), np.int64))
    strange = Counter({v: counts[v] for v, i in zip(counts, indices, strict=True) if i < 0})
    most = dict(strange.most_common(_MOST_STRANGE))
    ignored = int(table[1 + labels.ignore_index])
    return size, MaskFacts(table[1 : 1 + len(labels)], ignored, most, int(table[0]))
