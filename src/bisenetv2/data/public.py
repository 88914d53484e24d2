"""Cityscapes, COCO-Stuff, ADE20K and Pascal VOC in the folders into which archives unpack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bisenetv2.builtin_labels import (
    BUILTIN,
    CITYSCAPES_COLORS,
    CITYSCAPES_TRAIN_IDS,
    TERMS,
)
from bisenetv2.data.encodings import Encoding
from bisenetv2.data.folder.matching import Source, match
from bisenetv2.data.pairs import IDS, PairedFiles
from bisenetv2.errors import UserError
from bisenetv2.labels import Labels


@dataclass(frozen=True)
class MaskKind:
    """One of the kinds of mask files that a data set comes with."""

    ending: str
    """What follows the common part of the names of image and mask."""

    encoding: Encoding = IDS
    labels: Labels | None = None
    """Meaning of the ids in these files where it is not that of the data set's labels."""

    note: str = ""
    """What the data set's name has to say of figures on these files."""


@dataclass(frozen=True)
class Split:
    """Where a split lies and how large it is."""

    folder: str = ""
    """Its folder, in place of the `{}` of the layout."""

    count: int = 0
    """Pairs that the official split holds."""

    list: str = ""
    """File of the names that belong to it, where all splits share one folder."""


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its images and masks, and how the names of the two differ."""

    key: str
    """Name of the labels, a key of `BUILTIN`."""

    signs: tuple[str, ...]
    """Patterns below the root, any of which gives the data set away."""

    images: tuple[str, ...]
    """Folders of images below the root, the first that is there counts."""

    masks: str
    """Folder of masks; below it, files lie as the images do."""

    image_ending: str
    kinds: tuple[MaskKind, ...]
    splits: Mapping[str, Split]
    archives: tuple[str, str]
    """Archives of images and of masks."""

    roots: tuple[str, ...] = ("",)
    """Folders that the root may be the parent of."""

    title: str = ""
    """Name of the data set where the labels' own says too little."""

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.title or TERMS[self.key][0]

    def source(self, root: Path, split: str) -> tuple[Source, MaskKind]:
        """Says where a split lies, and which kind of masks the first one is of that is there."""
        part = self.splits[split]
        choices = [folder.format(part.folder) for folder in self.images]
        images = next((folder for folder in choices if (root / folder).is_dir()), choices[0])
        masks = self.masks.format(part.folder)
        there = (k for k in self.kinds if next((root / masks).rglob(f"*{k.ending}"), None))
        kind = next(there, self.kinds[0])
        image_ending, mask_ending = (
            ending.rpartition(".")[0] for ending in (self.image_ending, kind.ending)
        )
        return Source(images, masks, image_ending, mask_ending, part.list), kind

    def find(self, root: Path) -> Path | None:
        """Returns the folder, the root or one below it, that looks like this layout."""
        for below in self.roots:
            if any(next((root / below).glob(sign), None) is not None for sign in self.signs):
                return root / below
        return None


_ID_PNG = (MaskKind(".png"),)

