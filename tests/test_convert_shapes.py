"""Shapes that other tools write, and those that cannot be drawn: told all at once, or left out."""

from __future__ import annotations

import json
from base64 import b64encode

import cv2
import numpy as np
import pytest

from bisenetv2.cli import main
from bisenetv2.images import read_mask, write_image

BITMAP = np.array([[1, 0, 1], [0, 1, 1]], np.uint8)
HALF = [[0, 0], [5, 0], [5, 8], [0, 8]]


def convert(capsys, *words):
    """Runs the verb; returns exit code and all that it told."""
    code = main(["convert-labels", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out + err


def labelme(path, *shapes):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 8, "imageWidth": 10}
    path.write_text(json.dumps(content))


def bitmap(points, pixels=BITMAP, **fields):
    """A shape as labelme's AI tools write it; its points are its first and last pixel."""
    text = b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()
    return {"label": "car", "shape_type": "mask", "points": points, "mask": text, **fields}


def yolo(root, **texts):
    """Writes a text file a word."""
    (root / "labels").mkdir(parents=True)
    (root / "data.yaml").write_text("names: [car]")
    for name, text in texts.items():
        write_image(root / f"images/{name}.png", np.zeros((8, 10, 3), np.uint8))
        (root / f"labels/{name}.txt").write_text(text)
    return root


@pytest.mark.parametrize("white", [np.uint8(1), np.uint8(255), np.uint16(1), np.uint16(65535)])
def test_bitmaps_of_labelme_are_painted_where_they_lie(capsys, tmp_path, white):
    labelme(tmp_path / "in/a.json", bitmap([[7, 6], [9.0, 7.0]], BITMAP * white))
    assert convert(capsys, tmp_path / "in", "-o", tmp_path / "out")[0] == 0
    expected = np.zeros((8, 10), np.uint8)
    expected[6:, 7:] = BITMAP
    np.testing.assert_array_equal(read_mask(tmp_path / "out/masks/a.png"), expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (bitmap([[8, 6], [10, 7]]), "its points are no box in 10×8; draw"),
        (bitmap([[float("nan"), 6], [9, 7]]), "its points are no box"),
        (bitmap([[0, 0]]), "a mask has 2 points"),
        (bitmap([[0, 0], [3, 1]]), "its mask of 3×2 pixels does not fill its box"),
        (bitmap([[0, 0], [2, 1]], mask="iVBORw0KGgo="), "a.json: shape 1 ('car'): not an image"),
        (bitmap([[0, 0], [2, 1]], mask="?"), "not an image"),
        (bitmap([[0, 0], [2, 1]], mask="abc"), "its mask is damaged"),
        (bitmap([[0, 0], [2, 1]], mask=7), "its mask is damaged"),
    ],
)
def test_mistakes_in_bitmaps_of_labelme(capsys, tmp_path, shape, message):
    labelme(tmp_path / "in/a.json", shape)
    code, told = convert(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert (code, message in told, len(told.splitlines())) == (2, True, 1), told


def test_a_rectangle_may_have_all_its_corners(capsys, tmp_path):
    labelme(tmp_path / "in/a.json", {"label": "car", "shape_type": "rectangle", "points": HALF})
    assert convert(capsys, tmp_path / "in", "-o", tmp_path / "out")[0] == 0
    assert (read_mask(tmp_path / "out/masks/a.png") == [1] * 5 + [0] * 5).all()


def test_broken_shapes_of_all_files_are_told_at_once_or_left_out(capsys, tmp_path):
    good = "0 0 0 0.5 0 0.5 1 0 1\n"
    two = "0 0 0 1 1\n0 0 0 1\n"
    root = yolo(tmp_path / "in", a=good + two, b=two, c=good)
    code, told = convert(capsys, root, "-o", tmp_path / "out")
    assert (code, len(told.splitlines())) == (2, 1)
    assert f"{root}: 4 shapes cannot be drawn: {root}/labels/a.txt: line 2: a box, not a" in told
    assert f"{root}/labels/b.txt: line 1: a box" in told
    assert told.endswith("; and 1 more; leave them out with --skip-broken\n")
    assert not (tmp_path / "out").exists()
    code, told = convert(capsys, root, "--skip-broken", "-o", tmp_path / "out")
    assert (code, f"{root}: broken shapes left out: 4 (such as {root}/labels/a" in told) == (
        0,
        True,
    )
    half = [1] * 5 + [0] * 5
    assert (read_mask(tmp_path / "out/masks/a.png") == half).all()
    assert not read_mask(tmp_path / "out/masks/b.png").any()


def test_a_broken_polygon_leaves_the_others_of_its_annotation(capsys, tmp_path):
    flat = [value for point in HALF for value in point]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 8, "width": 10}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 2, 2], flat]},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": []},
        ],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    code, told = convert(capsys, path, "-o", tmp_path / "out")
    assert code == 2
    assert "2 shapes cannot be drawn" in told
    assert "annotation 1: 2 points" in told
    assert "annotation 2: has no outline" in told
    code, told = convert(capsys, path, "--skip-broken", "-o", tmp_path / "out")
    assert (code, "broken shapes left out: 2" in told) == (0, True)
    assert (read_mask(tmp_path / "out/masks/a.png") == [1] * 5 + [0] * 5).all()


def test_one_broken_shape_is_told_with_its_remedy(capsys, tmp_path):
    line = {"label": "car", "shape_type": "line", "points": HALF[:2]}
    labelme(tmp_path / "in/a.json", line, {"label": "car", "points": HALF})
    code, told = convert(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert code == 2
    assert "in: 1 shape cannot be drawn: " in told
    assert "a.json: shape 1 ('car'): shape_type 'line': draw a polygon" in told
    assert told.endswith("; leave it out with --skip-broken\n")


@pytest.mark.parametrize("words", [(), ("--skip-broken",)])
@pytest.mark.parametrize("count", [1, 2])
def test_broken_shapes_are_not_left_out_where_there_are_no_others(capsys, tmp_path, words, count):
    root = yolo(tmp_path / "in", a="0 0.5 0.5 1 1\n" * count, b="")  # boxes
    code, told = convert(capsys, root, *words, "-o", tmp_path / "out")
    assert (code, len(told.splitlines())) == (2, 1)
    assert f"{root}/labels/a.txt: line 1: a box, not a polygon" in told
    assert told.endswith("; nothing else is drawn\n")
    assert not (tmp_path / "out").exists()
