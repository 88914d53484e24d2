"""`check`: each thing that may be wrong with a data set gives its one line, a sound one none."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from bisenetv2.cli import main
from bisenetv2.data.catalogue import STREETS, open_dataset
from bisenetv2.data.check.files import list_files
from bisenetv2.data.check.run import (
    SAMPLES,
    check,
    class_weights,
    quick_check,
    spread,
    suggest_crop,
    unfit,
)
from bisenetv2.data.dataset import SpreadSamples
from bisenetv2.images import read_header, read_image, write_image, write_mask

SIZE = 48, 64
TRAIN, VAL = 8, 4
DESCRIPTION = """\
classes: [{names}]
splits:
  train: {{images: images/train, masks: masks/train}}
  val: {{images: images/val, masks: masks/val}}
"""


def blocks(seed: int, values: np.ndarray) -> np.ndarray:
    """A grid of 6×8 values, each a square of 8 pixels."""
    return np.repeat(np.repeat(values, 8, axis=0), 8, axis=1)


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return blocks(seed, rng.integers(0, 255, (6, 8, 3)).astype(np.uint8))


def ids(seed: int) -> np.ndarray:
    """A mask of the classes 0, 1, 2 and a few ignored pixels."""
    rng = np.random.default_rng(seed)
    return blocks(seed, rng.permutation([0, 1, 2] * 15 + [255] * 3).reshape(6, 8).astype(np.uint8))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing to complain of."""
    root = tmp_path_factory.mktemp("sound") / "data"
    for split, first, count in (("train", 0, TRAIN), ("val", 100, VAL)):
        for number in range(count):
            write_image(root / f"images/{split}/{number}.jpg", picture(first + number))
            write_mask(root / f"masks/{split}/{number}.png", ids(first + number))
    return root


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    """A copy of the sound folder, to be broken."""
    return Path(shutil.copytree(sound, tmp_path / "data"))


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def complaints(out: str) -> list[str]:
    return [line for line in out.splitlines() if re.match("error: |warning: ", line)]


# How to break a folder, and the one line that must come of it


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def tag(path: Path, orientation: int) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    PillowImage.open(path).save(path, exif=exif)


