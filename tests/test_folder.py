"""A folder of one's own: how its images, masks and splits are found, described and read."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisenetv2.data.catalogue import open_dataset
from bisenetv2.data.folder import dataset_yaml
from bisenetv2.data.folder.holding_out import fair_seed, held_out
from bisenetv2.data.folder.lists import read_rows
from bisenetv2.data.folder.matching import Source, match, walk
from bisenetv2.data.folder.split import infer_description, open_folder
from bisenetv2.errors import UserError
from bisenetv2.images import write_image, write_mask
from bisenetv2.labels import IGNORE_INDEX

MASK = np.kron(np.array([[0, 1], [2, 255]], np.uint8), np.ones((3, 3), np.uint8))


@pytest.fixture(autouse=True)
def _own_config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


def add(root: Path, image: str, mask: str, pixels: np.ndarray = MASK) -> None:
    write_image(root / image, np.zeros((*pixels.shape, 3), np.uint8))
    (root / mask).parent.mkdir(parents=True, exist_ok=True)
    if mask.endswith(".npy"):
        np.save(root / mask, pixels)
    else:
        write_mask(root / mask, pixels)


def names(root: Path, split: str) -> list[str]:
    dataset = open_dataset(root, split)
    for index in range(len(dataset)):
        np.testing.assert_array_equal(dataset[index].mask, MASK)
    paths = [Path(dataset.sample_name(index)) for index in range(len(dataset))]
    return [path.relative_to(root).as_posix() for path in paths]


def complaint(root: Path, split: str = "train") -> str:
    with pytest.raises(UserError) as caught:
        dataset = open_dataset(root, split)
        for index in range(len(dataset)):
            _ = dataset[index]
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Layouts


LAYOUTS = {
    "images/train masks/train": ("images/{s}/{n}.jpg", "masks/{s}/{n}.png"),
    "images/train labels/train": ("images/{s}/{n}.png", "labels/{s}/{n}_mask.png"),
    "images/train annotations/train": ("images/{s}/{n}.png", "annotations/{s}/{n}.npy"),
    "train/images train/masks": ("{s}/images/{n}.jpg", "{s}/masks/{n}_L.png"),
    "train/img train/gt": ("{s}/img/{n}.webp", "{s}/gt/{n}_P.png"),
    "train train_labels": ("{s}/{n}.png", "{s}_labels/{n}_label.png"),
    "train together": ("{s}/{n}.jpg", "{s}/{n}_mask.png"),
    "cities": ("images/{s}/ulm/{n}_leftImg8bit.png", "labels/{s}/ulm/{n}_gtFine_labelIds.png"),
    "img_dir/train ann_dir/train": ("img_dir/{s}/{n}.jpg", "ann_dir/{s}/{n}.png"),
    "train_images train_masks": ("{s}_images/{n}.jpg", "{s}_masks/{n}.png"),
    "img-train lab-train": ("img-{s}/{n}.jpg", "lab-{s}/{n}.png"),
    "train/image_2 train/semantic": ("{s}/image_2/{n}.png", "{s}/semantic/{n}.png"),
    "names of images whole": ("images/{s}/{n}.jpg", "masks/{s}/{n}.jpg.png"),
    "upper case": ("Images/{s}/{n}.JPG", "Masks/{s}/{n}.PNG"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folders_of_splits_are_found(layout: str, val: str, tmp_path: Path) -> None:
    image, mask = LAYOUTS[layout]
    for split, count in (("train", 3), (val, 2), ("test", 1)):
        for number in range(count):
            where = {"s": split, "n": f"{split}{number}"}
            add(tmp_path, image.format(**where), mask.format(**where).replace(".PNG", ".png"))
    expected = [image.format(s="train", n=f"train{n}") for n in range(3)]
    assert names(tmp_path, "train") == expected
    assert names(tmp_path, "val") == [image.format(s=val, n=f"{val}{n}") for n in range(2)]
    assert names(tmp_path, "trainval") == [*expected, *names(tmp_path, "val")]
    assert names(tmp_path, "test") == [image.format(s="test", n="test0")]
    assert "has train, val, test, trainval" in complaint(tmp_path, "all")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("imgs/{}.png", "segmentation/{}_seg.png"),
        ("{}.jpg", "{}_mask.png"),
        ("{}_rgb.png", "{}_label.png"),
        ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
    ],
)
def test_without_splits_a_fifth_is_held_out_the_same_each_time(
    image: str, mask: str, tmp_path: Path
) -> None:
    for number in range(10):
        add(tmp_path, image.format(f"frame{number}"), mask.format(f"frame{number}"))
    train, val = names(tmp_path, "train"), names(tmp_path, "val")
    assert (len(train), len(val)) == (8, 2)
    assert not set(train) & set(val)
    (tmp_path / "dataset.yaml").unlink()
    assert names(tmp_path, "val") == val
    assert sorted(names(tmp_path, "trainval")) == sorted(train + val)
    assert "unknown split 'test'" in complaint(tmp_path, "test")


@given(st.lists(st.frozensets(st.integers(0, 3), min_size=1), min_size=2, max_size=20))
def test_what_is_held_out_is_a_class_s_last_image_only_where_no_seed_helps(
    held: list[frozenset[int]],
) -> None:
    pairs = [(Path(f"/d/{n}.png"), Path(f"/m/{n}.png")) for n in range(len(held))]
    holds = {mask: values for (_, mask), values in zip(pairs, held, strict=True)}

    def lost(seed: int) -> tuple[int, int]:
        train, val = (
            frozenset().union(*(holds[mask] for _, mask in part))
            for part in held_out(pairs, Path("/d"), 0.2, seed)
        )
        return len(val - train), len(train - val)

    seed = fair_seed(pairs, Path("/d"), 0.2, holds)
    assert lost(seed) == min(map(lost, range(20)))
    assert all(lost(earlier) > lost(seed) for earlier in range(seed))


def test_blends_along_edges_do_not_choose_what_is_held_out(tmp_path: Path) -> None:
    colors = np.array([[0, 0, 0], [250, 0, 0], [0, 250, 0]], np.uint8)
    generator = np.random.default_rng(0)
    for number in range(12):
        areas = np.kron(np.arange(2 + number % 2), np.ones((9, 9), np.uint8)).astype(np.uint8)
        pixels = colors[areas]
        pixels[:, 8] = generator.integers(1, 200, (9, 3))  # other blends in each file
        write_image(tmp_path / f"images/{number}.png", np.zeros((*areas.shape, 3), np.uint8))
        write_image(tmp_path / f"masks/{number}.png", pixels)
    description = infer_description(tmp_path)
    assert description.labels.palette == ((0, 0, 0), (0, 250, 0), (250, 0, 0))
    for split in ("train", "val"):
        dataset = open_dataset(tmp_path, split)
        masks = [dataset[index].mask for index in range(len(dataset))]
        assert {0, 1, 2} <= set(np.unique(np.concatenate(masks, axis=None)))


@given(st.integers(2, 60), st.floats(0.01, 0.99))
def test_a_pair_added_later_moves_few_others(count: int, share: float) -> None:
    pairs = [(Path(f"/d/{n}.png"), Path(f"/m/{n}.png")) for n in range(count + 1)]
    kept, out = held_out(pairs[:-1], Path("/d"), share)
    assert sorted(kept + out) == sorted(pairs[:-1])
    assert kept and out and abs(len(out) - share * count) <= 1
    later = held_out(pairs, Path("/d"), share)[1]
    assert len(set(out) ^ set(later)) <= 3


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}/a.png", "masks/{}/a.png"),
        ("{}/images/a.png", "{}/masks/a.png"),
        ("{}/a.png", "{}_labels/a.png"),
        ("{}/a.png", "{}/a_mask.png"),
    ],
)
def test_an_unlabelled_test_folder_is_no_obstacle(
    image: str, mask: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        add(tmp_path, image.format(split), mask.format(split))
    for suffix in (".png", ".jpg"):  # names that pair with nothing may be equal
        path = (tmp_path / image.format("test")).with_suffix(suffix)
        write_image(path, np.zeros((4, 4, 3), np.uint8))
    assert names(tmp_path, "val") == [image.format("val")]
    assert "test: left out, as none of its images (2) has a mask" in capsys.readouterr().err
    assert "unknown split 'test'" in complaint(tmp_path, "test")


@pytest.mark.parametrize(
    ("image", "mask"),
    [("images/{}/{}.png", "masks/{}/{}.png"), ("{}/{}.png", "{}_labels/{}.png")],
)
def test_of_two_folders_of_one_split_none_is_lost(image: str, mask: str, tmp_path: Path) -> None:
    for split in ("train", "val", "valid"):
        add(tmp_path, image.format(split, "a"), mask.format(split, "a"))
    text = complaint(tmp_path)
    assert text.startswith(f"{(tmp_path / image.format('valid', 'a')).parent}: is val as ")
    assert "pairs.csv" in text


@pytest.mark.parametrize("images", ["val_images", "valid_images", "images-val"])
def test_folders_named_after_a_split_lie_beside_those_to_train_on(
    images: str, tmp_path: Path
) -> None:
    add(tmp_path, "images/0.png", "masks/0.png")
    add(tmp_path, f"{images}/1.png", "validation_masks/1.png")
    write_image(tmp_path / "test_images/2.png", np.zeros((6, 6, 3), np.uint8))
    (tmp_path / "val_labels").mkdir()
    (tmp_path / "val_labels/1.json").write_text("{}")
    assert names(tmp_path, "train") == ["images/0.png"]
    assert names(tmp_path, "val") == [f"{images}/1.png"]
    (tmp_path / "dataset.yaml").unlink()
    assert "test: left out" in "\n".join(infer_description(tmp_path).notes)
    add(tmp_path, "image_val/3.png", "validation_masks/3.png")
    assert "is val as" in complaint(tmp_path)


def test_masks_may_call_a_split_otherwise_than_images(tmp_path: Path) -> None:
    for split, other in (("train", "Training"), ("val", "Valid")):
        add(tmp_path, f"images/{split}/a.png", f"masks/{other}/a.png")
    assert names(tmp_path, "val") == ["images/val/a.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a right to make links")
def test_a_folder_and_links_to_it_are_one(tmp_path: Path) -> None:
    add(tmp_path, "images/z/deep/1.jpg", "masks/z/deep/1.png")
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        (tmp_path / kind / "a").symlink_to(tmp_path / kind / "z" / "deep")
        (tmp_path / kind / "self").symlink_to("self")
        assert [p.name for p in walk(tmp_path / kind)] == ["self", f"1.{suffix}"]
    assert match(tmp_path, Source("images", "masks")).checked() == (
        (tmp_path / "images/z/deep/1.jpg", tmp_path / "masks/z/deep/1.png"),
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs a right to make links")
def test_images_may_share_masks_by_a_link(tmp_path: Path) -> None:
    add(tmp_path, "images/clear/1.jpg", "masks/clear/1.png")
    add(tmp_path, "images/fog/1.jpg", "masks/clear/1.png")
    (tmp_path / "masks/fog").symlink_to("clear")
    assert match(tmp_path, Source("images", "masks")).checked() == (
        (tmp_path / "images/clear/1.jpg", tmp_path / "masks/clear/1.png"),
        (tmp_path / "images/fog/1.jpg", tmp_path / "masks/fog/1.png"),
    )


def test_a_folder_that_may_not_be_entered_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, "images/1.jpg", "masks/1.png")
    locked = tmp_path / "images" / "lost+found"
    locked.mkdir()
    scan = os.scandir

    def refuse(path: Path) -> object:
        if path == locked:  # root, who may run this test, may enter all
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert walk(tmp_path / "images") == [tmp_path / "images/1.jpg"]
    with pytest.raises(PermissionError):
        walk(locked)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a right to make links")
def test_linked_folders_are_searched_too_and_none_for_ever(tmp_path: Path) -> None:
    for clip in ("a", "b"):
        add(tmp_path, f"store/{clip}/images/0.png", f"store/{clip}/masks/0.png")
    for kind in ("images", "masks"):
        (tmp_path / "own" / kind).mkdir(parents=True)
        for clip in ("a", "b"):
            (tmp_path / "own" / kind / clip).symlink_to(tmp_path / "store" / clip / kind)
        (tmp_path / "store" / "a" / kind / "back").symlink_to(tmp_path / "own" / kind)
        (tmp_path / "own" / kind / "self").symlink_to(tmp_path / "own" / kind)
    assert names(tmp_path / "own", "trainval") == ["images/a/0.png", "images/b/0.png"]


@pytest.mark.parametrize(
    ("image", "mask"), [("images/{}.png", "masks/{}.png"), ("{}.png", "{}_mask.png")]
)
def test_a_letter_with_its_accent_is_one_however_it_is_written(
    image: str, mask: str, tmp_path: Path
) -> None:
    one, two = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    add(tmp_path, image.format(two), mask.format(one))
    add(tmp_path, image.format("b"), mask.format("b"))
    assert len(names(tmp_path, "trainval")) == 2
    if "/" in image:
        (tmp_path / "dataset.yaml").unlink()
        (tmp_path / "train.txt").write_text(f"{one}\nb\n", encoding="utf-8")
        assert len(names(tmp_path, "trainval")) == 2


@pytest.mark.parametrize("lists", [("test",), ("train", "val", "test")])
def test_a_list_of_withheld_test_images_is_no_obstacle(
    lists: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stem in "abc":
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
    write_image(tmp_path / "images/x.png", np.zeros((4, 4, 3), np.uint8))
    for split in lists:
        content = {"train": "a\nb\n", "val": "c\n", "test": "x\n"}[split]
        (tmp_path / f"{split}.txt").write_text(content)
    assert names(tmp_path, "trainval") == [f"images/{stem}.png" for stem in "abc"]
    assert "test: left out, as none of its images (1) has a mask" in capsys.readouterr().err
    assert "unknown split 'test'" in complaint(tmp_path, "test")


def test_a_colored_rendering_beside_a_mask_is_passed_over(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
        write_image(tmp_path / f"masks/{stem}_color.png", np.full((6, 6, 3), (9, 0, 0), np.uint8))
    assert len(names(tmp_path, "trainval")) == 2


# Lists


LISTS = {
    "pairs.csv": "image,mask,split\nx/a.png,y/1.png,train\nx/b.png,y/2.png,val\n",
    "list.txt": "# pairs\nx/a.png\ty/1.png\ttraining\n\nx/b.png\ty/2.png\tvalidation\n",
    "split.csv": "split;mask_path;image_path\ntrain;y/1.png;x/a.png\nval;y/2.png;x/b.png\n",
    "splits.csv": '\ufeffFilename,Label\n"x/a.png","y/1.png"\nx/b.png,y/2.png\n',
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("by_path", [False, True])
def test_a_list_names_pairs_and_splits(name: str, by_path: bool, tmp_path: Path) -> None:
    add(tmp_path, "x/a.png", "y/1.png")
    add(tmp_path, "x/b.png", "y/2.png")
    (tmp_path / name).write_text(LISTS[name], encoding="utf-8")
    data = tmp_path / name if by_path else tmp_path
    for split in ("train", "val"):
        dataset = open_dataset(data, split)
        assert len(dataset) == 1
        np.testing.assert_array_equal(dataset[0].mask, MASK)
        if "split" in LISTS[name] or "training" in LISTS[name]:
            assert Path(dataset.sample_name(0)).name == {"train": "a.png", "val": "b.png"}[split]
    assert (tmp_path / (Path(name).stem + ".yaml" if by_path else "dataset.yaml")).is_file()


@pytest.mark.parametrize("folder", ["", "splits", "ImageSets/Segmentation"])
@pytest.mark.parametrize("line", ["{}", "{}.jpg", "JPEGImages/{}.jpg"])
def test_lists_of_names_choose_from_the_folders(folder: str, line: str, tmp_path: Path) -> None:
    for stem in ("a", "b.1", "c"):
        add(tmp_path, f"JPEGImages/{stem}.jpg", f"SegmentationClass/{stem}.png")
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "train.txt").write_text("".join(line.format(n) + "\n" for n in "ca"))
    (tmp_path / folder / "val.txt").write_text(line.format("b.1") + "\n")
    assert names(tmp_path, "train") == ["JPEGImages/c.jpg", "JPEGImages/a.jpg"]
    assert names(tmp_path, "val") == ["JPEGImages/b.1.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x/a.png,y/1.png\nx/b.png\n", "line 2: 1 names, unlike the lines before"),
        ("x/a.png,y/9.png\n", "line 1: no file y/9.png beside the list"),
        ("image,mask,split\nx/a.png,y/1.png,dev\n", "split 'dev' is none of train, val, test"),
        (
            "image,mask,split\nx/a.png,y/1.png,val\nx/a.png,y/1.png,\n",
            "line 3: split '' is none of train, val, test",
        ),
        (f"{'x' * 300}.png,y/1.png\n", f"line 1: no file {'x' * 300}.png beside the list"),
        (f"x/a.png,{'y' * 200_000}\n", "line 1: field larger than field limit"),
        ("x/a.png\n", "names no mask"),
        ("\n", "holds no row"),
    ],
)
def test_a_list_that_is_wrong_is_named_with_its_line(
    text: str, message: str, tmp_path: Path
) -> None:
    add(tmp_path, "x/a.png", "y/1.png")
    (tmp_path / "pairs.csv").write_text(text)
    found = complaint(tmp_path)
    assert found.startswith(f"{tmp_path / 'pairs.csv'}: ") and message in found


def test_rows_of_one_split_may_spell_it_in_several_ways(tmp_path: Path) -> None:
    spelled = ("train", "Train", "training", "val", "VALID", "test")
    for number in range(len(spelled)):
        add(tmp_path, f"x/{number}.png", f"y/{number}.png")
    rows = [f"x/{number}.png,y/{number}.png,{split}" for number, split in enumerate(spelled)]
    (tmp_path / "pairs.csv").write_text("\n".join(["image,mask,split", *rows]))
    found = [len(names(tmp_path, split)) for split in ("train", "val", "trainval", "test")]
    assert found == [3, 2, 5, 1]
    older = Source(list="pairs.csv", rows="Train")  # as a description may say
    assert len(match(tmp_path, older).pairs) == 3


def test_of_two_lists_of_one_split_none_is_lost(tmp_path: Path) -> None:
    for stem in "abc":
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
    for name, stem in (("train", "a"), ("val", "b"), ("valid", "c")):
        (tmp_path / f"{name}.txt").write_text(f"{stem}\n")
    assert complaint(tmp_path).startswith(f"{tmp_path / 'valid.txt'}: is val as val.txt is;")


@pytest.mark.parametrize("line", ["{}.jpg", "JPEGImages/{}.jpg", "JPEGImages/{0}.jpg {1}{0}.png"])
def test_paths_of_a_list_may_start_with_a_slash(line: str, tmp_path: Path) -> None:
    for stem in "ab":
        add(tmp_path, f"JPEGImages/{stem}.jpg", f"SegmentationClass/{stem}.png")
    lines = ["/" + line.format(stem, "/SegmentationClass/") for stem in "ab"]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    assert names(tmp_path, "trainval") == ["JPEGImages/a.jpg", "JPEGImages/b.jpg"]


@pytest.mark.parametrize(
    "text",
    [
        "image_id,width,height\n0,8,8\n1,8,8\n",
        f"id,rle_mask\n0,1 2 3\n1,\n2,{'4 5' * 70_000}\n",
        "ImageId\tClassId\n",
        "ImageId,ClassId,EncodedPixels\n0.png,1,1 10 50 20\n1.png,2,\n",
    ],
)
def test_a_table_about_images_is_no_list_of_them(text: str, tmp_path: Path) -> None:
    for stem in "01":
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
    (tmp_path / "train.csv").write_text(text)
    assert "train.csv: passed over, as it lists no files" in infer_description(tmp_path).notes
    assert names(tmp_path, "trainval") == ["images/0.png", "images/1.png"]


def test_a_table_says_nothing_where_folders_tell_the_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        add(tmp_path, f"images/{split}/0.png", f"masks/{split}/0.png")
    (tmp_path / "train.csv").write_bytes(b"image_id,width\n\xff,8\n")
    assert not any("passed over" in note for note in infer_description(tmp_path).notes)


def test_names_without_suffix_are_no_heading(tmp_path: Path) -> None:
    for stem in "abc":
        add(tmp_path, f"images/{stem}.jpg", f"masks/{stem}.png")
    (tmp_path / "train.csv").write_text("a,x\nb,y\n")
    (tmp_path / "val.csv").write_text("c,y\n")
    assert "line 1: no file a beside the list; correct the path" in complaint(tmp_path)


@pytest.mark.parametrize("text", ["image,mask\n0,0\n", "picture,truth\nimages/0.png,masks/0.png\n"])
def test_what_may_be_a_list_is_not_passed_over(text: str, tmp_path: Path) -> None:
    add(tmp_path, "images/0.png", "masks/0.png")
    (tmp_path / "train.csv").write_text(text)
    assert "beside the list; correct the path" in complaint(tmp_path)


def test_a_list_is_refused_where_a_name_is_missing_or_has_two_meanings(tmp_path: Path) -> None:
    for stem in ("ulm/a", "bonn/a", "bonn/b"):
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
    (tmp_path / "train.txt").write_text("bonn/a\nb\n")
    assert names(tmp_path, "trainval") == ["images/bonn/a.png", "images/bonn/b.png"]
    (tmp_path / "train.txt").write_text("bonn/a\na\n")
    assert "train.txt: line 2: 2 images are called a in" in complaint(tmp_path)
    (tmp_path / "train.txt").write_text("c\n")
    assert "train.txt: line 1: no image is called c in" in complaint(tmp_path)


def test_a_missing_file_of_a_list_is_not_replaced_by_another_clip_s(tmp_path: Path) -> None:
    for name in ("seq1/0001", "seq2/0002"):
        add(tmp_path, f"images/{name}.png", f"masks/{name}.png")
    (tmp_path / "train.txt").write_text("seq1/0001\nseq1/0002\n")
    (tmp_path / "val.txt").write_text("seq2/0002\n")
    assert "line 2: no image is called seq1/0002" in complaint(tmp_path)


@pytest.mark.parametrize("start", ["images/train/seq1", "train/seq1", "seq1"])
def test_paths_of_a_list_may_start_above_or_below_the_folder(start: str, tmp_path: Path) -> None:
    for number in range(2):
        add(tmp_path, f"images/train/seq1/{number}.png", f"masks/train/seq1/{number}.png")
    (tmp_path / "own.txt").write_text(f"{start}/0.png\n{start}/1\n")
    found = match(tmp_path, Source("images", "masks", list="own.txt")).checked()
    assert [image.name for image, _ in found] == ["0.png", "1.png"]


def test_lists_may_be_written_on_windows_and_hold_names_that_look_like_headings(
    tmp_path: Path,
) -> None:
    for name in ("a", "image"):
        add(tmp_path, f"images/seq/{name}.png", f"masks/seq/{name}.png")
    (tmp_path / "train.txt").write_text("images\\seq\\a.png\nimage\n")
    assert names(tmp_path, "trainval") == [
        "images/seq/a.png",
        "images/seq/image.png",
    ]


def test_a_name_in_a_list_may_hold_blanks(tmp_path: Path) -> None:
    stems = ("b", "on a bridge", "2026.01.05 dusk")
    for stem in stems:
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
    (tmp_path / "train.txt").write_text("".join(f" {stem}.png\n" for stem in stems))
    assert names(tmp_path, "trainval") == [f"images/{stem}.png" for stem in stems]


@pytest.mark.parametrize(("name", "split"), [("valid.txt", "val"), ("test.txt", "test")])
def test_where_one_split_is_listed_the_rest_is_to_train_on(
    name: str, split: str, tmp_path: Path
) -> None:
    for stem in "abc":
        add(tmp_path, f"images/{stem}.png", f"labels/{stem}_P.png")
    write_image(tmp_path / "images/d.png", np.zeros((6, 6, 3), np.uint8))
    (tmp_path / name).write_text("b.png\n")
    for _ in ("inferred", "read from dataset.yaml"):
        assert names(tmp_path, split) == ["images/b.png"]
        assert "d.png: this image has no mask" in complaint(tmp_path, "trainval")
    (tmp_path / "images/d.png").unlink()
    rest = "trainval" if split == "test" else "train"
    assert names(tmp_path, rest) == ["images/a.png", "images/c.png"]


@pytest.mark.parametrize("spelling", ["images/b.png", "../in/images/b.png", "{root}/images/b.png"])
def test_what_is_left_out_may_be_spelled_in_another_way(
    spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "in"
    for stem in "abc":
        add(root, f"images/{stem}.png", f"masks/{stem}.png")
    listed = spelling.format(root=root)
    (root / "out.csv").write_text(f"{listed},masks/b.png\n")
    source = Source("images", "masks", without="out.csv")
    monkeypatch.chdir(tmp_path)
    pairs = match(Path("in"), source).checked()
    assert [image.name for image, _ in pairs] == ["a.png", "c.png"]


def test_lists_in_several_places_are_one_set_of_splits(tmp_path: Path) -> None:
    for stem in "abcdef":
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
    (tmp_path / "splits").mkdir()
    (tmp_path / "test.txt").write_text("a\n")
    (tmp_path / "splits" / "train.txt").write_text("b\nc\n")
    (tmp_path / "splits" / "val.txt").write_text("d\n")
    found = {split: names(tmp_path, split) for split in ("train", "val", "test")}
    assert found == {
        "train": ["images/b.png", "images/c.png"],
        "val": ["images/d.png"],
        "test": ["images/a.png"],
    }


@pytest.mark.parametrize("others", [("test",), ("val",), ("val", "test")])
def test_a_list_of_train_and_val_together_is_what_there_is_to_train_on(
    others: tuple[str, ...], tmp_path: Path
) -> None:
    for stem in "abcdef":
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
    (tmp_path / "trainval.txt").write_text("b\nc\nd\n")
    for split in others:
        (tmp_path / f"{split}.txt").write_text({"val": "d\n", "test": "a\n"}[split])
    assert names(tmp_path, "trainval") == [f"images/{stem}.png" for stem in "bcd"]
    if "val" in others:
        assert names(tmp_path, "train") == ["images/b.png", "images/c.png"]


def test_a_list_of_pairs_goes_before_what_one_listed_split_leaves(tmp_path: Path) -> None:
    for stem in "abc":
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
    (tmp_path / "test.txt").write_text("a\n")
    (tmp_path / "pairs.csv").write_text("images/b.png,masks/b.png\n")
    assert names(tmp_path, "trainval") == ["images/b.png"]
    assert names(tmp_path, "test") == ["images/a.png"]


@pytest.mark.parametrize("line", ["images/0001 masks/0001.png", "a.tga a_mask.png"])
def test_two_names_that_blanks_part_are_two(line: str, tmp_path: Path) -> None:
    add(tmp_path, "images/b.png", "masks/b.png")
    (tmp_path / "train.txt").write_text(f"{line}\n")
    assert f"line 1: no file {line.split()[0]} beside the list" in complaint(tmp_path)


def test_a_split_that_is_listed_and_leaves_nothing_is_the_only_one(tmp_path: Path) -> None:
    for stem in "ab":
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
    (tmp_path / "val.txt").write_text("a\nb\n")
    assert names(tmp_path, "val") == ["images/a.png", "images/b.png"]
    assert "unknown split 'train'" in complaint(tmp_path)


def test_a_folder_of_polygons_beside_one_of_masks_is_passed_over(tmp_path: Path) -> None:
    for number in range(2):
        add(tmp_path, f"JPEGImages/{number}.png", f"SegmentationClass/{number}.png")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "0.xml").write_text("<annotation/>")
    assert names(tmp_path, "trainval") == ["JPEGImages/0.png", "JPEGImages/1.png"]


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    assert "a.csv: cannot be read as text" in complaint(tmp_path / "a.csv")
    (tmp_path / "a.onnx").write_bytes(b"")
    assert "a.onnx: no data set; give a folder, a list of pairs" in complaint(tmp_path / "a.onnx")


def test_names_with_blanks_are_parted_by_commas(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("my image.png, my mask.png\n")
    assert read_rows(tmp_path / "l.txt") == [("my image.png", "my mask.png", "", 1)]


# What is wrong with a folder


def test_a_folder_of_something_else_says_what_it_holds_and_what_to_do(tmp_path: Path) -> None:
    assert "no images with masks in it (it holds nothing)" in complaint(tmp_path)
    (tmp_path / "notes").mkdir()
    text = complaint(tmp_path)
    assert text.startswith(f"{tmp_path}: ")
    assert "it holds notes" in text and "images/train" in text and "pairs.csv" in text


def test_folders_without_files_or_with_polygons_are_named(tmp_path: Path) -> None:
    add(tmp_path, "images/a.png", "labels/a.png")
    (tmp_path / "labels/a.png").rename(tmp_path / "labels/a.txt")
    text = complaint(tmp_path)
    assert text.startswith(f"{tmp_path / 'labels'}: holds no mask")
    assert "convert-labels" in text
    (tmp_path / "images/a.png").unlink()
    assert complaint(tmp_path).startswith(f"{tmp_path / 'images'}: holds no image")


def test_a_missing_folder_of_masks_is_named(tmp_path: Path) -> None:
    add(tmp_path, "images/train/a.png", "masks/val/b.png")
    assert f"{tmp_path / 'masks/train'}: no such folder" in complaint(tmp_path)


def test_polygons_alone_are_told_how_to_become_masks(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
    assert "convert-labels" not in complaint(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    assert "draw masks by `bisenetv2 convert-labels` first" in complaint(tmp_path)


def test_names_that_do_not_pair_are_shown(tmp_path: Path) -> None:
    add(tmp_path, "images/street.png", "masks/house.png")
    assert "no mask is named like an image (house for street?)" in complaint(tmp_path)


def test_lonely_files_are_named_once_with_their_number(tmp_path: Path) -> None:
    for stem in ("a", "b", "c", "d"):
        add(tmp_path, f"images/{stem}.png", f"masks/{stem}.png")
    (tmp_path / "masks/c.png").unlink()
    (tmp_path / "masks/d.png").unlink()
    text = complaint(tmp_path)
    assert text.startswith(f"{tmp_path / 'images/c.png'}: this image has no mask (and 1 more")
    (tmp_path / "images/c.png").unlink()
    (tmp_path / "images/d.png").unlink()
    (tmp_path / "images/b.png").unlink()
    text = complaint(tmp_path)
    assert text.startswith(f"{tmp_path / 'masks/b.png'}: this mask has no image;")


def test_one_pair_is_too_few_to_split(tmp_path: Path) -> None:
    add(tmp_path, "images/a.png", "masks/a.png")
    assert "1 pair; a split into train and val needs 2" in complaint(tmp_path)
    assert len(open_dataset(tmp_path, "trainval")) == 1


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    add(tmp_path, "images/a.png", "masks/a.png")
    write_image(tmp_path / "images/a.jpg", np.zeros((6, 6, 3), np.uint8))
    assert "a.png: same name as a.jpg; keep one of them" in complaint(tmp_path)


def test_sizes_and_ids_are_checked_when_a_pair_is_read(tmp_path: Path) -> None:
    for split in ("train", "val"):
        add(tmp_path, f"images/{split}/a.png", f"masks/{split}/a.png")
    open_dataset(tmp_path, "train")
    write_mask(tmp_path / "masks/train/a.png", MASK[:, :3])
    assert "mask of 3×6 for an image of 6×6" in complaint(tmp_path)
    write_mask(tmp_path / "masks/train/a.png", np.full((6, 6), 3, np.uint8))
    text = complaint(tmp_path)
    assert text.startswith(f"{tmp_path / 'masks/train/a.png'}: label 3 is out of range")


# dataset.yaml


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    root = tmp_path / "own"
    for stem in "abcde":
        add(root, f"images/{stem}.png", f"masks/{stem}.png")
    return root


def test_what_was_inferred_is_told_once_and_written_to_be_edited(
    flat: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = open_dataset(flat, "train")
    told = capsys.readouterr()
    assert told.out == ""
    assert "no val: 1 of train are held out as val, 4 stay" in told.err
    assert "masks of ids: 0-2 as 3 classes" in told.err
    assert "ids ignored: 255 (25 % of the pixels)" in told.err
    assert f"written to {flat / 'dataset.yaml'}" in told.err
    assert dataset.name == "own train" and dataset.licence == "unknown"
    path = flat / "dataset.yaml"
    text = path.read_text()
    text = text.replace('"class_1"', '"road"').replace('"unknown"', '"CC0"')
    text = text.replace('name: "own"', "name: Mine").replace("val_share: 0.2", "val_share: 0.4")
    path.write_text(text)
    again = open_dataset(flat, "val")
    assert capsys.readouterr().err == ""
    assert path.read_text() == text
    assert again.labels.names == ("class_0", "road", "class_2")
    assert (again.name, again.licence, len(again)) == ("Mine val", "CC0", 2)


def test_classes_may_be_merged_and_ids_ignored_by_hand(flat: Path) -> None:
    (flat / "dataset.yaml").write_text(
        "classes:\n- {name: low, ids: [0, 1], color: [1, 2, 3]}\n- {name: other, id: 9}\n"
        "ignore: [2]\nsplits:\n  train: {images: images, masks: masks}\n"
    )
    dataset = open_dataset(flat, "train")
    assert dataset.labels.names == ("low", "other")
    assert dataset.labels.palette[0] == (1, 2, 3)
    assert np.unique(dataset[0].mask).tolist() == [0, IGNORE_INDEX]


def test_built_in_classes_may_be_named(flat: Path) -> None:
    (flat / "dataset.yaml").write_text(
        "classes: camvid\nsplits:\n  test: {images: images, masks: masks}\n"
    )
    dataset = open_dataset(flat, "test")
    assert dataset.labels.names[0] == "Sky"
    np.testing.assert_array_equal(dataset[0].mask, MASK)


def test_a_description_may_lie_elsewhere_and_be_given_by_its_path(
    flat: Path, tmp_path: Path
) -> None:
    path = tmp_path / "elsewhere.yaml"
    path.write_text(
        f"root: {flat}\nclasses: [sky, road, car]\n"
        "splits:\n  train: {images: images, masks: masks}\n"
    )
    assert len(open_dataset(path, "trainval")) == 5
    assert not (flat / "dataset.yaml").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_a_read_only_folder_works_and_keeps_its_description_with_the_user(
    flat: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, m: Path(p) != flat and access(p, m))
    assert len(open_dataset(flat, "train")) == 4
    assert not (flat / "dataset.yaml").exists()
    line = next(x for x in capsys.readouterr().err.splitlines() if "written to" in x)
    place = Path(line.partition("written to ")[2].partition(";")[0])
    assert os.environ["XDG_CONFIG_HOME"] in str(place)
    place.write_text(place.read_text().replace("class_2", "car"))
    assert open_dataset(flat, "val").labels.names[2] == "car"
    assert capsys.readouterr().err == ""


def test_where_nothing_can_be_written_it_works_all_the_same(
    flat: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda p, m: False)
    blocked = flat.parent / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(blocked))
    assert len(open_dataset(flat, "train")) == 4
    assert "kept nowhere, and looked at anew each time" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_of_an_old_encoding_work_and_keep_no_description(flat: Path) -> None:
    old = flat.with_name(os.fsdecode(b"caf\xe9"))
    flat.rename(old)
    lines = "import sys; from bisenetv2.data.catalogue import open_dataset; "
    lines += "print(len(open_dataset(sys.argv[1], 'train')))"
    done = subprocess.run([sys.executable, "-c", lines, old], capture_output=True, check=True)
    assert done.stdout == b"4\n"
    assert b"dataset.yaml: a name is not UTF-8; rename it" in done.stderr
    assert not (old / "dataset.yaml").exists()


def test_a_description_reads_back_as_it_was_written(flat: Path) -> None:
    described = infer_description(flat)
    open_folder(flat, "train")
    assert dataset_yaml.read(flat / "dataset.yaml") == described


GOOD = "classes: [a, b]\nsplits: {train: {images: images, masks: masks}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [", "not YAML: "),
        ("- 1\n", "the file holds no `key: value` pairs"),
        ("splits: {train: {images: i, masks: m}}", "`classes` is missing or empty"),
        ("classes: [a, b]", "`splits` is missing or empty"),
        ("train: images/train\nnames: [a, b]", "another tool's: it has `names`, not `classes`"),
        (GOOD + "tolerence: 3", "unknown key 'tolerence' in the file: take classes, encoding"),
        (GOOD + "encoding: rgb", "encoding 'rgb': take one of ids, instances, colors"),
        (GOOD + "tolerance: -1", "tolerance -1: write a whole number of 0 or more"),
        (GOOD + "encoding: colors\ntolerance: 300", "tolerance 300: channels differ by 0 to 255"),
        (GOOD + "val_share: 1.5", "val_share 1.5: a share is above 0 and below 1"),
        (GOOD + "val_seed: -1", "val_seed -1: write a whole number of 0 or more"),
        (GOOD + "val_share: some", "val_share 'some': write a share"),
        (GOOD + "ignore: 255", "255: write a list, [a, b]"),
        (GOOD + "ignore: [[0, 0]]", "colour [0, 0]: write [red, green, blue]"),
        (GOOD + "ignore: [[0, 0, 256]]", "colour [0, 0, 256]: write [red, green, blue]"),
        (GOOD + "ignore: [one]", "ignore 'one': write a whole number"),
        (GOOD + "ignore: [1]", "raw id 1 is listed twice"),
        (GOOD.replace("a, b", "a, a"), "class names used twice: a"),
        (GOOD.replace("[a, b]", "camvit"), "classes 'camvit': list them, or name one of camvid"),
        (GOOD.replace("a, b", "{id: 3}, b"), "class {'id': 3} has no `name`"),
        (GOOD.replace("a, b", "{name: a, id: 70000}, b"), "raw id 70000: ids of masks are 0-65535"),
        (GOOD.replace("a, b", "{name: a, hue: 3}, b"), "unknown key 'hue' in a class"),
        (GOOD.replace("a, b", "no, yes"), "class False: put the text in quotes"),
        (GOOD.replace("a, b", "a, {name: on}"), "class True: put the text in quotes"),
        (GOOD.replace("masks: masks", "masks: "), "masks None: put the text in quotes"),
        (GOOD.replace(", masks: masks", ""), "split train: give `images` and `masks`"),
        (GOOD.replace("images: i", "folder: i"), "unknown key 'folder' in split train"),
        (
            GOOD.replace("[a, b]", "[a]") + "encoding: instances",
            "1 classes for instances: list two",
        ),
        (
            "encoding: colors\nclasses: [{name: a, color: [1, 1, 1]}, {name: b, color: [1, 1, 1]}]"
            "\nsplits: {train: {images: images, masks: masks}}",
            "colour [1, 1, 1] is listed for two classes",
        ),
    ],
)
def test_a_description_that_is_wrong_is_refused_in_one_line(
    text: str, message: str, flat: Path
) -> None:
    (flat / "dataset.yaml").write_text(text)
    found = complaint(flat)
    assert found.startswith(f"{flat / 'dataset.yaml'}: ")
    assert message in found


def test_a_good_description_is_good(flat: Path) -> None:
    (flat / "dataset.yaml").write_text(GOOD.replace("a, b", "a, b, c"))
    assert names(flat, "train")


def test_the_documented_description_reads(tmp_path: Path) -> None:
    page = Path(__file__).parents[1] / "docs" / "datasets.md"
    path = tmp_path / "dataset.yaml"
    path.write_text(page.read_text().partition("```yaml\n")[2].partition("```")[0])
    described = dataset_yaml.read(path)
    assert described.labels.names == ("road", "car")
    assert ((128, 0, 192), 0) in described.encoding.colors


def test_an_export_with_its_classes_below_train_is_understood(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        add(tmp_path, f"{split}/a.jpg", f"{split}/a_mask.png")
        (tmp_path / split / "_classes.csv").write_text(
            "Pixel Value, Class\n0, ground\n1, road\n2, car\n"
        )
    dataset = open_dataset(tmp_path, "val")
    assert dataset.labels.names == ("ground", "road", "car")
    np.testing.assert_array_equal(dataset[0].mask, MASK)
