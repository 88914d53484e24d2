"""CamVid in either of its forms.

SegNet's copy at 480×360 has folders `train/`, `trainannot/`, `val/`, … with 11 classes as ids. The
original at 960×720 has labels `NAME_L.png` in 32 colours, in two folders or in some split's; here
they become the same classes in the same split, which the names of the frames give.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from bisenetv2.builtin_labels import CAMVID_COLORS, TERMS
from bisenetv2.data.encodings import Encoding
from bisenetv2.data.folder.matching import Match, Pair, Source, match
from bisenetv2.data.pairs import PairedFiles
from bisenetv2.errors import UserError
from bisenetv2.images import IMAGE_SUFFIXES
from bisenetv2.labels import CAMVID

SPLITS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}
"""Folders behind each split."""

COUNTS = {"train": 367, "val": 101, "trainval": 468, "test": 233}
"""Frames in each split."""

STILLS = (
    ("701_StillsRaw_full", "LabeledApproved_full"),
    *((name, f"{name}_labels") for name in ("train", "val", "test")),
)
"""Folders that the original's frames and labels may lie in."""

_LICENCE = ": ".join(TERMS["camvid"])
LABEL_ENDING = "_L"
"""What the names of the original's labels end in."""

_SEQUENCES = ("0001TP_", "0006R0_", "0016E5_", "Seq05VD_")
_FRAME = re.compile(f"({'|'.join(_SEQUENCES)})f?([0-9]+)")


def open_camvid(root: str | Path, split: str) -> PairedFiles:
    """Lists a split of SegNet's copy and checks that images and masks pair up.

    Args:
        root: Folder that holds `train/`, `trainannot/` and so on.
        split: `train`, `val`, `trainval` or `test`.

    Raises:
        UserError: If the split is unknown, a folder is missing or empty, or files do not pair.
    """
    _check_split(split)
    files: list[Pair] = []
    for folder in SPLITS[split]:
        pairs = _matched(Path(root), Source(folder, f"{folder}annot")).checked()
        if not pairs:
            formats = ", ".join(IMAGE_SUFFIXES)
            raise UserError(f"{Path(root) / folder}: holds no image; put frames there ({formats})")
        files += pairs
    return PairedFiles(f"CamVid {split}", _LICENCE, CAMVID, tuple(files))


def open_stills(root: str | Path, split: str) -> PairedFiles:
    """Lists a split of the original at 960×720, wherever in `STILLS` its frames lie.

    Args:
        root: Folder that holds those of `STILLS`, all or some.
        split: `train`, `val`, `trainval` or `test`.

    Raises:
        UserError: If the split is unknown or empty, or a frame lacks its labels.
    """
    _check_split(split)
    files: list[Pair] = []
    for images, masks in STILLS:
        if (Path(root) / images).is_dir() or (Path(root) / masks).is_dir():
            found = _matched(Path(root), Source(images, masks, mask_ending=LABEL_ENDING))
            for name in SPLITS[split]:
                files += replace(frames_of(name, found), masks_alone=()).checked()
    if not files:
        raise UserError(f"{root}: holds no frame of CamVid {split}; unpack all of its folders")
    part = f", {len(files)} of {COUNTS[split]} frames" if len(files) != COUNTS[split] else ""
    name = f"CamVid {split} (32-colour labels{part})"
    return PairedFiles(name, _LICENCE, CAMVID, tuple(files), Encoding("colors", CAMVID_COLORS))


def holds_stills(root: Path) -> bool:
    """Tells whether a folder holds the original's frames or labels."""
    labels = (f"{masks}/{name}*{LABEL_ENDING}.png" for _, masks in STILLS for name in _SEQUENCES)
    if any(next(root.glob(pattern), None) is not None for pattern in labels):
        return True
    return any((root / name).is_dir() for name in STILLS[0])


def frames_of(split: str, found: Match) -> Match:
    """Returns the part of the original's frames and labels that belongs to a split."""
    return Match(
        tuple(pair for pair in found.pairs if split_of(pair[0].stem) == split),
        tuple(path for path in found.images_alone if split_of(path.stem) == split),
        tuple(path for path in found.masks_alone if split_of(path.stem) == split),
    )


def split_of(stem: str) -> str | None:
    """Returns the split of a frame of the original, the same as in SegNet's copy, by its name.

    `None` for a name that is neither a frame's nor its labels'.
    """
    frame = _FRAME.fullmatch(stem.removesuffix(LABEL_ENDING))
    if frame is None:
        return None
    sequence, number = frame[1], int(frame[2])
    if sequence == "Seq05VD_" or (sequence == "0001TP_" and number >= 8550):
        return "test"
    return "val" if sequence == "0016E5_" and 7959 <= number <= 8159 else "train"


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}: CamVid has {', '.join(SPLITS)}")


def _matched(root: Path, source: Source) -> Match:
    for folder in (root / source.images, root / source.masks):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; unpack CamVid's there")
    return match(root, source)