def repaint(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    write_mask(path, np.ascontiguousarray(change(np.array(PillowImage.open(path)))))


def with_value(value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(mask: np.ndarray) -> np.ndarray:
        mask[:2, :5] = value
        return mask

    return change


def describe(root: Path, *names: str) -> None:
    (root / "dataset.yaml").write_text(DESCRIPTION.format(names=", ".join(names)))


def without(root: Path, split: str, value: int, instead: int = 0) -> None:
    for path in sorted((root / "masks" / split).iterdir()):
        repaint(path, lambda mask: np.where(mask == value, instead, mask).astype(np.uint8))


def stray_id(root: Path) -> None:
    describe(root, "a", "b", "c")
    repaint(root / "masks/train/3.png", with_value(77))


def ignored_as_254(root: Path) -> None:
    describe(root, "a", "b", "c")
    for path in (root / "masks/val").iterdir():
        repaint(path, lambda mask: np.where(mask == 255, 254, mask).astype(np.uint8))


def class_254(root: Path) -> None:
    for path in (root / "masks").rglob("*.png"):
        repaint(path, lambda mask: np.where(mask == 255, 254, mask).astype(np.uint8))


def mostly_ignored(root: Path) -> None:
    for path in (root / "masks").rglob("*.png"):
        repaint(path, lambda mask: np.where(np.arange(64) < 40, 255, mask).astype(np.uint8))


def empty_mask(root: Path) -> None:
    write_mask(root / "masks/train/2.png", np.full(SIZE, 255, np.uint8))


def retouched_copy(root: Path) -> None:
    image = read_image(root / "images/train/4.jpg")
    larger = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    brighter = np.clip(larger * 0.9 + 20, 0, 255).astype(np.uint8)
    write_image(root / "images/val/1.jpg", brighter)
    repaint(root / "masks/val/1.png", lambda mask: cv2.resize(mask, (160, 120), None, 0, 0, 0))


def colored_mask(root: Path) -> None:
    write_image(root / "masks/train/1.png", picture(0))
    for number in range(20):  # one of a few would be a data set of two encodings
        write_image(root / f"images/train/more{number}.jpg", picture(200 + number))
        write_mask(root / f"masks/train/more{number}.png", ids(number))


def painted(root: Path) -> None:
    """All masks in colours, one with a colour that no class has."""
    colors = np.zeros((256, 3), np.uint8)
    colors[:3] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    for path in (root / "masks").rglob("*.png"):
        write_image(path, colors[np.array(PillowImage.open(path))])
    classes = "".join(
        f"  - {{name: {n}, color: {c.tolist()}}}\n" for n, c in zip("abc", colors[:3], strict=True)
    )
    text = DESCRIPTION.replace("classes: [{names}]\n", "").format()
    ignored = "encoding: colors\nignore: [[0, 0, 0]]\n"
    (root / "dataset.yaml").write_text(f"{ignored}classes:\n{classes}{text}")


def stray_color(root: Path) -> None:
    painted(root)
    path = root / "masks/val/2.png"
    pixels = read_image(path)
    pixels[0, :9] = 7, 8, 9
    write_image(path, pixels)


def foreign_colors(root: Path) -> None:
    painted(root)
    write_image(root / "masks/val/2.png", np.full((*SIZE, 3), 99, np.uint8))


def short_list(root: Path) -> None:
    (root / "classes.txt").write_text("a\nb\n")


def single_pair(root: Path) -> None:
    for number in range(1, TRAIN):
        (root / f"images/train/{number}.jpg").unlink()
        (root / f"masks/train/{number}.png").unlink()


def lost_file(root: Path) -> None:
    (root / "pairs.csv").write_text("image,mask\nimages/train/0.jpg,masks/train/nil.png\n")
    text = "classes: [a, b, c]\nsplits:\n  train: {list: pairs.csv}\n"
    (root / "dataset.yaml").write_text(
        text + "  val: {images: images/val, masks: masks/val}\n",
    )


def single_holder(root: Path) -> None:
    for number in range(12):
        write_image(root / f"images/train/more{number}.jpg", picture(200 + number))
        write_mask(root / f"masks/train/more{number}.png", ids(number))
    repaint(root / "masks/train/more3.png", with_value(3))


def spread_over_grey(root: Path) -> None:
    for path in (root / "masks").rglob("*.png"):
        repaint(path, lambda mask: np.array([0, 29, 76] + [255] * 253, np.uint8)[mask])


def twelve_bits(root: Path) -> None:
    for path in (root / "images").rglob("*.jpg"):
        pixels = read_image(path)[..., ::-1].astype(np.uint16) << 4
        path.unlink()
        cv2.imwrite(str(path.with_suffix(".png")), pixels)


def later_split(root: Path) -> None:
    describe(root, "a", "b", "c")
    write_image(root / "images/test/0.jpg", picture(500))
    write_mask(root / "masks/test/0.png", ids(500))


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated image": (
        lambda root: cut(root / "images/train/0.jpg"),
        r"error: 1 file cannot be read \(truncated or damaged .*\): \S+train/0.jpg; "
        r"replace or remove",
    ),
    "truncated mask": (
        lambda root: cut(root / "masks/val/0.png"),
        r"error: 1 file cannot be read \(truncated or damaged .*\): \S+val/0.png; replace "
        r"or remove",
    ),
    "empty image": (
        lambda root: (root / "images/train/0.jpg").write_bytes(b""),
        r"error: 1 file cannot be read \(not an image of a known format.*\): "
        r"\S+train/0.jpg; replace",
    ),
    "no image at all": (
        lambda root: (root / "images/train/0.jpg").write_text("<html>404</html>"),
        r"error: 1 file cannot be read \(not an image of a known format.*\): "
        r"\S+train/0.jpg; replace",
    ),
    "colours among ids": (
        colored_mask,
        r"error: 1 file cannot be read \(holds colours .* class ids\): \S+train/1.png; convert it",
    ),
    "another size": (
        lambda root: repaint(root / "masks/train/5.png", lambda mask: mask[::2, ::2]),
        r"error: 1 mask is of another size than the image \(32×24, the image 64×48\): "
        r"\S+5.png; export",
    ),
    "EXIF rotation": (
        lambda root: tag(root / "images/train/6.jpg", 6),
        r"error: 1 mask is not turned as an EXIF tag turns the image \(64×48, the image 48×64\): "
        r"\S+6.png; if the masks fit the stored pixels remove the tag",
    ),
    "EXIF rotation of the same size": (
        lambda root: tag(root / "images/train/6.jpg", 3),
        r"warning: 1 image is turned or mirrored by an EXIF tag that .*: \S+6.jpg; see in "
        r"the contact",
    ),
    "mask on its side": (
        lambda root: repaint(root / "masks/train/5.png", np.rot90),
        r"error: 1 mask is turned by 90° against the image \(48×64, .*\): \S+5.png; turn "
        r"one of the two",
    ),
    "image without mask": (
        lambda root: (root / "masks/train/2.png").unlink(),
        r"error: 1 image of train is without a mask: \S+train/2.jpg; add a mask of the same name",
    ),
    "mask without image": (
        lambda root: (root / "images/val/2.jpg").unlink(),
        r"error: 1 mask of val is without an image: \S+val/2.png; add an image of the same name",
    ),
    "id out of range": (
        stray_id,
        r"error: 1 mask with ids out of range, 77 \(10 pixels\), for 3 classes and 255: \S+3.png; "
        r"correct the masks",
    ),
    "another ignore value": (
        ignored_as_254,
        r"error: 4 masks with ids out of range, 254 .*; 254 may mark ignored pixels: then list it",
    ),
    "an ignore value as a class": (
        class_254,
        r"warning: class class_3 has id 254, which usually marks ignored pixels; .*`ignore`",
    ),
    "a class named void": (
        lambda root: describe(root, "a", "void", "c"),
        r"warning: class void is named like ignored pixels, but is learnt and scored; if so, list",
    ),
    "much ignored": (
        mostly_ignored,
        r"warning: 6\d % of all pixels are ignored; see that the ignored ids are no classes",
    ),
    "a mask without classes": (
        empty_mask,
        r"warning: 1 mask without a pixel of any class: \S+2.png; nothing is learnt there",
    ),
    "class absent from val": (
        lambda root: without(root, "val", 2),
        r"warning: class class_2 absent from val, present elsewhere; what is absent is not scored",
    ),
    "class absent from train": (
        lambda root: without(root, "train", 2),
        r"error: class class_2 absent from train, present elsewhere; what is absent is not learnt",
    ),
    "class in no mask": (
        lambda root: describe(root, "a", "b", "c", "d"),
        r"warning: class d in no mask at all; add images of what is missing or take it off",
    ),
    "class in one mask": (
        single_holder,
        r"warning: 1 mask of 24 shows class class_3, 10 pixels: \S+more3.png; correct it if",
    ),
    "the same file in two splits": (
        lambda root: shutil.copy(root / "images/train/3.jpg", root / "images/val/0.jpg"),
        r"error: 1 image of val is the same file as one of train, such as \S+val/0.jpg and "
        r"\S+train/3.jpg; remove them from one of the two",
    ),
    "nearly the same image in two splits": (
        retouched_copy,
        r"warning: 1 image of val is to the eye the same as one of train, such as \S+val/1.jpg and "
        r"\S+train/4.jpg; remove them",
    ),
    "the same file twice": (
        lambda root: shutil.copy(root / "images/train/3.jpg", root / "images/train/4.jpg"),
        r"warning: 1 image is repeated within a split: \S+4.jpg; keep one of each",
    ),
    "a colour of no class": (
        stray_color,
        r"warning: 1 mask with unknown colours, which are ignored, such as \[7, 8, 9\] "
        r"\(9 pixels\), "
        r"0.024 % of all pixels: \S+2.png; list the colours",
    ),
    "a mask in other colours": (
        foreign_colors,
        r"error: 1 mask mostly in unknown colours, such as \[99, 99, 99\] .*; list the colours",
    ),
    "a single pair": (
        single_pair,
        r"warning: train holds 1 pair of image and mask; add images: every batch repeats it",
    ),
    "classes spread over grey, 255 among them": (
        spread_over_grey,
        r"warning: ids lie far apart, as greys do \(0, 29, 76\), and 6.2 % of the pixels are "
        r"ignored; if 255 is one of them list it",
    ),
    "12 bits in files of 16": (
        twelve_bits,
        r"warning: images are almost black: their mean is \d\.\d of 255; if they have 10",
    ),
    "a split that came later": (
        later_split,
        r"warning: test \(images/test\) is not in \S+/dataset.yaml; add it there, or ",
    ),
    "a list that lacks a class": (
        short_list,
        r"error: \S+classes.txt: names 2 classes, but masks hold id 2 .*; add a line for every id",
    ),
    "a list that names a lost file": (
        lost_file,
        r"error: \S+pairs.csv: line 2: no file masks/train/nil.png beside the list; correct",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_fault_gives_its_one_line(
    capsys: pytest.CaptureFixture[str], data: Path, name: str
) -> None:
    break_it, expected = BREAKS[name]
    break_it(data)
    code, out, _ = run(capsys, "check", data)
    found = complaints(out)
    assert len(found) == 1, out
    assert re.match(expected, found[0]), found[0]
    assert code == (1 if expected.startswith("error") else 0)


def test_a_sound_folder_gives_no_complaint_and_is_left_as_it_was(
    capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    before = sorted(data.rglob("*"))
    code, out, err = run(capsys, "check", data)
    assert (code, complaints(out), err) == (0, [], "")
    assert "8 train, 4 val" in out
    assert "0 errors, 0 warnings" in out
    assert sorted(data.rglob("*")) == before
    sheet = read_image("check.jpg")
    assert sheet.shape[1] > 4 * 300
    assert min(sheet.shape[:2]) > 3 * 200


def test_no_sheet_is_put_among_the_data_unasked(
    capsys: pytest.CaptureFixture[str], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(data.rglob("*"))
    for place in (data, data / "images" / "train"):
        monkeypatch.chdir(place)
        code, out, _ = run(capsys, "check", data)
        assert (code, "written:" in out) == (0, False)
        assert "no sheet inside of the data" in out
    assert sorted(path for path in data.rglob("*") if path.name != "dataset.yaml") == before
    code, out, _ = run(capsys, "check", data, "--sheet", "mine.jpg")
    assert (code, "written: mine.jpg" in out) == (0, True)


@pytest.mark.parametrize("name", ["dataset.yaml", "pairs.csv", "../elsewhere.yaml"])
def test_no_sheet_is_put_among_data_named_by_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = tmp_path / "own"
    for number in range(TRAIN):
        write_image(root / f"{number}.jpg", picture(number))
        write_mask(root / f"{number}_mask.png", ids(number))
    rows = [f"{number}.jpg,{number}_mask.png\n" for number in range(TRAIN)]
    (root / "pairs.csv").write_text("".join(rows))
    for place, folder in (("own/dataset.yaml", "."), ("elsewhere.yaml", "own")):
        splits = "splits: {train: {images: ., masks: ., mask_ending: _mask}}"
        (tmp_path / place).write_text(f"root: {folder}\nclasses: [a, b, c]\n{splits}\n")
    monkeypatch.chdir(root)
    before = sorted(root.rglob("*"))
    code, out, _ = run(capsys, "check", name)
    assert (code, "no sheet inside of the data" in out) == (0, True)
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("name", ["", "dataset.yaml"])
@pytest.mark.parametrize("sheet", ["images/train/0.jpg", "link.jpg"])
def test_a_sheet_replaces_nothing_of_the_data(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path, name: str, sheet: str
) -> None:
    describe(data, "a", "b", "c")
    image = data / "images/train/0.jpg"
    before = image.read_bytes()
    (tmp_path / "link.jpg").symlink_to(image)
    place = (tmp_path if sheet == "link.jpg" else data) / sheet
    code, out, err = run(capsys, "check", data / name, "--sheet", place)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{place}: is there, among what is read; name another file" in err
    assert image.read_bytes() == before
    for _ in range(2):  # a sheet of an earlier check may be replaced
        assert run(capsys, "check", data / name, "--sheet", tmp_path / "sheet.jpg")[0] == 0


def test_a_sheet_that_nobody_asked_for_may_fail(
    capsys: pytest.CaptureFixture[str], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bisenetv2.commands.check.SHEET", data / "dataset.yaml" / "check.jpg")
    describe(data, "a", "b", "c")
    code, out, err = run(capsys, "check", data)
    assert (code, err) == (0, "")
    assert re.search(r"^no sheet: \S+check.jpg: cannot be written", out, re.MULTILINE)
    code, out, err = run(capsys, "check", data, "--sheet", data / "dataset.yaml" / "x.jpg")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_withheld_truth_of_a_test_split_is_told_beside_a_damaged_mask(
    capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    write_image(data / "images/test/0.jpg", picture(300))
    cut(data / "masks/train/1.png")
    code, out, _ = run(capsys, "check", data)
    assert (code, len(complaints(out))) == (1, 1)
    assert "test: left out, as none of its images (1) has a mask" in out


def test_a_table_that_is_no_list_is_told_beside_a_damaged_mask(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number in range(4):
        write_image(tmp_path / f"images/{number}.jpg", picture(number))
        write_mask(tmp_path / f"masks/{number}.png", ids(number))
    (tmp_path / "train.csv").write_text("image_id,width\n0,8\n")
    cut(tmp_path / "masks/1.png")
    code, out, _ = run(capsys, "check", tmp_path)
    assert (code, len(complaints(out))) == (1, 1)
    assert "train.csv: passed over, as it lists no files" in out


@pytest.mark.parametrize("reason", ["a name too long", "no permission"])
def test_a_place_that_cannot_be_looked_at_is_named(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
) -> None:
    place = tmp_path / ("a" * 300 if reason == "a name too long" else "data")
    if reason == "no permission":  # which whoever runs the tests may have all the same
        place.mkdir()

        def forbidden(self: Path) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "iterdir", forbidden)
    code, out, err = run(capsys, "check", place)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"bisenetv2 check: {place}: ")


def test_masks_beside_images_may_be_without_one_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number in range(TRAIN):
        write_image(tmp_path / f"own/{number}.jpg", picture(number))
        write_mask(tmp_path / f"own/{number}_mask.png", ids(number))
    write_mask(tmp_path / "own/zzz_mask.png", ids(0))
    code, out, _ = run(capsys, "check", tmp_path / "own")
    assert (code, len(complaints(out))) == (1, 1)
    assert "1 mask of train is without an image" in out and "zzz_mask.png" in out


def test_what_came_later_and_is_no_split_is_nothing_to_complain_of(
    capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    describe(data, "a", "b", "c")
    (data / "test.csv").write_text("image,mask\nimages/99.jpg,masks/99.png\n")
    code, out, _ = run(capsys, "check", data)
    assert (code, complaints(out)) == (0, [])


def test_masks_without_any_class_are_an_error(
    capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    describe(data, "a", "b", "c")
    for path in (data / "masks").rglob("*.png"):
        repaint(path, lambda mask: np.full_like(mask, 255))
    code, out, _ = run(capsys, "check", data)
    assert code == 1
    assert "error: no pixel of any class in all masks; list the ids" in out


def test_a_class_in_one_image_is_left_to_train_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number in range(5):
        write_image(tmp_path / f"rare/images/{number}.jpg", picture(number))
        for rare in range(5):  # whichever of the five is held out by default
            mask = ids(number) % 2 + (number == rare)
            write_mask(tmp_path / f"rare{rare}/masks/{number}.png", mask)
    for rare in range(5):
        root = tmp_path / f"rare{rare}"
        shutil.copytree(tmp_path / "rare/images", root / "images")
        _, out, _ = run(capsys, "check", root)
        assert "absent from train" not in out
        train = open_dataset(root, "train")
        assert len(train) == 4
        assert any((train[index].mask == 2).any() for index in range(4))


def test_several_faults_are_all_told_errors_first(
    capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    shutil.copy(data / "images/train/3.jpg", data / "images/train/4.jpg")
    cut(data / "masks/train/1.png")  # the description is inferred from the others
    (data / "images/val/2.jpg").unlink()
    code, out, _ = run(capsys, "check", data, "--json")
    report = json.loads(out)
    assert code == 1
    assert [(f["severity"], f["check"]) for f in report["findings"]] == [
        ("error", "unpaired"),
        ("error", "unreadable"),
        ("warning", "duplicate"),
    ]
    assert report["findings"][0]["paths"] == [str(data / "masks/val/2.png")]
    assert (report["errors"], report["warnings"]) == (2, 1)
    assert not Path("check.jpg").exists()


def test_the_statistics_are_those_of_the_pixels(data: Path) -> None:
    report = check(list_files(data)).to_json_object()
    images = np.stack([read_image(data / f"images/train/{n}.jpg") for n in range(TRAIN)])
    masks = [np.array(PillowImage.open(data / f"masks/train/{n}.png")) for n in range(TRAIN)]
    counts = np.bincount(np.ravel(masks), minlength=256)
    np.testing.assert_allclose(
        report["normalization"]["mean"], images.mean(axis=(0, 1, 2)), atol=0.01
    )
    np.testing.assert_allclose(
        report["normalization"]["std"], images.std(axis=(0, 1, 2)), atol=0.01
    )
    assert [c["pixels"]["train"] for c in report["classes"]] == counts[:3].tolist()
    assert [c["images"] for c in report["classes"]] == [TRAIN + VAL] * 3
    assert report["ignored_share"] == pytest.approx(3 / 48)
    assert report["sizes"] == [{"height": 48, "width": 64, "images": TRAIN + VAL}]


def test_what_is_no_data_set_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    for words, expected in (
        (("nowhere",), "nowhere: no such folder; give one of images and masks"),
        ((STREETS,), "streets: rendered on demand, there are no files to check"),
        ((data / "images/val",), "no images with masks in it"),
        ((data, "--sheet", data), "name a picture to write"),
    ):
        code, out, err = run(capsys, "check", *words)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert expected in err


# The quick part


@pytest.mark.parametrize("count", [1, 2, 3, 9, 15, 16, 17, 31, 32, 400])
def test_the_quick_part_is_spread_over_the_data(count: int) -> None:
    chosen = sorted(spread(count))
    assert len(chosen) == min(count, SAMPLES)
    assert chosen[0] == 0 and count - chosen[-1] <= -(-count // len(chosen))


def test_the_quick_part_reads_headers_and_decodes_a_few(data: Path) -> None:
    for number in range(100):
        shutil.copy(data / "images/train/0.jpg", data / f"images/train/copy{number}.jpg")
        shutil.copy(data / "masks/train/0.png", data / f"masks/train/copy{number}.png")
    report = check(list_files(data), quick=True)
    assert (report.decoded, report.findings) == (SAMPLES, [])
    assert all(fact.header and fact.mask_size == SIZE for fact in report.facts)


def test_train_is_told_of_a_cut_off_file_and_a_wrong_size_before_it_starts(data: Path) -> None:
    dataset = SpreadSamples(open_dataset(data, "train"), 1)
    assert quick_check(dataset) == []
    repaint(data / "masks/train/5.png", lambda mask: mask[::2, ::2])
    cut(data / "images/train/7.jpg")
    assert [(f.check, f.severity) for f in quick_check(dataset)] == [
        ("unreadable", "error"),
        ("size", "error"),
    ]
    assert quick_check(open_dataset(STREETS, "val")) == []


@pytest.mark.parametrize(
    ("crop", "size", "text"),
    [
        ((352, 480), (2000, 3000), "shows 3 % of images of 3000×2000 (median); --crop 2016 3008 "
         "--input-scale 0.3 shows them whole"),
        ((720, 960), (360, 480), "is mostly beside images of 480×360 (median), where it is black; "
         "--crop 384 480 fits them"),
        ((352, 480), (360, 480), ""),
        ((352, 480), (720, 960), ""),
        ((1024, 1024), (1024, 2048), ""),
    ],
)  # fmt: skip
def test_a_crop_that_does_not_fit_the_images_is_told(
    crop: tuple[int, int], size: tuple[int, int], text: str
) -> None:
    found = list(unfit(crop, [size, size, (1, 1)]))
    assert len(found) == bool(text)
    assert all(text in str(finding) for finding in found)


def test_training_looks_at_its_data_first(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    words = ["train", "folder", "--data", data, "--run", tmp_path / "run", "--iterations", 1]
    words += ["--batch", 2, "--crop", 32, 32, "--progressive-share", 0]
    write_mask(data / "masks/train/3.png", np.zeros((8, 8), np.uint8))
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "3.png" in err and f"`bisenetv2 check {data}` tells all" in err
    assert err.count("error: ") == 1
    assert not (tmp_path / "run").exists()

    for path in (data / "masks/train").iterdir():  # whichever comes first
        write_mask(path, np.zeros((8, 8), np.uint8))
    code, _, err = run(capsys, *words, "--no-check")  # training itself stops at it, later
    assert code == 2
    assert "mask of 8×8 for an image of 64×48 pixels" in err and "tells all" not in err


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_header_tells_the_size_of_the_image_as_it_is_read(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    path = tmp_path / f"image{suffix}"
    write_image(path, picture(0))
    tag(path, orientation)
    header = read_header(path)
    assert header.size == SIZE
    assert header.upright == read_image(path).shape[:2]
    half = read_image(path, reduced=True)
    assert half.shape == (header.upright[0] // 2, header.upright[1] // 2, 3)


def test_bytes_after_the_end_of_a_jpeg_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    write_image(path, picture(0))
    path.write_bytes(path.read_bytes() + b"trailer of a phone")
    assert read_header(path).size == SIZE


# Every kind of data set


def test_camvid_and_cityscapes_are_told_of_missing_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number in range(3):
        write_image(tmp_path / f"camvid/train/{number}.png", picture(number))
        write_mask(tmp_path / f"camvid/trainannot/{number}.png", ids(number) // 255 * 11)
        stem = f"val/bonn/bonn_{number:06}_000000"
        write_image(tmp_path / f"city/leftImg8bit/{stem}_leftImg8bit.png", picture(number))
        write_mask(tmp_path / f"city/gtFine/{stem}_gtFine_labelIds.png", ids(number) + 7)
    (tmp_path / "camvid/trainannot/1.png").unlink()
    (tmp_path / "city/gtFine/val/bonn/bonn_000001_000000_gtFine_labelIds.png").unlink()
    code, out, _ = run(capsys, "check", tmp_path / "camvid")
    assert code == 1
    assert "1 image of train is without a mask" in out
    code, out, _ = run(capsys, "check", tmp_path / "city")
    assert code == 1
    assert "1 image of val is without a mask" in out
    assert "val holds 2 pairs, Cityscapes has 500 there; for the whole split unpack" in out


def test_the_original_of_camvid_is_listed_by_its_frames_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sky = np.full((*SIZE, 3), 128, np.uint8)
    for stem in ("0001TP_006690", "0001TP_006720", "0016E5_07959", "Seq05VD_f00000"):
        write_image(tmp_path / f"701_StillsRaw_full/{stem}.png", picture(len(stem)))
        write_image(tmp_path / f"LabeledApproved_full/{stem}_L.png", sky)
    write_image(tmp_path / "LabeledApproved_full/0001TP_006750_L.png", sky)
    code, out, _ = run(capsys, "check", tmp_path)
    assert code == 1
    assert "2 train, 1 val, 1 test" in out
    assert "1 mask of train is without an image" in out
    shutil.rmtree(tmp_path / "701_StillsRaw_full")
    code, out, _ = run(capsys, "check", tmp_path)
    assert code == 1
    assert re.search(r"error: \S+701_StillsRaw_full: missing; unpack", out)


def test_a_folder_without_its_partner_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_mask(tmp_path / "camvid/trainannot/0.png", ids(0) // 255 * 11)
    code, out, _ = run(capsys, "check", tmp_path / "camvid")
    assert code == 1
    assert re.match(r"error: \S+camvid/train: missing; unpack or put it", complaints(out)[0])
    code, out, _ = run(capsys, "check", tmp_path / "camvid", "--json")
    assert json.loads(out)["pairs"] == {}


def test_trainval_beside_train_and_val_is_no_leak(tmp_path: Path) -> None:
    for number in range(2):
        write_image(tmp_path / f"JPEGImages/2007_00000{number}.jpg", picture(number))
        write_mask(tmp_path / f"SegmentationClass/2007_00000{number}.png", ids(number))
        folder = tmp_path / "ImageSets/Segmentation"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{('train', 'val')[number]}.txt").write_text(f"2007_00000{number}\n")
    (folder / "trainval.txt").write_text("2007_000000\n2007_000001\n")
    listing = list_files(tmp_path)
    assert {split: len(part.pairs) for split, part in listing.splits.items()} == {
        "train": 1,
        "val": 1,
    }
    assert not any(finding.check == "duplicate" for finding in check(listing).findings)


def test_a_val_drawn_from_alike_frames_is_told_to_be_split_by_clip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(10):  # frames of a camera that hardly moves
        noise = rng.integers(-4, 5, (*SIZE, 3))
        frame = np.clip(picture(0).astype(int) + noise, 0, 255).astype(np.uint8)
        write_image(tmp_path / f"images/{number}.png", frame)
        write_mask(tmp_path / f"masks/{number}.png", ids(0))
    report = check(list_files(tmp_path))
    assert report.pairs == {"train": 8, "val": 2}
    assert ["split by clip" in finding.remedy for finding in report.findings] == [True]


def test_camvid_is_sound(camvid_root: Path) -> None:
    listing = list_files(camvid_root)
    assert {split: len(part.pairs) for split, part in listing.splits.items()} == {
        "train": 367,
        "val": 101,
        "test": 233,
    }
    assert quick_check(open_dataset(camvid_root, "val")) == []


def test_frames_a_second_apart_are_not_taken_for_duplicates(
    camvid_root: Path, tmp_path: Path
) -> None:
    # The first two are alike: the car has not started yet.
    images = sorted((camvid_root / "train").iterdir())[2:42]
    masks = sorted((camvid_root / "trainannot").iterdir())[2:42]
    for kind, files in (("images", images), ("masks", masks)):
        for number, file in enumerate(files):
            folder = tmp_path / "own" / kind / ("train", "val")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder)
    report = check(list_files(tmp_path / "own"))
    assert report.pairs == {"train": 20, "val": 20}
    assert [finding for finding in report.findings if finding.check == "duplicate"] == []


# What is suggested


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=40).filter(any))
def test_class_weights_are_one_on_average_and_higher_for_rarer_classes(pixels: list[int]) -> None:
    weights = np.array(class_weights(pixels))
    shares = np.array(pixels) / sum(pixels)
    assert weights @ shares == pytest.approx(1, abs=1e-3)
    assert (np.diff(weights[np.argsort(shares)]) <= 0).all()


@given(st.integers(64, 5000), st.integers(64, 5000))
def test_a_suggested_crop_is_of_whole_blocks_near_the_image(height: int, width: int) -> None:
    crop = suggest_crop(Counter({(height, width): 3}))
    assert crop is not None
    assert all(side % 32 == 0 and side > 0 for side in crop)
    if height * width <= 1024 * 512:
        assert abs(crop[0] - height) <= 31
        assert abs(crop[1] - width) <= 31
    else:
        assert crop[0] * crop[1] <= 1.3 * 1024 * 512


def test_published_recipes_are_suggested() -> None:
    assert suggest_crop(Counter({(360, 480): 1})) == (352, 480)
    assert suggest_crop(Counter({(1024, 2048): 1})) == (512, 1024)
    assert suggest_crop(Counter()) is None
