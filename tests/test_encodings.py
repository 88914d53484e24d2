"""One mask, written in every encoding a labelling tool may choose, reads back the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as PillowImage

from bisenetv2.data.encodings import Encoding, read_classes
from bisenetv2.errors import UserError
from bisenetv2.labels import IGNORE_INDEX, Labels

COLORS = ((0, 0, 0), (128, 64, 128), (0, 0, 142), (220, 20, 60))
VOID = (255, 255, 255)
LABELS = Labels(("ground", "road", "car", "person"), COLORS)
SPARSE = Labels(LABELS.names, COLORS, raw_ids=((0, 0), (3, 1), (7, 2), (1000, 3)))
BINARY = Labels(("background", "foreground"), ((0, 0, 0), VOID))
RGB = Encoding("colors", (*((color, i) for i, color in enumerate(COLORS)), (VOID, 255)), 24)

masks = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.sampled_from([0, 1, 2, 3, IGNORE_INDEX]),
)


def painted(mask: np.ndarray) -> np.ndarray:
    table = np.zeros((256, 3), np.uint8)
    table[:4], table[IGNORE_INDEX] = COLORS, VOID
    return table[mask]


def write_all(mask: np.ndarray, folder: Path) -> list[tuple[str, Encoding, Labels]]:
    """Writes a mask in every encoding that can hold it; returns how each file is to be read."""
    ids, files = Encoding(), []
    raw = np.array([0, 3, 7, 1000, *[0] * 251, IGNORE_INDEX], np.uint16)[mask]
    rgb = painted(mask)

    def save(image: PillowImage.Image, name: str, encoding: Encoding, labels: Labels) -> None:
        image.save(folder / name)
        files.append((name, encoding, labels))

    def dump(array: np.ndarray, name: str, encoding: Encoding, labels: Labels) -> None:
        np.save(folder / name, array)
        files.append((name, encoding, labels))

    palette = PillowImage.fromarray(mask, "L").convert("P")
    palette.putdata(mask.ravel().tolist())
    palette.putpalette(painted(np.arange(256, dtype=np.uint8)).tobytes())
    for suffix in ("png", "tif", "bmp"):
        save(PillowImage.fromarray(mask), f"grey.{suffix}", ids, LABELS)
        save(palette, f"palette.{suffix}", ids, LABELS)
        save(palette, f"palette_by_color.{suffix}", RGB, LABELS)
        save(PillowImage.fromarray(rgb), f"rgb.{suffix}", RGB, LABELS)
    for suffix in ("png", "tif"):
        alpha = np.full((*mask.shape, 1), 255, np.uint8)
        save(PillowImage.fromarray(np.dstack([rgb, alpha])), f"rgba.{suffix}", RGB, LABELS)
        save(PillowImage.fromarray(raw), f"16bit.{suffix}", ids, SPARSE)
    grey_alpha = np.dstack([mask, np.full_like(mask, 255)])
    save(PillowImage.fromarray(grey_alpha), "grey_alpha.png", ids, LABELS)
    save(PillowImage.fromarray(np.dstack([mask] * 3)), "grey_as_rgb.png", ids, LABELS)
    save(PillowImage.fromarray(raw.astype(np.int32)), "32bit.tif", ids, SPARSE)
    save(PillowImage.fromarray(raw.astype(np.float32)), "float.tif", ids, SPARSE)
    for dtype in ("uint8", "int64", "float32"):
        dump(mask.astype(dtype), f"{dtype}.npy", ids, LABELS)
    dump(raw, "16bit.npy", ids, SPARSE)
    dump(mask[..., None], "channel.npy", ids, LABELS)
    dump(rgb, "rgb.npy", RGB, LABELS)
    large = PillowImage.fromarray(np.kron(rgb, np.ones((16, 16, 1), np.uint8)))
    large.save(folder / "near.jpg", quality=95, subsampling=0)
    files.append(("near.jpg", RGB, LABELS))
    return files


@settings(max_examples=25)
@given(masks)
def test_a_mask_reads_back_the_same_from_every_encoding(mask: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, encoding, labels in write_all(mask, Path(folder)):
            found = read_classes(Path(folder, name), encoding, labels).mask
            if name.endswith(".jpg"):  # 16×16 pixels stand for one; edges may be lost, never wrong
                truth = np.kron(mask, np.ones((16, 16), np.uint8))
                assert ((found == truth) | (found == IGNORE_INDEX)).all()
                found = found[8::16, 8::16]
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, mask, err_msg=name)


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_two_valued_masks_are_background_and_foreground(truth: np.ndarray) -> None:
    high = Labels(BINARY.names, BINARY.palette, raw_ids=((0, 0), (255, 1)))
    colors = Encoding("colors", (((0, 0, 0), 0), (VOID, 1)))
    instances = Encoding("instances")
    count = np.cumsum(truth, dtype=np.uint16).reshape(truth.shape) * truth
    with tempfile.TemporaryDirectory() as folder:
        for image, encoding, labels in (
            (truth, Encoding(), BINARY),
            (truth, colors, BINARY),
            (truth.astype(np.uint8) * 255, Encoding(), high),
            (truth.astype(np.uint8) * 255, colors, BINARY),
            (count, instances, BINARY),
        ):
            for suffix in ("png", "tif", "npy"):
                path = Path(folder, f"mask.{suffix}")
                if suffix == "npy":
                    # An array of booleans in colour would be 0 and 1: nobody means that.
                    if image.dtype == np.bool_ and encoding is colors:
                        continue
                    np.save(path, image)
                else:
                    PillowImage.fromarray(image).save(path)
                np.testing.assert_array_equal(read_classes(path, encoding, labels).mask, truth)


def test_ignored_instances_stay_ignored(tmp_path: Path) -> None:
    labels = Labels(BINARY.names, BINARY.palette, raw_ids=((0, 0), (255, 255)))
    PillowImage.fromarray(np.array([[0, 5, 255]], np.uint8)).save(tmp_path / "m.png")
    found = read_classes(tmp_path / "m.png", Encoding("instances"), labels)
    assert found.mask.tolist() == [[0, 1, 255]]


def test_near_misses_snap_to_the_nearest_color_and_the_rest_is_ignored_and_counted(
    tmp_path: Path,
) -> None:
    encoding = Encoding("colors", (((0, 0, 0), 0), ((10, 0, 0), 1), (VOID, 2)), 8)
    row = [(0, 8, 0), (6, 0, 0), (18, 8, 8), (19, 0, 0), (247, 255, 250), (0, 9, 0)]
    PillowImage.fromarray(np.array([row], np.uint8)).save(tmp_path / "m.png")
    found = read_classes(tmp_path / "m.png", encoding, LABELS)
    assert found.mask.tolist() == [[0, 1, 1, IGNORE_INDEX, 2, IGNORE_INDEX]]
    assert found.strays == 2


def test_what_is_wholly_transparent_counts_as_black(tmp_path: Path) -> None:
    pixels = np.array([[(9, 9, 9, 0), (220, 20, 60, 255)]], np.uint8)
    PillowImage.fromarray(pixels).save(tmp_path / "m.png")
    assert read_classes(tmp_path / "m.png", RGB, LABELS).mask.tolist() == [[0, 3]]


def complaint(path: Path, encoding: Encoding) -> str:
    with pytest.raises(UserError) as caught:
        read_classes(path, encoding, LABELS)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("array", "encoding", "text"),
    [
        ([[4]], Encoding(), "label 4 is out of range: 4 classes"),
        ([[300]], Encoding(), "label 300 is not in 0-255"),
        ([[-1]], Encoding(), "label -1 is not in 0-255"),
        ([[0.5]], Encoding(), "holds fractions, not class ids"),
        ([[float("nan")]], Encoding(), "holds fractions, not class ids"),
        ([[300]], RGB, "holds ids up to 300 where colours are expected"),
        ([0, 1], Encoding(), "an array of int64 2; a mask is height × width"),
        ([[]], Encoding(), "holds no pixel; export it anew, or remove it with its image"),
        ([["a"]], Encoding(), "an array of <U1 1 × 1; a mask is height × width"),
        ([[None]], Encoding(), "not a NumPy array of numbers"),
    ],
)
def test_an_array_that_is_no_mask_is_refused(
    array: list[object], encoding: Encoding, text: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "m.npy", np.array(array), allow_pickle=True)
    assert complaint(tmp_path / "m.npy", encoding).startswith(text)


def test_arrays_of_impossible_sizes_or_several_to_a_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npy"
    np.savez(tmp_path / "m.npz", np.zeros((2, 2)))
    (tmp_path / "m.npz").rename(path)
    assert "several arrays" in complaint(path, Encoding())
    with path.open("wb") as file:
        sizes = {"descr": "|u1", "fortran_order": False, "shape": (10**7, 10**7)}
        np.lib.format.write_array_header_1_0(file, sizes)
    assert "not a NumPy array of numbers" in complaint(path, Encoding())


def test_files_of_another_encoding_are_refused(tmp_path: Path) -> None:
    color, cmyk, npy = tmp_path / "c.png", tmp_path / "c.tif", tmp_path / "m.npy"
    PillowImage.fromarray(painted(np.array([[1, 2]], np.uint8))).save(color)
    assert "holds RGB colours, not class ids" in complaint(color, Encoding())
    PillowImage.new("CMYK", (2, 2)).save(cmyk)
    assert "CMYK pixels are no mask" in complaint(cmyk, RGB)
    npy.write_bytes(b"no array")
    assert "not a NumPy array" in complaint(npy, Encoding())


def test_a_mask_in_other_colors_is_refused_with_the_most_frequent_one(tmp_path: Path) -> None:
    pixels = np.array([[(80, 90, 100), (80, 90, 100), (0, 0, 0)]], np.uint8)
    PillowImage.fromarray(pixels).save(tmp_path / "m.png")
    text = complaint(tmp_path / "m.png", RGB)
    assert text.startswith("67 % of its pixels are within 24 of no known colour")
    assert "[80, 90, 100]" in text and "dataset.yaml" in text


def test_an_encoding_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(UserError, match=r"colour \[0, 0, 0\] is listed for two classes"):
        Encoding("colors", (((0, 0, 0), 0), ((0, 0, 0), 1)))
    with pytest.raises(UserError, match="tolerance 256"):
        Encoding("colors", tolerance=256)
