"""`convert-labels` as a user types it: every format there and back, and every mistake in a line."""

from __future__ import annotations

import json
import os
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image
from PIL import Image as PillowImage

from bisenetv2.cli import main
from bisenetv2.data.catalogue import open_dataset
from bisenetv2.images import read_mask, write_image, write_mask

CLASSES = "road,10,20,30\ntraffic light,0,0,0\nperson,200,0,7\nsky,1,2,3\n"


def run(capsys, *words):
    """Runs the verb; returns exit code, stdout and stderr."""
    try:
        code = main(["convert-labels", *map(str, words)])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def done(capsys, *words):
    """Runs the verb, which must succeed; returns what it told on both streams."""
    code, out, err = run(capsys, *words)
    assert code == 0, err
    return out + err


def refused(capsys, output, *words):
    """Runs the verb, which must refuse and write nothing; returns its one line."""
    before = sorted(output.parent.rglob("*"))
    code, out, err = run(capsys, *words, "-o", output)
    assert (code, out) == (2, "")
    assert err.startswith("bisenetv2 convert-labels: ")
    assert len(err.splitlines()) == 1
    assert sorted(output.parent.rglob("*")) == before
    return err


def photo(path, height=8, width=10):
    write_image(path, np.zeros((height, width, 3), np.uint8))
    return path


def labelme(path, shapes, **fields):
    content = {"shapes": shapes, "imagePath": "no.jpg", "imageHeight": 8, "imageWidth": 10}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, **fields}))
    return path


def square(label, left, top, right, bottom):
    points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {"label": label, "points": points, "shape_type": "polygon"}


def coco(path, annotations, categories=("car", "person"), **image):
    image = {"id": 5, "file_name": "a.jpg", "height": 8, "width": 10, **image}
    content = {
        "images": [image],
        "categories": [{"id": 3 * i + 1, "name": name} for i, name in enumerate(categories)],
        "annotations": [{"id": i, "image_id": 5, **a} for i, a in enumerate(annotations)],
    }
    path.write_text(json.dumps(content))
    return path


def box(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def yolo(folder, text, names="names: [car, person]\n"):
    (folder / "labels/train").mkdir(parents=True)
    (folder / "labels/train/a.txt").write_text(text)
    (folder / "data.yaml").write_text(names)
    photo(folder / "images/train/a.png")
    return folder


@pytest.fixture
def index_masks(tmp_path):
    """Masks with holes, islands, lone pixels and ignored ones, in folders of their own."""
    generator = np.random.default_rng(3)
    root = tmp_path / "own"
    for name in ("a", "street/b", "street/c"):
        mask = generator.integers(0, 5, (23, 31)).astype(np.uint8)
        mask[:12] = np.repeat(np.repeat(mask[:4, :8], 3, axis=0), 4, axis=1)[:, :31]
        mask[mask == 4] = 255
        write_mask(root / "masks" / f"{name}.png", mask)
        photo(root / "images" / f"{name}.png", 23, 31)
    (root / "classes.txt").write_text(CLASSES)
    return root


def masks_in(root):
    files = sorted((root / "masks").rglob("*.png"))
    return {path.relative_to(root / "masks").as_posix(): read_mask(path) for path in files}


@pytest.mark.parametrize("target", ["colour", "labelme", "coco", "yolo"])
@pytest.mark.parametrize("split", ["", "val"])
def test_index_masks_come_back_to_the_pixel(capsys, index_masks, tmp_path, target, split):
    there, back = tmp_path / "there", tmp_path / "back"
    done(capsys, index_masks, "--to", target, "--split", split, "-o", there)
    images = () if target == "labelme" else ("--images", index_masks / "images")
    if target == "yolo" and split:  # lie in labels/val, as their images then do
        (tmp_path / "own/images").rename(tmp_path / "val")
        (tmp_path / "own/images").mkdir()
        (tmp_path / "val").rename(tmp_path / "own/images/val")
    done(capsys, there, *images, "--background", "none", "-o", back)
    expected = masks_in(index_masks)
    if split and target != "coco":
        expected = {f"{split}/{name}": mask for name, mask in expected.items()}
    found = masks_in(back)
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)
    names = [line.split(",")[0] for line in (back / "classes.txt").read_text().splitlines()]
    assert names == ["road", "traffic light", "person", "sky"]


@pytest.mark.parametrize("target", ["colour", "labelme", "coco", "yolo"])
def test_ignored_pixels_beside_a_class_background_come_back_as_told(
    capsys, index_masks, tmp_path, target
):
    (index_masks / "classes.txt").write_text(CLASSES.replace("road", "background"))
    told = done(capsys, index_masks, "--to", target, "-o", tmp_path / "there")
    advice = "to convert back, give --background none, or they become background"
    assert (advice in told) == (target != "colour")
    images = () if target == "labelme" else ("--images", index_masks / "images")
    words = (*images, "--background", "none", "-o", tmp_path / "back")
    done(capsys, tmp_path / "there", *words)
    for name, mask in masks_in(index_masks).items():
        np.testing.assert_array_equal(masks_in(tmp_path / "back")[name], mask)


@pytest.mark.parametrize("target", ["labelme", "coco", "yolo"])
def test_masks_fit_images_as_exif_turns_them(capsys, index_masks, tmp_path, target):
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # stored on its side
    for image in list((index_masks / "images").rglob("*.png")):
        PillowImage.new("RGB", (23, 31)).save(image.with_suffix(".jpg"), exif=exif)
        image.unlink()
    there, back = tmp_path / "there", tmp_path / "back"
    done(capsys, index_masks, "--to", target, "-o", there)
    images = () if target == "labelme" else ("--images", index_masks / "images")
    done(capsys, there, *images, "--background", "none", "-o", back)
    expected, found = masks_in(index_masks), masks_in(back)
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)


