"""CamVid's folders: what is read, and one clear sentence for each way they can be wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bisenetv2.data.camvid import COUNTS, SPLITS, STILLS, open_camvid, split_of
from bisenetv2.data.catalogue import open_dataset, recognise
from bisenetv2.data.dataset import SpreadSamples
from bisenetv2.data.pairs import PairedFiles
from bisenetv2.errors import UserError
from bisenetv2.images import write_image, write_mask
from bisenetv2.labels import CAMVID, IGNORE_INDEX

SIZE = (12, 16)
SUFFIXES = (".png", ".jpg", ".webp")


def write_sample(root: Path, folder: str, stem: str, suffix: str, label: int) -> None:
    write_image(root / folder / f"{stem}{suffix}", np.full((*SIZE, 3), 10 * label, np.uint8))
    write_mask(root / f"{folder}annot" / f"{stem}.png", np.full(SIZE, label, np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three training, two validation and one test sample, in a mix of image formats."""
    for folder, count in (("train", 3), ("val", 2), ("test", 1)):
        for number in range(count):
            write_sample(tmp_path, folder, f"{folder}{number}", SUFFIXES[number], number)
    return tmp_path


def complaint(root: Path, split: str = "train") -> str:
    """What is said when the split is opened and read."""
    with pytest.raises(UserError) as caught:
        dataset = open_camvid(root, split)
        for index in range(len(dataset)):
            _ = dataset[index]
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_splits_hold_their_folders_and_trainval_both(root: Path) -> None:
    counts = {split: len(open_camvid(root, split)) for split in SPLITS}
    assert counts == {"train": 3, "val": 2, "trainval": 5, "test": 1}
    names = [open_camvid(root, "trainval").sample_name(index) for index in range(5)]
    assert [Path(name).parent.name for name in names] == ["train"] * 3 + ["val"] * 2


def test_images_and_masks_pair_by_stem_in_every_image_format(root: Path) -> None:
    dataset = open_camvid(root, "train")
    assert {Path(dataset.sample_name(index)).suffix for index in range(3)} == set(SUFFIXES)
    for index in range(3):
        image, mask = dataset[index]
        assert image.shape == (*SIZE, 3)
        assert image.dtype == mask.dtype == np.uint8
        assert (mask == index).all()
        np.testing.assert_allclose(image.astype(int), 10 * index, atol=3)  # JPEG is lossy


def test_it_says_what_it_is(root: Path) -> None:
    dataset = open_camvid(root, "trainval")
    assert dataset.name == "CamVid trainval"
    assert dataset.labels == CAMVID
    assert "research" in dataset.licence


@pytest.mark.parametrize("change", [str, str.lower, str.upper])
@pytest.mark.parametrize("void", [[], ["Unlabelled"]])
def test_a_list_of_its_own_classes_leaves_it_what_it_is(
    change: Callable[[str], str], void: list[str], root: Path
) -> None:
    (root / "classes.txt").write_text("\n".join(map(change, [*CAMVID.names, *void])))
    assert recognise(root).kind == "camvid"


def test_a_list_of_other_classes_makes_it_one_s_own(root: Path) -> None:
    for names in (["road"], CAMVID.names[::-1], CAMVID.names[:-1], ["void", *CAMVID.names]):
        (root / "classes.txt").write_text("\n".join(names))
        assert recognise(root).kind == "folder"
    (root / "classes.txt").write_text("")  # of one's own data, perhaps: not to be guessed at
    with pytest.raises(UserError, match="names no class; write one a line or remove the file"):
        recognise(root)


def test_label_11_of_the_files_is_ignored(root: Path) -> None:
    write_mask(root / "testannot" / "test0.png", np.full(SIZE, 11, np.uint8))
    assert (open_camvid(root, "test")[0].mask == IGNORE_INDEX).all()


def test_other_files_and_hidden_ones_are_passed_over(root: Path) -> None:
    (root / "train" / "notes.txt").write_text("written on a rainy day")
    (root / "train" / "._train0.png").write_bytes(b"left by a file manager")
    (root / "trainannot" / "Thumbs.db").write_bytes(b"")
    assert len(open_camvid(root, "train")) == 3


def test_suffixes_in_capitals_are_images_too(root: Path) -> None:
    (root / "train" / "train0.png").rename(root / "train" / "train0.PNG")
    assert open_camvid(root, "train")[0].image.shape == (*SIZE, 3)


def test_samples_are_read_alike_by_many_threads(root: Path) -> None:
    dataset = open_camvid(root, "train")
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(int(dataset[2].mask[0, 0]))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 8


def test_unknown_split_names_those_there_are(root: Path) -> None:
    text = complaint(root, "training")
    assert "'training'" in text
    assert "train, val, trainval, test" in text


@pytest.mark.parametrize("missing", ["train", "trainannot"])
def test_missing_folder_is_named(root: Path, missing: str) -> None:
    (root / missing).rename(root / "elsewhere")
    text = complaint(root)
    assert text == f"{root / missing}: no such folder; unpack CamVid's there"


