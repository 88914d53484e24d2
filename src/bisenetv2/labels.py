"""Class names, colours and raw ids: one immutable object that travels with every model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.errors import UserError

Color = tuple[int, int, int]
Mask = npt.NDArray[np.uint8]

IGNORE_INDEX = 255
"""The mask value that takes part neither in training nor in evaluation."""


@dataclass(frozen=True)
class Labels:
    """What the class indices of a mask mean.

    Raises:
        UserError: If names, palette and raw ids do not fit together.
    """

    names: tuple[str, ...]
    """Class names in the order of their indices; 1 to 255 of them, no two alike."""

    palette: tuple[Color, ...]
    """One RGB colour (0-255) a class."""

    ignore_index: int = IGNORE_INDEX
    """Mask value of ignored pixels; not the index of a class."""

    raw_ids: tuple[tuple[int, int], ...] | None = None
    """Pairs (id in the data set's files, class index or ignore index); `None`: ids are indices.

    Ids are 0-65535. Every id that may occur is listed, the ignored ones too, so that an unknown id
    is an error rather than an ignored pixel.
    """

    def __post_init__(self) -> None:
        count = len(self.names)
        if not 1 <= count <= 255:
            raise UserError(f"{count} classes: a mask holds 1 to 255 of them")
        if len(set(self.names)) != count:
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise UserError(f"class names used twice: {', '.join(twice)}")
        if len(self.palette) != count:
            raise UserError(f"{len(self.palette)} colours for {count} classes: give one a class")
        if any(len(c) != 3 or not all(0 <= v <= 255 for v in c) for c in self.palette):
            raise UserError("a palette holds RGB triples of 0-255")
        if not count <= self.ignore_index <= 255:
            raise UserError(
                f"ignore index {self.ignore_index}: take one of {count}-255, not a class index"
            )
        seen: set[int] = set()
        for raw, index in self.raw_ids or ():
            if raw in seen:
                raise UserError(f"raw id {raw} is listed twice: give each id one meaning")
            seen.add(raw)
            if not 0 <= raw <= 65535:
                raise UserError(f"raw id {raw}: ids of masks are 0-65535")
            if not (0 <= index < count or index == self.ignore_index):
                raise UserError(f"raw id {raw} maps to {index}, which is no class of {count}")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Returns the index of the class called `name`.

        Raises:
            UserError: If there is no such class.
        """
        if name not in self.names:
            raise UserError(f"unknown class {name!r}: the classes are {', '.join(self.names)}")
        return self.names.index(name)

    @cached_property
    def _lookup(self) -> npt.NDArray[np.int16]:
        """Class index for each raw id, 256 or 65536 of them; -1 where an id has no meaning."""
        pairs = self.raw_ids if self.raw_ids is not None else [(i, i) for i in range(len(self))]
        wide = any(raw > 255 for raw, _ in pairs)
        table = np.full(65536 if wide else 256, -1, np.int16)
        table[self.ignore_index] = self.ignore_index
        for raw, index in pairs:
            table[raw] = index
        return table

    def from_raw(self, mask: npt.NDArray[np.integer], source: object = "mask") -> Mask:
        """Maps the ids found in a file to class indices.

        Args:
            mask: H×W of raw ids, any integer type.
            source: What to name in an error, usually the path.

        Returns:
            `uint8` H×W of class indices, `ignore_index` where ignored.

        Raises:
            UserError: If an id is neither a class nor ignored; nothing is clamped.
        """
        ids = mask
        if mask.dtype != np.uint8:
            low, high = (int(mask.min()), int(mask.max())) if mask.size else (0, 0)
            last = len(self._lookup) - 1
            if low < 0 or high > last:
                raise UserError(f"{source}: label {low if low < 0 else high} is not in 0-{last}")
            ids = mask.astype(np.uint16)
        present = np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
        unknown = present[self._lookup[present] < 0]
        if unknown.size:
            ids_text = ", ".join(str(i) for i in unknown[:8])
            raise UserError(
                f"{source}: label {ids_text} is out of range: {len(self)} classes "
                f"(0-{len(self) - 1}) and {self.ignore_index} for ignored pixels are expected"
            )
        return self._lookup.astype(np.uint8).take(ids)

    def colorize(self, mask: Mask) -> npt.NDArray[np.uint8]:
        """Paints a mask (H×W of class indices) in the palette: RGB `uint8` H×W×3, ignored black."""
        table = np.zeros((256, 1, 3), np.uint8)
        table[: len(self), 0] = self.palette
        painted = cv2.applyColorMap(np.ascontiguousarray(mask), table)  # H, W, 3
        return np.asarray(painted, np.uint8)

    def to_json(self) -> str:
        """Serialises to one line of JSON that `from_json` reads back."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Labels:
        """Reads what `to_json` wrote.

        Raises:
            UserError: If the text is not such a JSON object.
        """
        try:
            content = json.loads(text)
            pairs: Sequence[Sequence[int]] | None = content["raw_ids"]
            return cls(
                names=tuple(str(name) for name in content["names"]),
                palette=tuple((int(r), int(g), int(b)) for r, g, b in content["palette"]),
                ignore_index=int(content["ignore_index"]),
                raw_ids=None if pairs is None else tuple((int(a), int(b)) for a, b in pairs),
            )
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UserError(f"damaged labels: {error!r}") from error


_CAMVID_CLASSES: tuple[tuple[str, Color], ...] = (
    ("Sky", (128, 128, 128)),
    ("Building", (128, 0, 0)),
    ("Pole", (192, 192, 128)),
    ("Road", (128, 64, 128)),
    ("Pavement", (60, 40, 222)),
    ("Tree", (128, 128, 0)),
    ("SignSymbol", (192, 128, 128)),
    ("Fence", (64, 64, 128)),
    ("Car", (64, 0, 128)),
    ("Pedestrian", (64, 64, 0)),
    ("Bicyclist", (0, 128, 192)),
)

CAMVID = Labels(
    names=tuple(name for name, _ in _CAMVID_CLASSES),
    palette=tuple(color for _, color in _CAMVID_CLASSES),
    raw_ids=(*((i, i) for i in range(11)), (11, IGNORE_INDEX)),
)
"""CamVid's 11 classes at 480×360; files mark ignored pixels with 11 (SegNet's copy)."""