def test_what_is_written_is_a_data_set(capsys, index_masks, tmp_path):
    for split in ("train", "val"):
        done(capsys, index_masks, "--to", "coco", "--split", split, "-o", tmp_path / "coco")
        words = ("--images", index_masks / "images", "--split", split, "--classes")
        source = tmp_path / f"coco/instances_{split}.json"
        done(capsys, source, *words, index_masks / "classes.txt", "-o", tmp_path / "new")
    dataset = open_dataset(str(tmp_path / "new"), "val")
    assert dataset.labels.names == ("road", "traffic light", "person", "sky")
    assert dataset.labels.palette[2] == (200, 0, 7)
    expected = masks_in(index_masks).values()
    assert len(dataset) == 3
    for index, mask in enumerate(expected):
        np.testing.assert_array_equal(dataset[index].mask, mask)


def test_labelme_paints_in_order_with_the_background_in_front(capsys, tmp_path):
    shapes = [
        square("person", 0, 0, 6, 6),
        {"label": "car", "points": [[9, 5], [3, 2]], "shape_type": "rectangle"},
        {"label": "car", "points": [[2, 2], [2, 3]], "shape_type": "circle"},
        square("__ignore__", 0, 7, 10, 8),
    ]
    photo(tmp_path / "in/a.png")
    labelme(tmp_path / "in/sub/a.json", shapes, imagePath="..\\a.png")
    told = done(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert "class 0, background" in told
    assert "3 classes (background, car, person), 12.50 % of the pixels ignored" in told
    expected = np.zeros((8, 10), np.uint8)
    expected[:6, :6] = 2
    expected[2:5, 3:9] = 1
    expected[1:3, 1:3] = 1
    expected[7] = 255
    np.testing.assert_array_equal(read_mask(tmp_path / "out/masks/sub/a.png"), expected)
    assert "../in/a.png,masks/sub/a.png" in (tmp_path / "out/pairs.csv").read_text()


@pytest.mark.parametrize(
    ("listed", "colors"),
    [
        (None, ["background,0,0,0", "car,128,0,0", "person,0,128,0"]),
        ("car\nperson\n", ["background,0,0,0", "car,128,0,0", "person,0,128,0"]),
        ("car,1,2,3\nperson\n", ["background,0,0,0", "car,1,2,3", "person,128,0,0"]),
        ("car,0,0,0\nperson\n", ["background,128,0,0", "car,0,0,0", "person,0,128,0"]),
    ],
)
def test_the_background_in_front_is_black_unless_a_class_is(capsys, tmp_path, listed, colors):
    labelme(tmp_path / "in/a.json", [square("car", 0, 0, 6, 6), square("person", 6, 0, 9, 6)])
    if listed:
        (tmp_path / "in/classes.txt").write_text(listed)
    done(capsys, tmp_path / "in", "--background", "background", "-o", tmp_path / "out")
    assert (tmp_path / "out/classes.txt").read_text().splitlines() == colors


@pytest.mark.parametrize("source", ["coco", "labelme"])
def test_images_without_labels_are_counted(capsys, tmp_path, source):
    for name in ("a.jpg", ".hidden.jpg", "b.png", "c.png"):
        photo(tmp_path / "in" / name)
    if source == "coco":
        coco(tmp_path / "in/a.json", [])
    else:
        labelme(tmp_path / "in/a.json", [square("car", 0, 0, 3, 3)], imagePath="a.jpg")
    told = done(capsys, tmp_path / "in", "-o", tmp_path / "out")
    line = f"images without labels, left out: 2 (such as {tmp_path}/in/b.png)"
    assert f"{tmp_path}/in: {line}" in told
    for name in ("b.png", "c.png"):
        (tmp_path / "in" / name).unlink()
    assert "left out" not in done(capsys, tmp_path / "in", "-o", tmp_path / "again")


def test_a_list_beside_labelme_files_rules_classes_and_background(capsys, tmp_path):
    labelme(tmp_path / "in/a.json", [square("person", 0, 0, 6, 6)])
    (tmp_path / "in/labels.txt").write_text("__ignore__\nsky\nperson\n")
    assert "are ignored (255)" in done(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert np.unique(read_mask(tmp_path / "out/masks/a.png")).tolist() == [1, 255]
    words = ("--background", "sky", "--overwrite")
    told = done(capsys, tmp_path / "in/a.json", *words, "-o", tmp_path / "out")
    assert "no list of pairs, as 1 images are not known; see --images" in told
    assert np.unique(read_mask(tmp_path / "out/masks/a.png")).tolist() == [0, 1]
    assert not (tmp_path / "out/pairs.csv").exists()


def test_coco_puts_smaller_regions_on_top_of_larger_ones(capsys, tmp_path):
    inner = np.zeros((8, 10), np.uint8)
    inner[4, 2:8] = 1
    runs = np.diff([0, *np.flatnonzero(np.diff(inner.T.ravel())) + 1, 80])
    annotations = [
        {"category_id": 4, "segmentation": box(1, 1, 4, 4)},
        {"category_id": 1, "segmentation": box(0, 0, 5, 5) + box(7, 0, 9.6, 3)},
        {"category_id": 4, "segmentation": {"size": [8, 10], "counts": runs.tolist()}},
    ]
    path = coco(tmp_path / "a.json", annotations)
    done(capsys, path, "-o", tmp_path / "out")
    expected = np.zeros((8, 10), np.uint8)
    expected[:5, :5] = expected[:3, 7:10] = 1
    expected[1:4, 1:4] = expected[inner == 1] = 2
    np.testing.assert_array_equal(read_mask(tmp_path / "out/masks/a.png"), expected)


def test_yolo_knows_its_layouts(capsys, tmp_path):
    root = yolo(tmp_path / "y", "1 0 0 0.5 0 0.5 0.5 0 0.5\n\n0 0.1 0 0.2 0 0.2 0.25 0.1 0.25\n")
    photo(root / "images/val/b.png")
    (root / "train.txt").write_text("images/train/a.png\n")
    told = done(capsys, root, "-o", tmp_path / "out")
    assert "1 of 2 images have no text file" in told
    expected = np.zeros((8, 10), np.uint8)
    expected[:4, :5] = 2
    expected[:2, 1] = 1
    np.testing.assert_array_equal(read_mask(tmp_path / "out/masks/train/a.png"), expected)
    assert not read_mask(tmp_path / "out/masks/val/b.png").any()
    assert open_dataset(str(tmp_path / "out"), "val").labels.names[1:] == ("car", "person")
    (root / "data.yaml").write_text("names: {0: car, 1: void}")
    done(capsys, root / "labels", "-o", tmp_path / "again")
    assert 255 in read_mask(tmp_path / "again/masks/train/a.png")


def test_colours_and_ids_mix_where_a_list_gives_both(capsys, tmp_path):
    mask = np.array([[0, 1, 2, 255]] * 3, np.uint8)
    table = np.array([(10, 20, 30), (0, 0, 0), (200, 0, 7)], np.uint8)
    picture = np.full((3, 4, 3), 255, np.uint8)
    picture[:, :3] = table[mask[:, :3]]
    write_image(tmp_path / "in/a.png", picture)
    write_mask(tmp_path / "in/b.png", mask)
    palette = Image.fromarray(mask[::-1] * 0 + 1)
    palette.putpalette([9, 9, 9, 200, 0, 7])
    palette.save(tmp_path / "in/c.png")
    (tmp_path / "classes.txt").write_text(CLASSES + "void,255,255,255\n")
    done(capsys, tmp_path / "in", "-o", tmp_path / "out")
    np.testing.assert_array_equal(read_mask(tmp_path / "out/masks/a.png"), mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "out/masks/b.png"), mask)
    assert (read_mask(tmp_path / "out/masks/c.png") == 1).all()
    (tmp_path / "in/b.png").unlink()
    done(capsys, tmp_path / "in", "--from", "colour", "-o", tmp_path / "insisted")
    assert (read_mask(tmp_path / "insisted/masks/c.png") == 2).all()


def test_colours_are_found_where_nobody_lists_them(capsys, tmp_path):
    picture = np.zeros((30, 30, 3), np.uint8)
    picture[10:] = (0, 0, 250)
    write_image(tmp_path / "in/a.png", picture)
    told = done(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert "2 colours" in told
    np.testing.assert_array_equal(
        read_mask(tmp_path / "out/masks/a.png"), (picture[..., 2] > 0).astype(np.uint8)
    )


def test_texts_that_are_no_labels_leave_masks_what_they_are(capsys, tmp_path):
    mask = np.arange(80, dtype=np.uint8).reshape(8, 10) % 2
    write_image(tmp_path / "own/masks/a.png", np.repeat(mask[..., None], 3, axis=2))
    photo(tmp_path / "own/images/a.png")
    (tmp_path / "own/masks/classes.txt").write_text("a\nb\n")
    (tmp_path / "own/masks/train.txt").write_text("a\n")
    (tmp_path / "own/masks/LICENSE.txt").write_text("Do as you like.\n")
    done(capsys, tmp_path / "own/masks", "-o", tmp_path / "out", "--to", "coco")
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize("first", ["1e-05", "-0.01", "2.5e-3", "1"])
def test_yolo_labels_beside_their_images_may_start_near_nought(capsys, tmp_path, first):
    photo(tmp_path / "y/a.png")
    (tmp_path / "y/a.txt").write_text(f"0 {first} 0 0.5 0 0.5 0.5 0 0.5\n")
    (tmp_path / "y/data.yaml").write_text("names: [car]")
    told = done(capsys, tmp_path / "y", "--clip", "-o", tmp_path / "out")
    assert "1 images, yolo to index" in told


def test_a_text_among_masks_makes_no_yolo_labels_of_them(capsys, tmp_path):
    for folder in ("masks", "labels"):
        write_mask(tmp_path / folder / "a.png", np.array([[0, 1]], np.uint8))
    (tmp_path / "masks/notes.txt").write_text("")
    (tmp_path / "labels/train.txt").write_text("0\n1\n")
    for folder in ("masks", "labels"):
        told = done(capsys, tmp_path / folder, "--to", "coco", "-o", tmp_path / f"{folder}_out")
        assert "1 images, index to coco" in told


@pytest.mark.parametrize("source", ["coco", "labelme", "masks"])
def test_an_image_that_is_missing_is_not_replaced_by_another_clip_s(capsys, tmp_path, source):
    photo(tmp_path / "im/clip2/0001.png")
    if source == "coco":
        coco(tmp_path / "coco.json", [], file_name="clip1/0001.png")
    elif source == "labelme":
        labelme(tmp_path / "labelme/clip1/0001.json", [square("car", 0, 0, 3, 3)])
    else:
        write_image(tmp_path / "masks/clip1/0001.png", np.full((8, 10, 3), (9, 0, 0), np.uint8))
        (tmp_path / "masks/classes.txt").write_text("a,0,0,0\nb,9,0,0\n")
    path = tmp_path / ("coco.json" if source == "coco" else source)
    told = done(capsys, path, "--images", tmp_path / "im", "-o", tmp_path / "out")
    assert "no list of pairs, as 1 images are not known" in told
    assert not (tmp_path / "out/pairs.csv").exists()


@pytest.mark.parametrize(
    ("named", "lies"),
    [
        ("a.jpg", "clip/day/a.png"),
        ("train/clip/a.jpg", "clip/a.png"),
        ("clip/a.jpg", "train/clip/a.png"),
        ("train2017/a.jpg", "a.png"),
        (unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "é.png")),
    ],
)
def test_the_path_of_an_image_may_start_above_or_below_the_folder(capsys, tmp_path, named, lies):
    photo(tmp_path / "im" / lies)
    photo(tmp_path / "im/other/b.png")
    path = coco(tmp_path / "a.json", [], file_name=named)
    done(capsys, path, "--images", tmp_path / "im", "-o", tmp_path / "out")
    assert f"../im/{lies}," in (tmp_path / "out/pairs.csv").read_text()


@pytest.mark.parametrize("target", ["coco", "labelme"])
def test_names_of_images_that_are_made_up_are_told(capsys, index_masks, tmp_path, target):
    photos = tmp_path / "photos"
    (index_masks / "images").rename(photos)
    told = done(capsys, index_masks, "--to", target, "-o", tmp_path / "out")
    assert "names of images end in .png, as 3 images are not known; see --images" in told
    words = ("--images", photos, "-o", tmp_path / "known")
    assert "not known" not in done(capsys, index_masks, "--to", target, *words)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("target", ["index", "coco", "labelme"])
def test_a_name_of_an_old_encoding_is_named_and_nothing_written(capsys, tmp_path, target):
    name = os.fsdecode(b"caf\xe9")
    mask = np.full((8, 10), 1, np.uint8)
    if target == "index":
        write_image(tmp_path / f"own/masks/{name}.png", np.full((8, 10, 3), (9, 0, 0), np.uint8))
    else:
        write_mask(tmp_path / f"own/masks/{name}.png", mask)
    photo(tmp_path / f"own/images/{name}.png")
    (tmp_path / "own/classes.txt").write_text("a,0,0,0\nb,9,0,0\n")
    line = refused(capsys, tmp_path / "out", tmp_path / "own", "--to", target)
    assert "caf\\udce9.png" in line and "is not UTF-8; rename the file" in line


def test_jpeg_masks_take_the_nearest_colour(capsys, tmp_path):
    picture = np.full((16, 32, 3), (200, 0, 7), np.uint8)
    picture[:, 16:] = (10, 20, 30)
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in/a.jpg", quality=95)
    (tmp_path / "classes.txt").write_text(CLASSES)
    done(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert (read_mask(tmp_path / "out/masks/a.png")[:, :8] == 2).all()


def test_colours_of_built_in_labels(capsys, tmp_path):
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0], picture[1, 0] = (128, 128, 128), (64, 128, 192)  # sky; truck or bus, which is car
    write_image(tmp_path / "in/a.png", picture)
    done(capsys, tmp_path / "in", "--classes", "camvid", "-o", tmp_path / "out")
    expected = [[0, 0, 0], [8, 255, 255]]
    assert read_mask(tmp_path / "out/masks/a.png").tolist() == expected


def test_a_class_that_is_black_leaves_another_colour_to_the_ignored(capsys, index_masks, tmp_path):
    done(capsys, index_masks, "--to", "colour", "-o", tmp_path / "out")
    lines = (tmp_path / "out/labelmap.txt").read_text().splitlines()
    assert lines[1] == "traffic light:0,0,0::"
    assert lines[-1].startswith("void:")
    assert lines[-1] != "void:0,0,0::"


def test_real_masks_come_back_from_coco(capsys, camvid_root, tmp_path):
    for name in ("0016E5_07959", "0016E5_08159"):
        mask = read_mask(camvid_root / "valannot" / f"{name}.png")
        write_mask(tmp_path / "in" / f"{name}.png", mask)
    words = ("--classes", "camvid", "--images", camvid_root / "val")
    done(capsys, tmp_path / "in", "--to", "coco", *words, "-o", tmp_path / "there")
    done(capsys, tmp_path / "there", *words, "-o", tmp_path / "back")
    for path in (tmp_path / "in").iterdir():
        expected = read_mask(path).copy()
        expected[expected == 11] = 255
        np.testing.assert_array_equal(read_mask(tmp_path / "back/masks" / path.name), expected)


def test_nothing_is_overwritten_unasked(capsys, tmp_path):
    labelme(tmp_path / "in/a.json", [square("car", 0, 0, 3, 3)])
    out = tmp_path / "out"
    write_mask(out / "masks/a.png", np.zeros((2, 2), np.uint8))
    assert f"{out}/masks/a.png: exists; give another" in refused(capsys, out, tmp_path / "in")
    done(capsys, tmp_path / "in", "--overwrite", "-o", out)
    assert read_mask(out / "masks/a.png").shape == (8, 10)
    labelme(tmp_path / "more/b.json", [square("bus", 0, 0, 3, 3)])
    line = refused(capsys, out, tmp_path / "more")
    assert f"{out}/classes.txt: exists and lists other classes or colours than backgr" in line
    assert not (out / "masks/b.png").exists()


def test_a_class_list_that_masks_depend_on_stays(capsys, tmp_path):
    train = labelme(tmp_path / "train/a.json", [square("bus", 0, 0, 3, 3)])
    labelme(tmp_path / "train/b.json", [square("car", 0, 0, 3, 3)])
    val = labelme(tmp_path / "val/c.json", [square("car", 0, 0, 3, 3)])
    out = tmp_path / "out"
    done(capsys, train.parent, "--split", "train", "-o", out)
    before = (out / "classes.txt").read_text()
    for words in ((), ("--overwrite",)):
        line = refused(capsys, out, val.parent, "--split", "val", *words)
        assert f"give --classes {out}/classes.txt to keep to it, or another --output" in line
    words = ("--split", "val", "--classes", out / "classes.txt")
    done(capsys, val.parent, *words, "-o", out)
    assert (out / "classes.txt").read_text() == before
    assert read_mask(out / "masks/val/c.png")[0, 0] == 2
    # Nothing depends on the list once all masks are replaced.
    done(capsys, val.parent, "--split", "val", "--overwrite", "-o", tmp_path / "alone")
    labelme(val, [square("tram", 0, 0, 3, 3)])
    done(capsys, val.parent, "--split", "val", "--overwrite", "-o", tmp_path / "alone")
    assert "tram" in (tmp_path / "alone/classes.txt").read_text()


def test_a_class_may_be_added_to_a_list_that_masks_depend_on(capsys, tmp_path):
    train = labelme(tmp_path / "train/a.json", [square("car", 0, 0, 3, 3)])
    val = labelme(tmp_path / "val/b.json", [square("bus", 0, 0, 3, 3)])
    out = tmp_path / "out"
    done(capsys, train.parent, "--split", "train", "-o", out)
    words = (val.parent, "--split", "val", "--classes", out / "classes.txt")
    line = refused(capsys, out, *words)
    assert "add it there at the end" in line
    with (out / "classes.txt").open("a") as file:
        file.write("bus\n")
    done(capsys, *words, "-o", out)
    assert read_mask(out / "masks/val/b.png")[0, 0] == 2


@pytest.mark.parametrize("target", ["colour", "labelme", "yolo"])
def test_lists_of_other_formats_stay_too(capsys, index_masks, tmp_path, target):
    out = tmp_path / "out"
    words = (index_masks, "--to", target, "--overwrite")
    done(capsys, *words, "--split", "train", "-o", out)
    done(capsys, *words, "--split", "val", "-o", out)
    (index_masks / "classes.txt").write_text(CLASSES.replace("person", "rider"))
    line = refused(capsys, out, *words, "--split", "val")
    assert "exists and lists other classes or colours than road, traffic light, rider, sky" in line


@pytest.mark.parametrize(
    "listed",
    ["0 background\n7 car\n", "1 car\n0 background\n", "void\nbackground\ncar\n", "255 background"],
)
def test_a_list_that_numbers_its_classes_otherwise_is_no_list_of_new_masks(
    capsys, tmp_path, listed
):
    labelme(tmp_path / "in/a.json", [square("car", 0, 0, 3, 3)])
    out = tmp_path / "out"
    write_mask(out / "masks/old.png", np.zeros((2, 2), np.uint8))
    (out / "classes.txt").write_text(listed)
    words = ("--classes", out / "classes.txt", "--background", "background")
    line = refused(capsys, out, tmp_path / "in", *words)
    assert f"{out}/classes.txt: exists and gives its classes other values than 0, 1, 2" in line
    assert "--classes" not in line
    (out / "classes.txt").write_text("background\ncar\nvoid\n")  # 2 is in no new mask
    done(capsys, tmp_path / "in", *words, "-o", out)
    assert "void" in (out / "classes.txt").read_text()


@pytest.mark.parametrize(
    ("listed", "lacks"),
    [
        ("road:10,20,30::\nsky:1,2,3::\n", "[0, 0, 0] of void"),
        ("road\nsky\n", "[10, 20, 30] of road"),
    ],
)
def test_a_list_that_lacks_a_painted_colour_is_no_list_of_new_masks(
    capsys, tmp_path, listed, lacks
):
    source, out = tmp_path / "in", tmp_path / "out"
    write_mask(source / "masks/a.png", np.array([[0, 1, 255]], np.uint8))
    (source / "classes.txt").write_text("road,10,20,30\nsky,1,2,3\n")
    write_image(out / "masks/old.png", np.full((2, 2, 3), (1, 2, 3), np.uint8))
    (out / "labelmap.txt").write_text(listed)
    line = refused(capsys, out, source, "--to", "colour")
    assert f"{out}/labelmap.txt: exists and lacks the colour {lacks}; add it there" in line
    (out / "labelmap.txt").write_text("void:0,0,0::\nroad:10,20,30::\nsky:1,2,3::\n")
    done(capsys, source, "--to", "colour", "-o", out)


DESCRIBED = {
    "other classes": "classes: [background, bus]",
    "other numbers": "classes: [{name: background, ids: [0]}, {name: car, ids: [7]}]",
    "other pixels": "encoding: instances\nclasses: [background, car]",
}


@pytest.mark.parametrize("other", DESCRIBED)
def test_a_description_that_stays_fits_the_new_masks(capsys, tmp_path, other):
    labelme(tmp_path / "in/a.json", [square("bus", 0, 0, 3, 3)])
    out = tmp_path / "out"
    done(capsys, tmp_path / "in", "-o", out)
    splits = "\nsplits: {train: {images: images, masks: masks}}\n"
    (out / "dataset.yaml").write_text(DESCRIBED[other] + splits)
    labelme(tmp_path / "in/a.json", [square("car", 0, 0, 3, 3)])
    line = refused(capsys, out, tmp_path / "in", "--overwrite")
    how = "lists other classes" if other == "other classes" else "gives its classes other values"
    assert f"{out}/dataset.yaml: exists and {how}" in line
    assert "another --output" in line
    (out / "dataset.yaml").write_text("classes: [background, car]" + splits)
    done(capsys, tmp_path / "in", "--overwrite", "-o", out)


def test_a_bad_file_after_good_ones_leaves_nothing(capsys, tmp_path):
    labelme(tmp_path / "in/a.json", [square("car", 0, 0, 3, 3)])
    labelme(tmp_path / "in/b.json", [square("car", 0, 0, 30, 3)])
    assert "b.json: shape 1" in refused(capsys, tmp_path / "out", tmp_path / "in")


def test_polygons_are_cut_off_and_labels_ignored_on_demand(capsys, tmp_path):
    shapes = [square("car", -5, 4, 300, 99999), square("tyre", 0, 0, 2, 2)]
    labelme(tmp_path / "in/a.json", shapes)
    (tmp_path / "in/labels.txt").write_text("background\ncar\n")
    done(capsys, tmp_path / "in", "--clip", "--ignore-unknown", "-o", tmp_path / "out")
    mask = read_mask(tmp_path / "out/masks/a.png")
    assert (mask[4:] == 1).all()
    assert (mask[:2, :2] == 255).all()
    assert (mask[:4, 2:] == 0).all()


LABELME_MISTAKES = {
    "a label that is not listed": ([square("bus", 0, 0, 2, 2)], {}, "label 'bus' is not among"),
    "a label that is none": ([square(None, 0, 0, 2, 2)], {}, "label None is not among"),
    "two points": (
        [{"label": "car", "points": [[0, 0], [1, 1]]}], {},
        "a.json: shape 1 ('car'): 2 points; a polygon has 3 or more",
    ),
    "a point outside": ([square("car", 0, 0, 12, 3)], {}, "point (12, 0) is outside the image"),
    "no number": ([square("car", 0, 0, float("nan"), 3)], {}, "point (nan, 0) is outside"),
    "points beyond all bounds": (
        [square("car", 0, 0, 1e300, 3)], {}, "point (1e+300, 0) is outside the image of 10×8",
    ),
    "points that are words": (
        [{"label": "car", "points": [["a", "b"]] * 3}], {}, "its points are no pairs of numbers",
    ),
    "ragged points": (
        [{"label": "car", "points": [[1], [2, 3], [4, 5]]}], {}, "no pairs of numbers",
    ),
    "points in depth": ([{"label": "car", "points": [[[1, 2]]] * 3}], {}, "no pairs of numbers"),
    "a line": (
        [{"label": "car", "points": [[0, 0]], "shape_type": "line"}], {}, "shape_type 'line'",
    ),
    "points of no number": (
        [{"label": "car", "points": [[], [], []]}], {}, "no pairs of numbers",
    ),
    "a rectangle of no number": (
        [{"label": "car", "points": [[], []], "shape_type": "rectangle"}], {}, "no pairs of",
    ),
    "half a rectangle": (
        [{"label": "car", "points": [[0, 0]], "shape_type": "rectangle"}], {}, "has 2 points",
    ),
    "a monstrous width": (
        [], {"imageWidth": 10**9, "imageHeight": 10**9}, "more than the 178,956,970",
    ),
    "a width below 1": ([], {"imageWidth": 0}, "size 0×8 cannot be"),
    "a width in words": ([], {"imageWidth": "10"}, "size '10'×8 cannot be"),
    "another size": ([], {"imageWidth": 9, "imagePath": "a.png"}, "stated size 9×8, but "),
    "no size": ([], {"imageWidth": None, "imageHeight": None}, "gives no size"),
    "shapes that are none": ({"a": 1}, {}, "`shapes` is no list of objects"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", LABELME_MISTAKES)
def test_mistakes_in_labelme_files(capsys, tmp_path, mistake):
    shapes, fields, message = LABELME_MISTAKES[mistake]
    path = labelme(tmp_path / "in/a.json", shapes, **fields)
    photo(tmp_path / "in/a.png")
    (tmp_path / "in/labels.txt").write_text("background\ncar\n")
    line = refused(capsys, tmp_path / "out", tmp_path / "in")
    assert str(path) in line
    assert message in line


RLE = {"size": [8, 10], "counts": [0, 80]}
COCO_MISTAKES = {
    "no outline": ([{"category_id": 1, "segmentation": []}], {}, "annotation 0: has no outline"),
    "an odd count": ([{"category_id": 1, "segmentation": [[1, 2, 3]]}], {}, "x, y, x, y"),
    "two points": ([{"category_id": 1, "segmentation": [[1, 2, 3, 4]]}], {}, "2 points"),
    "no lists": ([{"category_id": 1, "segmentation": [1, 2]}], {}, "x, y, x, y"),
    "an unknown category": ([{"category_id": 9, "segmentation": RLE}], {}, "category_id 9 is none"),
    "an unknown image": ([{"image_id": 9}], {}, "image_id 9 is no image's"),
    "RLE of another size": (
        [{"category_id": 1, "segmentation": {**RLE, "size": [10, 8]}}], {},
        "RLE of size [10, 8], but its image has height and width [8, 10]",
    ),
    "RLE that does not add up": (
        [{"category_id": 1, "segmentation": {**RLE, "counts": [1, 80]}}], {}, "add up to 81",
    ),
    "RLE that is damaged": (
        [{"category_id": 1, "segmentation": {**RLE, "counts": "~~"}}], {}, "damaged at '~'",
    ),
    "a point outside": (
        [{"category_id": 1, "segmentation": box(0, 0, 4, 10)}], {}, "point (4, 10) is outside",
    ),
    "a way out": ([], {"file_name": "../../a.jpg"}, "file_name '../../a.jpg': write a path"),
    "a way out from the root": ([], {"file_name": "/etc/a.jpg"}, "write a path relative"),
    "no name": ([], {"file_name": 3}, "file_name 3: write a path relative"),
    "a monstrous width": ([], {"width": 10**9}, "1000000000×8 pixels are more than"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", COCO_MISTAKES)
def test_mistakes_in_coco_files(capsys, tmp_path, mistake):
    annotations, fields, message = COCO_MISTAKES[mistake]
    path = coco(tmp_path / "a.json", annotations, **fields)
    line = refused(capsys, tmp_path / "out/x", path)
    assert str(path) in line
    assert message in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 1, "file_name": "a"}] * 2}, "two images have id 1"),
        ({"categories": [{"id": "1", "name": "car"}]}, "needs a whole number `id` and a `name`"),
        ({"categories": [{"id": 1, "name": n} for n in "ab"]}, "category id 1 has two names"),
        ({"categories": [{"id": 1, "name": "a\nb"}]}, r"class name 'a\nb' is not printable"),
        ({"categories": []}, "0 classes"),
        ({"categories": None}, "`categories` is no list of objects"),
        ({"categories": [{"id": i, "name": f"c{i}"} for i in range(255)]}, "--background none"),
    ],
)
def test_mistakes_in_the_lists_of_coco(capsys, tmp_path, change, message):
    path = coco(tmp_path / "a.json", [])
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    line = refused(capsys, tmp_path / "out", path)
    assert str(path) in line
    assert message in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 0 0 1 0 1 1", "line 1: class '2' is none of the 2 that are named, 0-1"),
        ("car 0 0 1 0 1 1", "line 1: class 'car' is none"),
        ("\n0 0 0 1 0", "line 2: a box, not a polygon"),
        ("0 0 0 1 0 1", "line 1: 5 numbers are no pairs"),
        ("0 0 0", "line 1: 1 points"),
        ("0 0 0 x 0 1 1", "line 1: its points are no numbers"),
        ("0 0 0 2 0 1 1", "line 1: point (20, 0) is outside the image of 10×8"),
        ("0 0 0 1e999 0 1 1", "line 1: point (inf, 0) is outside"),
        (f"{'9' * 5000} 0 0 1 0 1 1", "is none of the 2"),
    ],
)
def test_mistakes_in_yolo_files(capsys, tmp_path, text, message):
    root = yolo(tmp_path / "y", text)
    line = refused(capsys, tmp_path / "out", root)
    assert f"{root}/labels/train/a.txt: " in line
    assert message in line


