"""Cityscapes, COCO-Stuff and ADE20K in the folders into which their archives unpack."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bisenetv2.builtin_labels import BUILTIN, TERMS
from bisenetv2.data.dataset import Sample
from bisenetv2.data.pairs import read_pair
from bisenetv2.errors import UserError
from bisenetv2.labels import Labels


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its images and masks, and how the names of the two differ."""

    key: str
    """Name of the labels, a key of `BUILTIN`."""

    images: str
    """Folder of images below the root, `{}` standing for the split's folder."""

    masks: str
    """Folder of masks; below it, files lie as the images do."""

    image_ending: str
    mask_ending: str

    splits: tuple[tuple[str, str], ...]
    """Splits with public truth, and their folders."""

    @property
    def name(self) -> str:
        """Name of the data set."""
        return TERMS[self.key][0]

    @property
    def sign(self) -> str:
        """Folder by which the layout is recognised."""
        return self.masks.partition("/")[0]


LAYOUTS = (
    Layout(
        key="cityscapes",
        images="leftImg8bit/{}",
        masks="gtFine/{}",
        image_ending="_leftImg8bit.png",
        mask_ending="_gtFine_labelIds.png",
        splits=(("train", "train"), ("val", "val")),
    ),
    Layout(
        key="coco-stuff",
        images="{}",
        masks="stuffthingmaps/{}",
        image_ending=".jpg",
        mask_ending=".png",
        splits=(("train", "train2017"), ("val", "val2017")),
    ),
    Layout(
        key="ade20k",
        images="images/{}",
        masks="annotations/{}",
        image_ending=".jpg",
        mask_ending=".png",
        splits=(("train", "training"), ("val", "validation")),
    ),
)
"""Layouts by the archives leftImg8bit_trainvaltest and gtFine_trainvaltest; train2017, val2017 and
stuffthingmaps_trainval2017 (this one in a folder `stuffthingmaps`); ADEChallengeData2016."""


@dataclass(frozen=True)
class PublicSplit:
    """One split of a public data set.

    Listing the folders happens in `open`; the constructor touches no disk.
    """

    layout: Layout
    split: str
    files: tuple[tuple[Path, Path], ...] = field(repr=False)
    """Pairs of image and mask."""

    @classmethod
    def open(cls, layout: Layout, root: str | Path, split: str) -> PublicSplit:
        """Lists a split and checks that every image has its mask.

        Raises:
            UserError: If the split is unknown, a folder is missing or empty, or a mask is missing.
        """
        folders = dict(layout.splits)
        if split not in folders:
            raise UserError(f"unknown split {split!r}: {layout.name} has {', '.join(folders)}")
        images = Path(root) / layout.images.format(folders[split])
        masks = Path(root) / layout.masks.format(folders[split])
        for folder in (images, masks):
            if not folder.is_dir():
                raise UserError(f"{folder}: no such folder; unpack {layout.name}'s archives there")
        files = []
        for image in sorted(images.rglob(f"*{layout.image_ending}")):
            stem = image.name.removesuffix(layout.image_ending)
            mask = masks / image.relative_to(images).with_name(stem + layout.mask_ending)
            if not mask.is_file():
                raise UserError(f"{image}: its mask {mask} is missing; unpack {layout.name} anew")
            files.append((image, mask))
        if not files:
            raise UserError(f"{images}: holds no image that ends in {layout.image_ending}")
        return cls(layout, split, tuple(files))

    @property
    def name(self) -> str:
        """For instance `Cityscapes val`."""
        return f"{self.layout.name} {self.split}"

    @property
    def licence(self) -> str:
        """Where the terms of the data stand."""
        return ": ".join(TERMS[self.layout.key])

    @property
    def labels(self) -> Labels:
        """The classes that are evaluated."""
        return BUILTIN[self.layout.key]

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
