"""Folders that hold images beside masks, and labels that are not read: no photograph is a mask."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bisenetv2.cli import main
from bisenetv2.data.catalogue import open_dataset
from bisenetv2.images import read_mask, write_image, write_mask

COLORS = np.array([(0, 0, 0), (128, 64, 128), (0, 0, 142)], np.uint8)
LABELMAP = "background:0,0,0::\nroad:128,64,128::\ncar:0,0,142::\n"


def convert(capsys, *words):
    """Runs the verb; returns exit code and all that it told."""
    code = main(["convert-labels", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out + err


def refused(capsys, tmp_path, *words):
    """Runs the verb, which must refuse in a line and write nothing."""
    code, told = convert(capsys, *words, "-o", tmp_path / "out")
    assert (code, len(told.splitlines())) == (2, 1), told
    assert not (tmp_path / "out").exists()
    return told


def photo(path):
    """Writes noise: as in a photograph, no pixel is as its neighbours are."""
    generator = np.random.default_rng(len(str(path)))
    write_image(path, generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))


def mask(seed):
    return np.kron(np.arange(seed, seed + 12).reshape(3, 4) % 3, np.ones((8, 8), int))


def painted(path, seed=0):
    write_image(path, COLORS[mask(seed)])


def cvat(root):
    for name in ("a", "b", "c"):
        photo(root / f"JPEGImages/{name}.png")
        painted(root / f"SegmentationClass/{name}.png")
        painted(root / f"SegmentationObject/{name}.png", seed=1)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/default.txt").write_text("a\nb\nc\n")
    return {name: f"{name}" for name in ("a", "b", "c")}


def in_splits(root):
    for name in ("train/a", "train/b", "valid/c"):
        photo(root / f"{name}.jpg")
        painted(root / f"{name}_mask.png")
    return {name[-1]: name for name in ("train/a", "train/b", "valid/c")}


def beside(root):
    for name in "abc":
        photo(root / f"{name}.png")
        painted(root / f"{name}_mask.png")
    photo(root / "lonely.png")
    return {name: name for name in "abc"}


def described(root):
    for name in "abc":
        photo(root / f"{name}.png")
        painted(root / f"seg/{name}.png")
    classes = ", ".join(
        f"{{name: {name}, color: {color.tolist()}}}"
        for name, color in zip(("background", "road", "car"), COLORS, strict=True)
    )
    (root / "dataset.yaml").write_text(
        f"encoding: colors\nclasses: [{classes}]\nsplits: {{train: {{list: pairs.csv}}}}\n"
    )
    (root / "pairs.csv").write_text("".join(f"{n}.png,seg/{n}.png\n" for n in "abc"))
    return {name: f"seg/{name}" for name in "abc"}


@pytest.mark.parametrize("layout", [cvat, in_splits, beside, described])
def test_masks_are_told_from_images_as_data_does(capsys, tmp_path, layout):
    names = layout(tmp_path / "in")
    if layout is not described:
        (tmp_path / "in/labelmap.txt").write_text(LABELMAP)
    code, told = convert(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert code == 0, told
    assert "3 images, colour to index, 3 classes (background, road, car)" in told
    lonely = f"images without a mask, left out: 1 (such as {tmp_path}/in/lonely.png)"
    assert (lonely in told) == (layout is beside)
    for name in names.values():
        np.testing.assert_array_equal(read_mask(tmp_path / f"out/masks/{name}.png"), mask(0))
    assert len(list((tmp_path / "out/masks").rglob("*.png"))) == 3
    dataset = open_dataset(str(tmp_path / "out"), "train")
    np.testing.assert_array_equal(dataset[0].mask, mask(0))
    if layout is in_splits:
        assert len(open_dataset(str(tmp_path / "out"), "val")) == 1


def test_a_data_set_in_splits_takes_no_other_split(capsys, tmp_path):
    in_splits(tmp_path / "in")
    (tmp_path / "in/labelmap.txt").write_text(LABELMAP)
    line = refused(capsys, tmp_path, tmp_path / "in", "--split", "test")
    assert f"{tmp_path}/in: holds splits of its own (train, val); leave out --split" in line


def test_index_masks_beside_images_become_labels_of_these(capsys, tmp_path):
    for name in ("train/a", "valid/b"):
        photo(tmp_path / f"in/{name}_leftImg8bit.jpg")
        write_mask(tmp_path / f"in/{name}_gtFine_labelIds.png", mask(0).astype(np.uint8))
    code, told = convert(capsys, tmp_path / "in", "--to", "coco", "-o", tmp_path / "out")
    assert code == 0, told
    images = json.loads((tmp_path / "out/instances.json").read_text())["images"]
    names = [image["file_name"] for image in images]
    assert names == ["train/a_leftImg8bit.jpg", "valid/b_leftImg8bit.jpg"]


UNREAD = {
    "annotations.xml": ('<?xml version="1.0"?>\n<annotations>\n', "CVAT's XML"),
    "a.xml": ("<annotation><folder>x</folder>", "Pascal VOC's XML"),
    "project-1.json": ('[{"id": 1, "data": {"image": "a.jpg"}}]', "Label Studio's JSON"),
    "ann/a.json": ('{"size": {}, "objects": []}', "Supervisely's JSON"),
    "meta.json": ('{"classes": [], "tags": []}', "Supervisely's JSON"),
    "via.json": ('{"a.jpg123": {"regions": []}}', "JSON of this kind"),
    "train.csv": ("ImageId,EncodedPixels\na.jpg,1 10\n", "a table of run lengths"),
    "masks.csv": ("id,rle_mask\na,1 10\n", "a table of run lengths"),
}


@pytest.mark.parametrize("name", UNREAD)
@pytest.mark.parametrize("folder", ["images", "photos"])
def test_labels_that_are_not_read_are_named(capsys, tmp_path, name, folder):
    text, kind = UNREAD[name]
    photo(tmp_path / f"in/{folder}/a.jpg")
    (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "in" / name).write_text(text)
    line = refused(capsys, tmp_path, tmp_path / "in")
    assert f"{tmp_path}/in/{name}: {kind} is not read, but labelme and COCO JSON, YOLO and" in line
    assert kind in refused(capsys, tmp_path, tmp_path / "in" / name)
    if folder == "images":
        refused(capsys, tmp_path, tmp_path / "in", "--from", "colour")


def test_masks_whose_encoding_is_described_are_read_once(capsys, tmp_path, monkeypatch):
    described(tmp_path / "in")
    monkeypatch.delattr("bisenetv2.data.convert.masks.is_lossy")  # reads a whole WebP
    assert convert(capsys, tmp_path / "in", "-o", tmp_path / "out")[0] == 0


def test_labels_that_are_not_read_leave_masks_beside_images_what_they_are(capsys, tmp_path):
    cvat(tmp_path / "in")
    (tmp_path / "in/labelmap.txt").write_text(LABELMAP)
    (tmp_path / "in/annotations.xml").write_text("<annotations>")
    assert convert(capsys, tmp_path / "in", "-o", tmp_path / "out")[0] == 0


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_small_masks_are_no_photographs_after_lossy_compression(capsys, tmp_path, suffix):
    y, x = np.mgrid[:90, :120]
    discs = [(x - left) ** 2 + (y - top) ** 2 < 36**2 for left, top in ((42, 45), (90, 54))]
    expected = np.select(discs[::-1], [2, 1])
    (tmp_path / "in").mkdir()
    Image.fromarray(COLORS[[0, 2, 1]][expected]).save(tmp_path / f"in/a.{suffix}", quality=75)
    code, told = convert(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert (code, "3 colours" in told) == (0, True), told
    assert np.mean(read_mask(tmp_path / "out/masks/a.png") == expected) > 0.9


def test_from_colour_insists_on_masks_of_small_areas(capsys, tmp_path):
    y, x = np.mgrid[:120, :160]
    (tmp_path / "in").mkdir()
    Image.fromarray(COLORS[(x + 2 * y) // 44 % 3]).save(tmp_path / "in/a.jpg", quality=75)
    assert "or insist with --from colour" in refused(capsys, tmp_path, tmp_path / "in")
    code, told = convert(capsys, tmp_path / "in", "--from", "colour", "-o", tmp_path / "out")
    assert (code, "3 colours" in told) == (0, True), told


BESIDE_MASKS = {
    "info.json": '{"year": 2020}',
    "lines.json": '{"image": 1}\n{"image": 2}\n',
    "a.json": '{"timestamp": 3}',
    "a.xml": UNREAD["a.xml"][0],
}


@pytest.mark.parametrize("name", BESIDE_MASKS)
def test_what_is_hardly_labels_leaves_masks_alone_what_they_are(capsys, tmp_path, name):
    painted(tmp_path / "in/a.png")
    (tmp_path / "in" / name).write_text(BESIDE_MASKS[name])
    code, told = convert(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert (code, "1 images, colour to index" in told) == (0, True), told


@pytest.mark.parametrize("name", ["annotations.xml", "meta.json", "train.csv"])
def test_what_is_certainly_labels_needs_insisting_to_take_masks(capsys, tmp_path, name):
    painted(tmp_path / "in/a.png")
    (tmp_path / "in" / name).write_text(UNREAD[name][0])
    (tmp_path / "in/a.json").write_text("{}")  # tells less
    line = refused(capsys, tmp_path, tmp_path / "in")
    assert f"{name}: {UNREAD[name][1]} is not read" in line
    assert line.endswith("or insist with --from\n")
    words = (tmp_path / "in", "--from", "colour", "-o", tmp_path / "out")
    assert convert(capsys, *words)[0] == 0


@pytest.mark.parametrize("name", ["a.xml", "via.json"])
def test_photographs_in_grey_are_no_masks_beside_labels(capsys, tmp_path, name):
    greys = np.random.default_rng(0).integers(0, 256, (24, 32), dtype=np.uint8)
    write_mask(tmp_path / "in/a.png", greys)
    (tmp_path / "in" / name).write_text(UNREAD[name][0])
    assert f"{UNREAD[name][1]} is not read" in refused(capsys, tmp_path, tmp_path / "in")


def test_not_all_json_of_a_big_folder_is_read(capsys, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        "bisenetv2.data.convert.recognise.read_json", lambda path: read.append(path) or {}
    )
    painted(tmp_path / "in/a.png")
    for number in range(40):
        (tmp_path / f"in/{number}.json").write_text("{}")
    assert convert(capsys, tmp_path / "in", "-o", tmp_path / "out")[0] == 0
    assert len(read) < 20


def test_photographs_are_no_masks(capsys, tmp_path):
    photo(tmp_path / "photos/a.png")
    painted(tmp_path / "photos/b.png")
    line = refused(capsys, tmp_path, tmp_path / "photos")
    assert f"{tmp_path}/photos/a.png: a photograph rather than a mask" in line
    (tmp_path / "in/images").mkdir(parents=True)
    painted(tmp_path / "in/images/a.png")
    assert "no images with masks in it (it holds images)" in refused(
        capsys, tmp_path, tmp_path / "in"
    )