def test_missing_val_folder_makes_trainval_fail_too(root: Path) -> None:
    (root / "val").rename(root / "elsewhere")
    assert complaint(root, "trainval").startswith(f"{root / 'val'}: no such folder")


def test_empty_folder_is_named_with_the_endings_looked_for(root: Path) -> None:
    for folder in ("train", "trainannot"):
        for file in (root / folder).iterdir():
            file.unlink()
    text = complaint(root)
    assert text.startswith(f"{root / 'train'}: holds no image")
    assert ".webp" in text


def test_image_without_mask_is_named_with_both_remedies(root: Path) -> None:
    (root / "trainannot" / "train1.png").unlink()
    text = complaint(root)
    assert text.startswith(f"{root / 'train' / 'train1.jpg'}: this image has no mask; ")
    assert text.endswith("add the mask or remove the image")


def test_mask_without_image_is_named_with_both_remedies(root: Path) -> None:
    (root / "train" / "train2.webp").unlink()
    text = complaint(root)
    assert text.startswith(f"{root / 'trainannot' / 'train2.png'}: this mask has no image; ")
    assert text.endswith("add the image or remove the mask")


def test_many_lonely_files_are_counted_not_listed(root: Path) -> None:
    for stem in ("train0", "train1", "train2"):
        (root / "trainannot" / f"{stem}.png").unlink()
    assert "(and 2 more like it)" in complaint(root)


def test_two_images_of_one_name_are_refused(root: Path) -> None:
    write_image(root / "train" / "train0.jpg", np.zeros((*SIZE, 3), np.uint8))
    text = complaint(root)
    assert "train0.jpg" in text
    assert "train0.png" in text
    assert "keep one" in text


def test_size_mismatch_names_both_sizes(root: Path) -> None:
    write_mask(root / "trainannot" / "train0.png", np.zeros((6, 8), np.uint8))
    text = complaint(root)
    assert text.startswith(f"{root / 'trainannot' / 'train0.png'}: mask of 8×6")
    assert "16×12" in text


def test_label_out_of_range_is_named_and_never_clamped(root: Path) -> None:
    write_mask(root / "trainannot" / "train0.png", np.full(SIZE, 12, np.uint8))
    text = complaint(root)
    assert text.startswith(f"{root / 'trainannot' / 'train0.png'}: label 12 ")
    assert "0-10" in text


def test_colour_mask_is_refused_with_the_remedy(root: Path) -> None:
    write_image(root / "trainannot" / "train0.png", np.full((*SIZE, 3), (9, 0, 0), np.uint8))
    text = complaint(root)
    assert text.startswith(f"{root / 'trainannot' / 'train0.png'}: ")
    assert "single-channel" in text


