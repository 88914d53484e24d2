"""CamVid in either of its forms.

SegNet's copy at 480×360 has folders `train/`, `trainannot/`, `val/`, … with 11 classes as ids. The
original at 960×720 has labels `NAME_L.png` in 32 colours, in two folders or in some split's; here
they become the same classes in the same split, which the names of the frames give.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from bisenetv2.builtin_labels import CAMVID_COLORS, TERMS
from bisenetv2.data.dataset import Sample
from bisenetv2.data.encodings import Encoding
from bisenetv2.data.pairs import IDS, PairedFiles, read_pair
from bisenetv2.errors import UserError
from bisenetv2.images import IMAGE_SUFFIXES
from bisenetv2.labels import CAMVID, Labels

SPLITS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}
"""Folders behind each split."""

COUNTS = {"train": 367, "val": 101, "trainval": 468, "test": 233}
"""Frames in each split."""

STILLS = (
    ("701_StillsRaw_full", "LabeledApproved_full"),
    *((name, f"{name}_labels") for name in ("train", "val", "test")),
)
"""Folders that the original's frames and labels may lie in."""

_LABEL_ENDING = "_L.png"
_SEQUENCES = ("0001TP_", "0006R0_", "0016E5_", "Seq05VD_")
_FRAME = re.compile(f"({'|'.join(_SEQUENCES)})f?[0-9]+")


@dataclass(frozen=True)
class CamVid(PairedFiles):
    """One split of CamVid in the 11 classes of the segmentation literature.

    Listing the folders happens in `open`; the constructor touches no disk.
    """

    split: str
    files: tuple[tuple[Path, Path], ...] = field(repr=False)
    """Pairs of image and mask."""

    licence: str = ": ".join(TERMS["camvid"])
    labels: Labels = CAMVID
    encoding: Encoding = IDS
    form: str = ""
    """What the name says beside the split."""

    @classmethod
    def open(cls, root: str | Path, split: str) -> CamVid:
        """Lists a split and checks that images and masks pair up.

        Args:
            root: Folder that holds `train/`, `trainannot/` and so on.
            split: `train`, `val`, `trainval` or `test`.

        Raises:
            UserError: If the split is unknown, a folder is missing or empty, or files do not pair.
        """
        _check_split(split)
        files: list[tuple[Path, Path]] = []
        for folder in SPLITS[split]:
            files += _pairs(Path(root) / folder, Path(root) / f"{folder}annot")
        return cls(split, tuple(files))

    @classmethod
    def open_stills(cls, root: str | Path, split: str) -> CamVid:
        """Lists a split of the original at 960×720, wherever in `STILLS` its frames lie.

        Args:
            root: Folder that holds those of `STILLS`, all or some.
            split: `train`, `val`, `trainval` or `test`.

        Raises:
            UserError: If the split is unknown or empty, or a frame lacks its labels.
        """
        _check_split(split)
        files: list[tuple[Path, Path]] = []
        for images, masks in STILLS:
            if not (Path(root) / images).is_dir() and not (Path(root) / masks).is_dir():
                continue
            for folder in (Path(root) / images, Path(root) / masks):
                if not folder.is_dir():
                    raise UserError(f"{folder}: no such folder; unpack CamVid's archive there")
            for stem, image in _by_stem(Path(root) / images).items():
                if _FRAME.fullmatch(stem) and split_of(stem) in SPLITS[split]:
                    mask = Path(root) / masks / f"{stem}{_LABEL_ENDING}"
                    if not mask.is_file():
                        raise UserError(f"{image}: its labels {mask} are missing; unpack them anew")
                    files.append((image, mask))
        if not files:
            raise UserError(f"{root}: holds no frame of CamVid {split}; unpack all of its folders")
        part = f", {len(files)} of {COUNTS[split]} frames" if len(files) != COUNTS[split] else ""
        encoding = Encoding("colors", CAMVID_COLORS)
        return cls(split, tuple(files), encoding=encoding, form=f" (32-colour labels{part})")

    @property
    def name(self) -> str:
        """For instance `CamVid trainval`."""
        return f"CamVid {self.split}{self.form}"

    def __getitem__(self, index: int) -> Sample:
        """Reads one sample.

        Raises:
            UserError: If a file is unreadable, sizes differ, or a label is out of range.
        """
        return read_pair(*self.files[index], self.labels, self.encoding)


def holds_stills(root: Path) -> bool:
    """Tells whether a folder holds the original's frames or labels."""
    labels = (f"{masks}/{name}*{_LABEL_ENDING}" for _, masks in STILLS for name in _SEQUENCES)
    if any(next(root.glob(pattern), None) is not None for pattern in labels):
        return True
    return any((root / name).is_dir() for name in STILLS[0])


def split_of(stem: str) -> str:
    """Returns the split of a frame of the original, the same as in SegNet's copy, by its name."""
    sequence, _, number = stem.partition("_")
    if sequence == "Seq05VD" or (sequence == "0001TP" and int(number) >= 8550):
        return "test"
    return "val" if sequence == "0016E5" and 7959 <= int(number) <= 8159 else "train"


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}: CamVid has {', '.join(SPLITS)}")


def _pairs(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    for folder in (images, masks):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; CamVid's has train/, trainannot/, val/, …")
    image_of = _by_stem(images)
    mask_of = _by_stem(masks)
    if not image_of:
        raise UserError(f"{images}: holds no image; put frames there ({', '.join(IMAGE_SUFFIXES)})")
    for have, lack, what, where in (
        (image_of, mask_of, "mask", masks),
        (mask_of, image_of, "image", images),
    ):
        lonely = sorted(have.keys() - lack.keys())
        if lonely:
            raise UserError(
                f"{have[lonely[0]]}: no {what} of the same name in {where}"
                + (f" (and {len(lonely) - 1} more like it)" if len(lonely) > 1 else "")
                + f"; add the {what} or remove this file"
            )
    return [(image_of[stem], mask_of[stem]) for stem in sorted(image_of)]


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise UserError(f"{path}: same name as {found[path.stem].name}; keep one of them")
            found[path.stem] = path
    return found
