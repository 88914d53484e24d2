"""COCO as others write it: Roboflow's folders and categories, panoptic files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bisenetv2.cli import main
from bisenetv2.data.catalogue import open_dataset
from bisenetv2.images import read_mask, write_image

BOX = [[0, 0, 4, 0, 4, 4, 0, 4]]


def convert(capsys, *words):
    """Runs the verb; returns exit code and all that it told."""
    code = main(["convert-labels", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out + err


def roboflow(folder, used=1):
    """Writes an export of one image as Roboflow does: the project's name is category 0."""
    write_image(folder / "a.jpg", np.zeros((8, 10, 3), np.uint8))
    categories = [
        {"id": 0, "name": "streets", "supercategory": "none"},
        {"id": 1, "name": "car", "supercategory": "streets"},
        {"id": 2, "name": "road", "supercategory": "streets"},
    ]
    content = {
        "images": [{"id": 0, "file_name": "a.jpg", "height": 8, "width": 10}],
        "categories": categories,
        "annotations": [{"id": 0, "image_id": 0, "category_id": used, "segmentation": BOX}],
    }
    (folder / "_annotations.coco.json").write_text(json.dumps(content))
    return folder


def test_a_category_that_only_heads_the_others_is_no_class(capsys, tmp_path):
    code, told = convert(capsys, roboflow(tmp_path / "in"), "-o", tmp_path / "out")
    assert code == 0
    assert "3 classes (background, car, road)" in told
    assert "category streets stands above all others and is no class" in told
    assert np.unique(read_mask(tmp_path / "out/masks/a.png")).tolist() == [0, 1]


def test_a_category_that_heads_itself_too_is_a_class(capsys, tmp_path):
    path = roboflow(tmp_path / "in", used=7) / "_annotations.coco.json"
    content = json.loads(path.read_text())
    content["categories"] = [
        {"id": 1, "name": "person", "supercategory": "person"},
        {"id": 7, "name": "rider", "supercategory": "person"},
    ]
    path.write_text(json.dumps(content))
    code, told = convert(capsys, path, "-o", tmp_path / "out")
    assert (code, "3 classes (background, person, rider)" in told) == (0, True)
    assert "stands above" not in told


def test_a_category_above_the_others_that_is_drawn_stays(capsys, tmp_path):
    roboflow(tmp_path / "in/train")
    roboflow(tmp_path / "in/valid", used=0)
    code, told = convert(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert code == 0
    assert "4 classes (background, streets, car, road)" in told
    assert np.unique(read_mask(tmp_path / "out/masks/valid/a.png")).tolist() == [0, 1]


def test_a_folder_of_splits_converts_as_a_whole(capsys, tmp_path):
    for split in ("train", "valid", "test"):
        roboflow(tmp_path / "in" / split, used=1 + (split == "valid"))
    code, told = convert(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert (code, "3 images, coco to index" in told) == (0, True)
    for split, count in (("train", 1), ("val", 1), ("test", 1)):
        assert len(open_dataset(str(tmp_path / "out"), split)) == count
    assert np.unique(read_mask(tmp_path / "out/masks/valid/a.png")).tolist() == [0, 2]


def test_a_folder_of_splits_takes_no_other_split(capsys, tmp_path):
    for split in ("train", "valid"):
        roboflow(tmp_path / "in" / split)
    code, told = convert(capsys, tmp_path / "in", "--split", "val", "-o", tmp_path / "out")
    assert code == 2
    assert f"{tmp_path}/in: holds splits of its own (train, val); leave out --split" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("whole", [False, True])
def test_panoptic_files_are_named_as_such(capsys, tmp_path, whole):
    path = roboflow(tmp_path / "in") / "_annotations.coco.json"
    content = json.loads(path.read_text())
    segments = [{"id": 7, "category_id": 1, "area": 9}]
    content["annotations"] = [{"image_id": 0, "file_name": "a.png", "segments_info": segments}]
    path.write_text(json.dumps(content))
    code, told = convert(capsys, tmp_path / "in" if whole else path, "-o", tmp_path / "out")
    assert code == 2
    assert f"{path}: COCO panoptic is not read; give COCO instances" in told
    assert not (tmp_path / "out").exists()
