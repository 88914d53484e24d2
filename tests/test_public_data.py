"""Public data sets are recognised by their folders, and every image has its mask."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

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
    "voc": ("JPEGImages/2007_000033.jpg", "SegmentationClass/2007_000033.png"),
}
RAW_AND_CLASS = {
    "cityscapes": (26, 13),
    "coco-stuff": (181, 170),
    "ade20k": (21, 20),
    "voc": (15, 15),
}
IN_FOLDERS = [key for key in FILES if key != "voc"]


def listed(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def unpacked(key: str, root: Path) -> tuple[Path, Path]:
    image, mask = (root / name for name in FILES[key])
    write_image(image, np.full((4, 6, 3), 90, np.uint8))
    write_mask(mask, np.full((4, 6), RAW_AND_CLASS[key][0], np.uint8))
    if key == "voc":
        listed(root / "ImageSets/Segmentation/val.txt", image.stem)
    return image, mask


@pytest.mark.parametrize("key", FILES)
def test_a_data_set_is_recognised_and_its_ids_become_classes(key: str, tmp_path: Path) -> None:
    image, _ = unpacked(key, tmp_path)
    dataset = open_dataset(tmp_path, "val")
    assert len(dataset) == 1
    assert re.fullmatch(rf"{TERMS[key][0]} val \(1 of \d+ images\)", dataset.name)
    assert dataset.licence.startswith(TERMS[key][0]) and "http" in dataset.licence
    assert dataset.labels is BUILTIN[key]
    assert dataset.sample_name(0) == str(image)
    sample = dataset[0]
    assert sample.image.shape == (4, 6, 3)
    assert np.unique(sample.mask).tolist() == [RAW_AND_CLASS[key][1]]


@pytest.mark.parametrize("key", IN_FOLDERS)
def test_a_missing_mask_folder_image_or_split_is_named(key: str, tmp_path: Path) -> None:
    image, mask = unpacked(key, tmp_path)
    mask.rename(mask.with_name("ADE_val_9.png"))
    with pytest.raises(UserError, match=rf"{image.name}: its mask .*{mask.name} is missing"):
        open_dataset(tmp_path, "val")
    image.unlink()
    with pytest.raises(UserError, match="holds no image"):
        open_dataset(tmp_path, "val")
    with pytest.raises(UserError, match=r"train.*: no such folder; unpack"):
        open_dataset(tmp_path, "train")
    with pytest.raises(UserError, match=f"unknown split 'test': {TERMS[key][0]} has train, val"):
        open_dataset(tmp_path, "test")


def complaint(root: Path, split: str = "val") -> str:
    with pytest.raises(UserError) as caught:
        open_dataset(root, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "there", "text"),
    [
        ("cityscapes", 0, "gtFine/val: no such folder; unpack gtFine_trainvaltest.zip in"),
        ("cityscapes", 1, "leftImg8bit/val: no such folder; unpack leftImg8bit_trainvaltest.zip"),
        ("coco-stuff", 0, "stuffthingmaps/val2017: no such folder; unpack stuffthingmaps_trainval"),
        ("coco-stuff", 1, "val2017: no such folder; unpack train2017.zip and val2017.zip in"),
        ("ade20k", 0, "annotations/validation: no such folder; unpack ADEChallengeData2016.zip"),
        ("ade20k", 1, "images/validation: no such folder; unpack ADEChallengeData2016.zip in"),
        ("voc", 0, "SegmentationClass: no such folder; unpack VOCtrainval_11-May-2012.tar in"),
        ("voc", 1, "JPEGImages: no such folder; unpack VOCtrainval_11-May-2012.tar in"),
    ],
)
def test_a_download_that_is_half_there_names_the_folder_and_archive_that_lack(
    key: str, there: int, text: str, tmp_path: Path
) -> None:
    path = tmp_path / FILES[key][there]
    path.parent.mkdir(parents=True)
    write_image(path, np.zeros((4, 6, 3), np.uint8))
    assert text in complaint(tmp_path)


def test_voc_names_the_list_or_the_image_that_lacks(tmp_path: Path) -> None:
    image, _ = unpacked("voc", tmp_path)
    assert "ImageSets/Segmentation/train.txt: no such list; unpack" in complaint(tmp_path, "train")
    listed(tmp_path / "ImageSets/Segmentation/train.txt", image.stem, "2007_000034")
    text = complaint(tmp_path, "train")
    assert "train.txt: line 2: no image is called 2007_000034 in" in text
    assert "or unpack VOCtrainval_11-May-2012.tar in" in text
    listed(tmp_path / "ImageSets/Segmentation/train.txt")
    assert "train.txt: holds no row" in complaint(tmp_path, "train")


@pytest.mark.parametrize("below", ["VOC2012", "VOCdevkit/VOC2012"])
def test_voc_is_found_below_the_folder_its_archive_unpacks(below: str, tmp_path: Path) -> None:
    image, _ = unpacked("voc", tmp_path / below)
    assert open_dataset(tmp_path, "val").sample_name(0) == str(image)


def test_ade20k_is_told_from_another_data_set_in_the_same_folders(tmp_path: Path) -> None:
    for name, label in (("a", 0), ("b", 1)):
        write_image(tmp_path / f"images/validation/{name}.jpg", np.zeros((4, 6, 3), np.uint8))
        write_mask(
            tmp_path / f"annotations/validation/{name}.png", np.full((4, 6), label, np.uint8)
        )
    assert open_dataset(tmp_path, "val").labels.names == ("background", "foreground")


@pytest.mark.parametrize(
    ("ending", "pixels", "classes", "name"),
    [
        ("labelIds", [[7, 26, 3]], [[0, 13, 255]], ""),
        ("labelTrainIds", [[0, 13, 255]], [[0, 13, 255]], ""),
        (
            "color",
            [[(128, 64, 128, 255), (0, 0, 142, 255), (111, 74, 0, 255)]],
            [[0, 13, 255]],
            r" \(color masks\)",
        ),
    ],
)
def test_cityscapes_masks_of_every_kind_hold_the_same_classes(
    ending: str, pixels: list[object], classes: list[object], name: str, tmp_path: Path
) -> None:
    stem = "val/ulm/ulm_000000_000019"
    image = tmp_path / f"leftImg8bit/{stem}_leftImg8bit.png"
    mask = tmp_path / f"gtFine/{stem}_gtFine_{ending}.png"
    write_image(image, np.zeros((1, 3, 3), np.uint8))
    mask.parent.mkdir(parents=True)
    PillowImage.fromarray(np.array(pixels, np.uint8)).save(mask)
    dataset = open_dataset(tmp_path, "val")
    assert dataset.labels is BUILTIN["cityscapes"]
    assert re.fullmatch(rf"Cityscapes val{name} \(1 of 500 images\)", dataset.name)
    assert dataset[0].mask.tolist() == classes


@pytest.mark.parametrize(
    ("names", "own"), [(["lane", "kerb"], True), (["road", "car", "sky"], True), (None, False)]
)
def test_a_list_of_other_classes_makes_it_one_s_own_data(
    names: list[str] | None, own: bool, tmp_path: Path
) -> None:
    image, mask = unpacked("cityscapes", tmp_path)
    ids = np.zeros((4, 6), np.uint8)
    ids[2:] = 1
    write_mask(mask, ids)
    names = names or list(BUILTIN["cityscapes"].names)
    (tmp_path / "classes.txt").write_text("\n".join(names))
    dataset = open_dataset(tmp_path, "val")
    assert dataset.sample_name(0) == str(image)
    assert dataset.labels.names == (tuple(names) if own else BUILTIN["cityscapes"].names)


def test_synonyms_in_an_official_list_contradict_nothing(tmp_path: Path) -> None:
    unpacked("ade20k", tmp_path)
    names = [f"{name}, another word" for name in BUILTIN["ade20k"].names]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    assert open_dataset(tmp_path, "val").labels is BUILTIN["ade20k"]


def test_cityscapes_train_ids_out_of_range_are_refused(tmp_path: Path) -> None:
    unpacked("cityscapes", tmp_path)
    (tmp_path / FILES["cityscapes"][1]).unlink()
    mask = tmp_path / FILES["cityscapes"][1].replace("labelIds", "labelTrainIds")
    write_mask(mask, np.full((4, 6), 19, np.uint8))
    with pytest.raises(UserError, match=r"labelTrainIds\.png: label 19 is out of range"):
        _ = open_dataset(tmp_path, "val")[0]


def test_coco_stuff_10k_reads_matlab_files_by_its_lists(tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io")
    name = "COCO_train2014_000000000077"
    write_image(tmp_path / f"images/{name}.jpg", np.zeros((1, 3, 3), np.uint8))
    (tmp_path / "annotations").mkdir()
    listed(tmp_path / "imageLists/test.txt", name)
    mask = tmp_path / f"annotations/{name}.mat"
    io.savemat(mask, {"S": np.array([[0, 1, 182]], np.uint16)})
    dataset = open_dataset(tmp_path, "val")
    assert dataset.name == "COCO-Stuff 10k val (1 of 1000 images)"
    assert dataset[0].mask.tolist() == [[255, 0, 170]]
    assert "imageLists/train.txt: no such list" in complaint(tmp_path, "train")
    io.savemat(mask, {"T": np.zeros((1, 3))})
    with pytest.raises(UserError, match=r"000000000077\.mat: not a \.mat file of COCO-Stuff 10k"):
        _ = dataset[0]
    mask.write_bytes(b"no MATLAB")
    with pytest.raises(UserError, match=r"000000000077\.mat: not a \.mat file of COCO-Stuff 10k"):
        _ = dataset[0]


def test_coco_stuff_10k_takes_lists_by_their_path(tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io")
    for name, raw in (("one", 1), ("two", 2)):
        write_image(tmp_path / f"images/{name}.jpg", np.zeros((1, 1, 3), np.uint8))
        (tmp_path / "annotations").mkdir(exist_ok=True)
        io.savemat(tmp_path / f"annotations/{name}.mat", {"S": np.array([[raw]], np.uint16)})
    listed(tmp_path / "elsewhere/my_list.txt", "two")
    folders = "images: images, masks: annotations"
    (tmp_path / "dataset.yaml").write_text(
        f"classes: coco-stuff\nsplits:\n  val: {{list: elsewhere/my_list.txt, {folders}}}\n"
    )
    dataset = open_dataset(tmp_path, "val")
    assert dataset.labels == BUILTIN["coco-stuff"]
    assert [int(dataset[i].mask[0, 0]) for i in range(len(dataset))] == [1]


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    _, mask = unpacked("ade20k", tmp_path)
    write_mask(mask, np.zeros((5, 6), np.uint8))
    with pytest.raises(UserError, match="mask of 6×5 for an image of 6×4"):
        open_dataset(tmp_path, "val")[0]
