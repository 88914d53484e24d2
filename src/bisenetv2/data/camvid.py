"""CamVid from its SegNet-style folders: `train/`, `trainannot/`, `val/`, … with frames by stem."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bisenetv2.builtin_labels import TERMS
from bisenetv2.data.dataset import Sample
from bisenetv2.data.pairs import read_pair
from bisenetv2.errors import UserError
from bisenetv2.images import IMAGE_SUFFIXES
from bisenetv2.labels import CAMVID, Labels

SPLITS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}
"""Folders behind each split."""


@dataclass(frozen=True)
class CamVid:
    """One split of CamVid in the 11 classes of the segmentation literature.

    Listing the folders happens in `open`; the constructor touches no disk.
    """

    split: str
    files: tuple[tuple[Path, Path], ...] = field(repr=False)
    """Pairs of image and mask."""

    licence: str = ": ".join(TERMS["camvid"])
    labels: Labels = CAMVID

    @classmethod
    def open(cls, root: str | Path, split: str) -> CamVid:
        """Lists a split and checks that images and masks pair up.

        Args:
            root: Folder that holds `train/`, `trainannot/` and so on.
            split: `train`, `val`, `trainval` or `test`.

        Raises:
            UserError: If the split is unknown, a folder is missing or empty, or files do not pair.
        """
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}: CamVid has {', '.join(SPLITS)}")
        files: list[tuple[Path, Path]] = []
        for folder in SPLITS[split]:
            files += _pairs(Path(root) / folder, Path(root) / f"{folder}annot")
        return cls(split, tuple(files))

    @property
    def name(self) -> str:
        """For instance `CamVid trainval`."""
        return f"CamVid {self.split}"

    def __len__(self) -> int:
        return len(self.files)

    def sample_name(self, index: int) -> str:
        """Path of the sample's image."""
        return str(self.files[index][0])

    def __getitem__(self, index: int) -> Sample:
        """Reads one sample.

        Raises:
            UserError: If a file is unreadable, sizes differ, or a label is out of range.
        """
        return read_pair(*self.files[index], self.labels)


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