def test_names_of_yolo_may_be_given_and_another_project_s_file_lie_above(capsys, tmp_path):
    root = yolo(tmp_path / "p/y", "1 0 0 1 0 1 1\n")
    (root / "data.yaml").rename(tmp_path / "data.yaml")
    (tmp_path / "p/helm.yaml").write_text("{{ x }}: [")
    assert f"{tmp_path}/p/helm.yaml: not YAML" in refused(capsys, tmp_path / "out", root)
    done(capsys, root, "--classes", tmp_path / "data.yaml", "-o", tmp_path / "out")
    lines = (tmp_path / "out/classes.txt").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["car", "person"]
    assert np.unique(read_mask(tmp_path / "out/masks/train/a.png")).tolist() == [1, 255]
    (tmp_path / "p/data.yaml").write_text("names: [person, car]\n")  # says what the numbers are
    words = ("--classes", tmp_path / "data.yaml", "-o", tmp_path / "again")
    done(capsys, root, *words)
    assert np.unique(read_mask(tmp_path / "again/masks/train/a.png")).tolist() == [0, 255]


def test_numbers_of_yolo_are_the_ids_of_a_list_that_gives_them(capsys, tmp_path):
    root = yolo(tmp_path / "y", "2 0 0 1 0 1 1\n")
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("2 car\n1 bus\n7 tram\n")
    told = done(capsys, root, "-o", tmp_path / "out")
    assert "4 classes (background, bus, car, tram)" in told
    assert np.unique(read_mask(tmp_path / "out/masks/train/a.png")).tolist() == [0, 2]
    (root / "labels/train/a.txt").write_text("0 0 0 1 0 1 1\n")
    line = refused(capsys, tmp_path / "again", root)
    assert "class '0' is none of the 3 that are named, 1-7" in line


