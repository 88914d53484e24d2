"""Public data sets are recognised by their folders, and every image has its mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bisenetv2.builtin_labels import BUILTIN, TERMS
from bisenetv2.data.catalogue import open_dataset
from bisenetv2.errors import UserError
from bisenetv2.images import write_image, write_mask

FILES = {
    "cityscapes": (
        "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png",
        "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png",
    ),
    "coco-stuff": ("val2017/000000000139.jpg", "stuffthingmaps/val2017/000000000139.png"),
    "ade20k": (
        "images/validation/ADE_val_00000001.jpg",
        "annotations/validation/ADE_val_00000001.png",
    ),
}
RAW_AND_CLASS = {"cityscapes": (26, 13), "coco-stuff": (181, 170), "ade20k": (21, 20)}


def unpacked(key: str, root: Path) -> tuple[Path, Path]:
    image, mask = (root / name for name in FILES[key])
    write_image(image, np.full((4, 6, 3), 90, np.uint8))
    write_mask(mask, np.full((4, 6), RAW_AND_CLASS[key][0], np.uint8))
    return image, mask


@pytest.mark.parametrize("key", FILES)
def test_a_data_set_is_recognised_and_its_ids_become_classes(key: str, tmp_path: Path) -> None:
    image, _ = unpacked(key, tmp_path)
    dataset = open_dataset(tmp_path, "val")
    assert len(dataset) == 1
    assert dataset.name == f"{TERMS[key][0]} val"
    assert dataset.licence.startswith(TERMS[key][0]) and "http" in dataset.licence
    assert dataset.labels is BUILTIN[key]
    assert dataset.sample_name(0) == str(image)
    sample = dataset[0]
    assert sample.image.shape == (4, 6, 3)
    assert np.unique(sample.mask).tolist() == [RAW_AND_CLASS[key][1]]


@pytest.mark.parametrize("key", FILES)
def test_a_missing_mask_folder_image_or_split_is_named(key: str, tmp_path: Path) -> None:
    image, mask = unpacked(key, tmp_path)
    mask.rename(mask.with_name("other.png"))
    with pytest.raises(UserError, match=rf"{image.name}: its mask .*{mask.name} is missing"):
        open_dataset(tmp_path, "val")
    image.unlink()
    with pytest.raises(UserError, match="holds no image"):
        open_dataset(tmp_path, "val")
    with pytest.raises(UserError, match=r"train.*: no such folder; unpack"):
        open_dataset(tmp_path, "train")
    with pytest.raises(UserError, match=f"unknown split 'test': {TERMS[key][0]} has train, val"):
        open_dataset(tmp_path, "test")


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    _, mask = unpacked("ade20k", tmp_path)
    write_mask(mask, np.zeros((5, 6), np.uint8))
    with pytest.raises(UserError, match="mask of 6×5 for an image of 6×4"):
        open_dataset(tmp_path, "val")[0]