LAYOUTS = (
    Layout(
        key="cityscapes",
        signs=("leftImg8bit", "gtFine"),
        images=("leftImg8bit/{}",),
        masks="gtFine/{}",
        image_ending="_leftImg8bit.png",
        kinds=(
            MaskKind("_gtFine_labelIds.png"),
            MaskKind("_gtFine_labelTrainIds.png", labels=CITYSCAPES_TRAIN_IDS),
            MaskKind(
                "_gtFine_color.png", Encoding("colors", CITYSCAPES_COLORS), note=" (color masks)"
            ),
        ),
        splits={"train": Split("train", 2975), "val": Split("val", 500)},
        archives=("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"),
    ),
    Layout(
        key="coco-stuff",
        signs=("imageLists/*.txt", "annotations/COCO_train2014_*.mat"),
        title="COCO-Stuff 10k",
        images=("images",),
        masks="annotations",
        image_ending=".jpg",
        kinds=(MaskKind(".mat"),),
        splits={
            "train": Split("", 9000, "imageLists/train.txt"),
            "val": Split("", 1000, "imageLists/test.txt"),
            "test": Split("", 1000, "imageLists/test.txt"),
        },
        archives=("cocostuff-10k-v1.1.zip", "cocostuff-10k-v1.1.zip"),
    ),
    Layout(
        key="coco-stuff",
        signs=("stuffthingmaps", "train2017/*.jpg", "val2017/*.jpg"),
        images=("{}", "images/{}"),
        masks="stuffthingmaps/{}",
        image_ending=".jpg",
        kinds=_ID_PNG,
        splits={"train": Split("train2017", 118_287), "val": Split("val2017", 5000)},
        archives=(
            "train2017.zip and val2017.zip",
            "stuffthingmaps_trainval2017.zip into stuffthingmaps/",
        ),
    ),
    Layout(
        key="ade20k",
        signs=("annotations/*/ADE_*_*.png", "images/*/ADE_*_*.jpg"),
        images=("images/{}",),
        masks="annotations/{}",
        image_ending=".jpg",
        kinds=_ID_PNG,
        splits={"train": Split("training", 20_210), "val": Split("validation", 2000)},
        archives=("ADEChallengeData2016.zip", "ADEChallengeData2016.zip"),
        roots=("", "ADEChallengeData2016"),
    ),
    Layout(
        key="voc",
        # Years of the contest, 2007 to 2012: others make their own data in these folders.
        signs=("SegmentationClass/20[01]?_??????.png", "JPEGImages/20[01]?_??????.jpg"),
        images=("JPEGImages",),
        masks="SegmentationClass",
        image_ending=".jpg",
        kinds=_ID_PNG,
        splits={
            "train": Split("", 1464, "ImageSets/Segmentation/train.txt"),
            "val": Split("", 1449, "ImageSets/Segmentation/val.txt"),
            "trainval": Split("", 2913, "ImageSets/Segmentation/trainval.txt"),
        },
        archives=("VOCtrainval_11-May-2012.tar", "VOCtrainval_11-May-2012.tar"),
        roots=("", "VOC2012", "VOCdevkit/VOC2012"),
    ),
)
"""Layouts by the archives as they unpack; `stuffthingmaps_trainval2017.zip` goes in a folder
`stuffthingmaps`."""


def open_public(layout: Layout, root: str | Path, split: str) -> PairedFiles:
    """Lists a split and checks that every image has its mask.

    Args:
        layout: The data set.
        root: Folder that holds the layout's folders.
        split: `train`, `val` and so on, as far as their truth is public.

    Raises:
        UserError: If the split is unknown, a folder is missing or empty, or a mask is missing.
    """
    if split not in layout.splits:
        raise UserError(f"unknown split {split!r}: {layout.name} has {', '.join(layout.splits)}")
    root, of_images, of_masks = Path(root), *layout.archives
    source, kind = layout.source(root, split)
    for what, place, archive in (
        ("folder", source.images, of_images),
        ("folder", source.masks, of_masks),
        ("list", source.list, of_masks),
    ):
        if not (root / place).exists():
            raise UserError(f"{root / place}: no such {what}; unpack {archive} in {root}")
    try:
        found = match(root, source)
    except UserError as error:
        raise UserError(f"{error}, or unpack {of_images} in {root} anew") from error
    if found.images_alone:
        image = found.images_alone[0]
        stem = str(image.relative_to(root / source.images)).removesuffix(layout.image_ending)
        mask = root / source.masks / f"{stem}{kind.ending}"
        raise UserError(f"{image}: its mask {mask} is missing; unpack {of_masks} anew")
    if not found.pairs:
        raise UserError(f"{root / source.images}: holds no image; unpack {of_images} in {root}")
    count, whole = len(found.pairs), layout.splits[split].count
    incomplete = f" ({count} of {whole} images)" if count != whole else ""
    return PairedFiles(
        f"{layout.name} {split}{kind.note}{incomplete}",
        ": ".join(TERMS[layout.key]),
        BUILTIN[layout.key],
        found.pairs,
        kind.encoding,
        kind.labels,
    )