@pytest.mark.parametrize("name", ["train/train0.png", "train/train1.jpg", "train/train2.webp"])
def test_truncated_image_is_named(root: Path, name: str) -> None:
    whole = (root / name).read_bytes()
    (root / name).write_bytes(whole[: len(whole) * 2 // 3])
    assert complaint(root).startswith(f"{root / name}: ")


def test_truncated_mask_is_named(root: Path) -> None:
    path = root / "trainannot" / "train1.png"
    path.write_bytes(path.read_bytes()[:40])
    assert complaint(root).startswith(f"{path}: ")


def test_constructor_touches_no_disk() -> None:
    files = ((Path("/no/where.png"), Path("/no/where_else.png")),)
    dataset = PairedFiles("data", "any", CAMVID, files)
    assert len(dataset) == 1
    with pytest.raises(UserError, match=r"/no/where\.png: cannot be read"):
        _ = dataset[0]


def test_catalogue_opens_camvid_by_its_folder_and_streets_by_name(root: Path) -> None:
    assert open_dataset(root, "trainval").name == "CamVid trainval"
    streets = open_dataset("streets", "val")
    assert streets.name == "rendered streets"
    train_names = open_dataset("streets", "train").sample_name(0)
    assert streets.sample_name(0) != train_names  # validation shows other streets


def test_folders_called_as_camvid_s_with_a_list_of_classes_are_one_s_own(root: Path) -> None:
    (root / "label_colors.txt").write_text("0 0 0 ground\n9 9 0 crack\n0 99 0 spall\n")
    dataset = open_dataset(root, "train")
    assert dataset.labels.names == ("ground", "crack", "spall")
    assert (len(dataset), dataset.licence) == (3, "unknown")


@pytest.mark.parametrize("split", ["train", "val", "trainval", "test"])
def test_catalogue_knows_the_same_splits_of_streets(split: str) -> None:
    assert len(open_dataset("streets", split)) >= 100


def test_catalogue_names_a_missing_folder_and_an_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; give .*streets"):
        open_dataset(tmp_path / "nowhere", "train")
    with pytest.raises(UserError, match=r"unknown split 'all': streets have train, "):
        open_dataset("streets", "all")


def test_spread_samples_have_the_same_name_and_terms(root: Path) -> None:
    dataset = open_camvid(root, "train")
    first = SpreadSamples(dataset, 2)
    assert len(first) == 2
    assert (first.name, first.licence, first.labels) == (
        dataset.name,
        dataset.licence,
        dataset.labels,
    )
    assert first.sample_name(1) == dataset.sample_name(1)
    np.testing.assert_array_equal(first[1].mask, dataset[1].mask)
    with pytest.raises(IndexError):
        _ = first[2]
    assert len(SpreadSamples(dataset, 99)) == 3
    with pytest.raises(UserError, match="0 frames"):
        SpreadSamples(dataset, 0)


# The original at 960×720


COLORS_OF_32 = {
    "Sky": [(128, 128, 128)],
    "Building": [(192, 0, 128), (0, 128, 64), (128, 0, 0), (64, 0, 64), (64, 192, 0)],
    "Pole": [(192, 192, 128), (0, 0, 64)],
    "Road": [(128, 64, 128), (128, 0, 192), (192, 0, 64)],
    "Pavement": [(0, 0, 192), (64, 192, 128), (128, 128, 192)],
    "Tree": [(128, 128, 0), (192, 192, 0)],
    "SignSymbol": [(192, 128, 128), (128, 128, 64), (0, 64, 64)],
    "Fence": [(64, 64, 128)],
    "Car": [(64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)],
    "Pedestrian": [(64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)],
    "Bicyclist": [(0, 128, 192), (192, 0, 192)],
}


def write_still(root: Path, folders: tuple[str, str], stem: str, row: list[object]) -> Path:
    pixels = np.array([row], np.uint8)
    write_image(root / folders[0] / f"{stem}.png", np.zeros_like(pixels))
    write_image(root / folders[1] / f"{stem}_L.png", pixels)
    return root / folders[1] / f"{stem}_L.png"


@pytest.mark.parametrize("folders", STILLS)
def test_32_colours_become_the_11_classes(folders: tuple[str, str], tmp_path: Path) -> None:
    row = [*(c for colors in COLORS_OF_32.values() for c in colors), (0, 0, 0), (1, 2, 3)]
    assert len(row) == 33
    write_still(tmp_path, folders, "0016E5_07959", row)
    dataset = open_dataset(tmp_path, "val")
    assert dataset.name == "CamVid val (32-colour labels, 1 of 101 frames)"
    assert dataset.labels == CAMVID
    truth = [CAMVID.index(name) for name, colors in COLORS_OF_32.items() for _ in colors]
    assert dataset[0].mask.tolist() == [[*truth, IGNORE_INDEX, IGNORE_INDEX]]


def test_stills_split_as_in_the_literature_wherever_they_lie(tmp_path: Path) -> None:
    stems = {"0001TP_008520": "train", "0001TP_008550": "test", "0016E5_07959": "val"}
    for (stem, _), folders in zip(stems.items(), STILLS[1:], strict=True):
        write_still(tmp_path, folders, stem, [(0, 0, 0)])
    for stem, split in stems.items():
        assert Path(open_dataset(tmp_path, split).sample_name(0)).stem == stem
    assert len(open_dataset(tmp_path, "trainval")) == 2
    for stray in ("0016E5_note", "0001TP_", "Seq05VD_f01_2"):
        write_still(tmp_path, STILLS[1], stray, [(0, 0, 0)])
    assert len(open_dataset(tmp_path, "trainval")) == 2


def test_stills_without_labels_are_named(tmp_path: Path) -> None:
    mask = write_still(tmp_path, STILLS[0], "0016E5_07959", [(0, 0, 0)])
    with pytest.raises(UserError, match="holds no frame of CamVid test"):
        open_dataset(tmp_path, "test")
    with pytest.raises(UserError, match="unknown split 'all': CamVid has train, val"):
        open_dataset(tmp_path, "all")
    mask.rename(tmp_path / "elsewhere.png")
    with pytest.raises(UserError, match=r"0016E5_07959\.png: this image has no mask"):
        open_dataset(tmp_path, "val")
    mask.parent.rmdir()
    with pytest.raises(UserError, match="LabeledApproved_full: no such folder; unpack CamVid"):
        open_dataset(tmp_path, "val")


def test_the_split_by_names_is_that_of_the_real_folders(camvid_root: Path) -> None:
    for split in ("train", "val", "test"):
        stems = {image.stem for image, _ in open_camvid(camvid_root, split).files}
        assert {split_of(stem) for stem in stems} == {split}
        assert len(stems) == COUNTS[split]


@pytest.mark.parametrize(
    ("split", "count"), [("train", 367), ("val", 101), ("trainval", 468), ("test", 233)]
)
def test_real_camvid_has_the_split_of_the_literature(
    camvid_root: Path, split: str, count: int
) -> None:
    dataset = open_camvid(camvid_root, split)
    assert len(dataset) == count
    for index in (0, count // 2, count - 1):
        image, mask = dataset[index]
        assert image.shape == (360, 480, 3)
        assert mask.shape == (360, 480)
        assert (mask[mask != IGNORE_INDEX] < 11).all()
        assert len(np.unique(mask)) > 4


def test_no_frame_of_real_camvid_is_in_two_splits(camvid_root: Path) -> None:
    stems = [
        {image.stem for image, _ in open_camvid(camvid_root, split).files}
        for split in ("train", "val", "test")
    ]
    assert len(set.union(*stems)) == 701