def test_a_class_may_be_called_by_any_letter(capsys, index_masks, tmp_path):
    (index_masks / "classes.txt").write_text(CLASSES.replace("road", "🚗 é"), encoding="utf-8")
    done(capsys, index_masks, "--to", "yolo", "-o", tmp_path / "there")
    assert '"🚗 é"' in (tmp_path / "there/data.yaml").read_text(encoding="utf-8")
    words = ("--images", index_masks / "images", "-o", tmp_path / "back")
    assert "🚗 é" in done(capsys, tmp_path / "there", *words)


def test_mistakes_around_yolo_files(capsys, tmp_path):
    root = yolo(tmp_path / "y/y", "0 0 0 1 0 1 1", "names: {1: car}")
    assert "numbered [1], not from 0" in refused(capsys, tmp_path / "out", root)
    (root / "data.yaml").write_text("names: [")
    assert f"{root}/data.yaml: not YAML" in refused(capsys, tmp_path / "out", root)
    (root / "data.yaml").unlink()
    assert "names the classes; add one" in refused(capsys, tmp_path / "out", root)
    (root / "classes.txt").write_text("car\n")
    (root / "labels/train/a.txt").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as text" in refused(capsys, tmp_path / "out", root)
    (root / "images/train/a.png").rename(root / "images/train/b.png")
    assert "its image train/a.* is not below" in refused(capsys, tmp_path / "out", root)


def test_mistakes_in_masks(capsys, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    write_image(source / "a.png", np.full((4, 4, 3), (10, 20, 30), np.uint8))
    picture = np.full((4, 4, 3), (10, 20, 30), np.uint8)
    picture[0, 0] = (9, 9, 8)
    write_image(source / "b.png", picture)
    (tmp_path / "classes.txt").write_text(CLASSES)
    line = refused(capsys, out, source)
    assert f"{source}/b.png: colour [9, 9, 8] and perhaps others (1 pixels)" in line
    done(capsys, source, "--ignore-unknown", "-o", tmp_path / "ignored")
    assert read_mask(tmp_path / "ignored/masks/b.png")[0, 0] == 255
    photo(tmp_path / "photos/a.png")
    line = refused(capsys, out, source, "--images", tmp_path / "photos")
    assert "a.png: 4×4 pixels, but" in line
    (tmp_path / "classes.txt").write_text("road\nsky\n")
    assert "lists none; add them there" in refused(capsys, out, source)
    (tmp_path / "classes.txt").write_text("road,1,1,1\nsky,1,1,1\n")
    assert "classes.txt: colour [1, 1, 1] is listed for two classes" in refused(capsys, out, source)
    index = tmp_path / "index"
    write_mask(index / "a.png", np.full((3, 3), 2, np.uint8))
    assert "label 2 is out of range" in refused(capsys, out, index, "--to", "coco")
    write_mask(index / "a.png", np.zeros((3, 3), np.uint8))
    assert "are both [1, 1, 1]" in refused(capsys, out, index, "--to", "colour")


def test_mistakes_in_what_is_asked_for(capsys, tmp_path):
    out, index = tmp_path / "out", tmp_path / "index"
    write_mask(index / "a.png", np.array([[0, 1]], np.uint8))
    assert "as they are; say what to convert them to with --to" in refused(capsys, out, index)
    assert "no such file or folder" in refused(capsys, out, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no labelme or COCO JSON" in refused(capsys, out, tmp_path / "empty")
    assert "holds no labelled image" in refused(
        capsys, out, tmp_path / "empty", "--from", "labelme", "--classes", "camvid"
    )
    path = labelme(tmp_path / "in/a.json", [square("car", 0, 0, 3, 3)])
    line = refused(capsys, out, path, "--to", "coco")
    assert "labelme to coco: convert to index masks first" in line
    assert "no class list; name a file or one of camvid" in refused(
        capsys, out, path, "--classes", "cars"
    )
    assert "a.json: is a file; name a folder" in refused(capsys, path, path)
    for split in ("../x", "foo"):
        line = refused(capsys, out, path, "--split", split)
        assert f"--split {split}: is no split; give train, val, test" in line
    assert "give the folder" in refused(capsys, out, path, "--from", "yolo")
    assert "`categories` is no list" in refused(capsys, out, path, "--from", "coco")
    (tmp_path / "in/b.json").write_text("{")
    assert f"{tmp_path}/in/b.json: broken JSON" in refused(capsys, out, tmp_path / "in")
    (tmp_path / "in/b.json").write_text("[1]")
    assert "holds a JSON list" in refused(capsys, out, tmp_path / "in")
    (tmp_path / "in/b.json").write_text("{}")
    assert "b.json: no `shapes`" in refused(capsys, out, tmp_path / "in")
    (tmp_path / "in/b.json").write_text("[" * 200000)
    assert "broken JSON" in refused(capsys, out, tmp_path / "in/b.json")
    coco(tmp_path / "in/b.json", [])
    assert "holds 2 JSON files" in refused(capsys, out, tmp_path / "in", "--from", "coco")


def test_two_images_of_one_name_are_refused(capsys, tmp_path):
    path = coco(tmp_path / "a.json", [])
    content = json.loads(path.read_text())
    content["images"].append({**content["images"][0], "id": 6, "file_name": "a.png"})
    path.write_text(json.dumps(content))
    assert "2 images would become masks/a.png" in refused(capsys, tmp_path / "out", path)


def reordered(root):
    """Writes palette masks of four areas in colours that the list beside has in another order."""
    mask = np.kron(np.arange(4, dtype=np.uint8).reshape(2, 2), np.ones((4, 5), np.uint8))
    image = PillowImage.fromarray(mask).convert("P")
    image.putdata(mask.ravel().tolist())
    image.putpalette([0, 0, 0, 10, 20, 30, 200, 0, 7, 1, 2, 3])
    (root / "masks").mkdir(parents=True)
    image.save(root / "masks/a.png")
    write_mask(root / "masks/empty.png", mask * 0)
    lines = ["sky,1,2,3", "person,200,0,7", "bus,9,9,9", "ground,0,0,0", "road,10,20,30"]
    (root / "class_dict.csv").write_text("\n".join(["name,r,g,b", *lines]))
    for name in ("a", "empty"):
        photo(root / f"images/{name}.jpg")
    return np.array([3, 4, 1, 0])[mask]


def test_palettes_in_the_colours_of_a_list_are_read_as_data_reads_them(capsys, tmp_path):
    expected = reordered(tmp_path / "own")
    dataset = open_dataset(str(tmp_path / "own"), "trainval")
    np.testing.assert_array_equal(dataset[0].mask, expected)
    (tmp_path / "own/dataset.yaml").unlink()
    done(capsys, tmp_path / "own/masks", "--to", "coco", "-o", tmp_path / "coco")
    content = json.loads((tmp_path / "coco/instances.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.jpg", "empty.jpg"]
    words = ("--images", tmp_path / "own/images", "--background", "none")
    done(capsys, tmp_path / "coco", *words, "-o", tmp_path / "back")
    np.testing.assert_array_equal(read_mask(tmp_path / "back/masks/a.png"), expected)
    assert (read_mask(tmp_path / "back/masks/empty.png") == 3).all()
    words = ("--from", "index", "--to", "colour", "-o", tmp_path / "insisted")
    done(capsys, tmp_path / "own", *words)
    painted = np.asarray(PillowImage.open(tmp_path / "insisted/masks/a.png"))
    assert painted[0, 0].tolist() == [1, 2, 3]


SPLITS = "splits: {train: {images: images, masks: masks}}\n"


@pytest.mark.parametrize("listed", [False, True])
def test_from_colour_insists_whether_ids_are_described_or_not(capsys, tmp_path, listed):
    image = PillowImage.fromarray(np.array([[2, 1, 0]] * 9, np.uint8).repeat(3, axis=1))
    image.putpalette([9, 0, 0, 0, 9, 0, 0, 0, 9])
    (tmp_path / "own/masks").mkdir(parents=True)
    image.save(tmp_path / "own/masks/a.png")
    if listed:
        colors = {"a": [0, 0, 9], "b": [0, 9, 0], "c": [9, 0, 0]}
        entries = [f"{{name: {name}, color: {color}}}" for name, color in colors.items()]
        text = f"classes: [{', '.join(entries)}]\n{SPLITS}"
        (tmp_path / "own/dataset.yaml").write_text(text)
    done(capsys, tmp_path / "own", "--from", "colour", "-o", tmp_path / "out")
    assert read_mask(tmp_path / "out/masks/a.png")[0, ::3].tolist() == [0, 1, 2]


def test_from_index_insists_whether_colours_are_described_or_not(capsys, tmp_path):
    words = (tmp_path / "own", "--from", "index", "--to", "colour")
    write_image(tmp_path / "own/masks/a.png", np.full((3, 3, 3), (0, 9, 0), np.uint8))
    assert "a.png: holds colours where ids" in refused(capsys, tmp_path / "out", *words)
    write_mask(tmp_path / "own/masks/a.png", np.array([[0, 1]], np.uint8))
    classes = "classes: [{name: a, color: [1, 1, 1]}, {name: b, color: [0, 0, 0]}]\n"
    (tmp_path / "own/dataset.yaml").write_text(f"encoding: colors\n{classes}{SPLITS}")
    done(capsys, *words, "-o", tmp_path / "out")
    found = np.asarray(PillowImage.open(tmp_path / "out/masks/a.png"))
    assert found.tolist() == [[[1, 1, 1], [0, 0, 0]]]


def test_a_folder_without_masks_is_named(capsys, tmp_path):
    (tmp_path / "in").mkdir()
    line = refused(capsys, tmp_path / "out", tmp_path / "in", "--from", "colour")
    assert "holds no labelled image" in line
