from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image as PillowImage

from bisenetv2.errors import UserError
from bisenetv2.files import atomic_path, check_writable
from bisenetv2.images import (
    IMAGE_SUFFIXES,
    Header,
    is_lossy,
    read_header,
    read_image,
    read_mask,
    write_image,
    write_mask,
)

READERS: tuple[Callable[[Path], np.ndarray[Any, Any]], ...] = (read_image, read_mask)
LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".ppm")
EXIF_ORIENTATION = 0x0112

sides = st.integers(1, 40)


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> Callable[[Path], np.ndarray[Any, Any]]:
    """Reads an image or a mask: both treat a bad file alike."""
    reader: Callable[[Path], np.ndarray[Any, Any]] = request.param
    return reader


def scene(height: int = 48, width: int = 64) -> np.ndarray[Any, Any]:
    """A smooth image whose channels differ: red grows to the right, green downwards."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * columns // width, 255 * rows // height
    return np.stack([red, green, np.full_like(red, 30)], axis=-1).astype(np.uint8)


def encoded(image: np.ndarray[Any, Any], suffix: str, **options: Any) -> bytes:
    buffer = BytesIO()
    PillowImage.fromarray(image).save(
        buffer, PillowImage.registered_extensions()[suffix], **options
    )
    return buffer.getvalue()


def png(
    width: int, height: int, bits: int, color_type: int, rows: bytes, palette: bytes = b""
) -> bytes:
    """A PNG built by hand, for what no library writes: false sizes and packed samples."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    colors = chunk(b"PLTE", palette) if palette else b""
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colors + body


def refusal(reader: Callable[[Path], object], path: Path) -> str:
    """The message with which a reader refuses a file: one line that names the path."""
    with pytest.raises(UserError) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


# Round trips


@given(arrays.arrays(np.uint8, st.tuples(sides, sides, st.just(3))))
def test_png_images_come_back_exactly(image: np.ndarray[Any, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.png")
        write_image(path, image)
        found = read_image(path)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, image)


@given(arrays.arrays(np.uint8, st.tuples(sides, sides)))
def test_masks_come_back_exactly(mask: np.ndarray[Any, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mask.png")
        write_mask(path, mask)
        found = read_mask(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (300, 1, 3)])
@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_format_holds_images_one_pixel_thin(
    tmp_path: Path, suffix: str, shape: tuple[int, ...]
) -> None:
    path = tmp_path / f"thin{suffix}"
    write_image(path, np.full(shape, (200, 100, 50), np.uint8))
    np.testing.assert_allclose(read_image(path), np.full(shape, (200, 100, 50)), atol=6)


@pytest.mark.parametrize("suffix", [*IMAGE_SUFFIXES, ".PNG", ".JPG"])
def test_every_format_is_written_and_read_as_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scene{suffix}"
    write_image(path, scene())
    with PillowImage.open(path) as file:
        np.testing.assert_allclose(np.asarray(file.convert("RGB")), scene(), atol=12)
    tolerance = 0 if suffix in LOSSLESS else 12
    np.testing.assert_allclose(read_image(path), scene(), atol=tolerance)


@pytest.mark.parametrize("name", ["straße in münchen.png", "道路 1.png", "a'b #1%.png"])
def test_file_names_may_hold_any_script_and_spaces(tmp_path: Path, name: str) -> None:
    image = tmp_path / "new folder é" / name
    mask = tmp_path / "masken ü" / name
    write_image(image, scene())
    write_mask(mask, scene()[..., 0])
    np.testing.assert_array_equal(read_image(image), scene())
    np.testing.assert_array_equal(read_mask(mask), scene()[..., 0])


def test_paths_may_be_strings(tmp_path: Path) -> None:
    path = str(tmp_path / "scene.png")
    write_image(path, scene())
    np.testing.assert_array_equal(read_image(path), scene())


# Images as they are found


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda stored: stored),
        (2, lambda stored: stored[:, ::-1]),
        (3, lambda stored: stored[::-1, ::-1]),
        (4, lambda stored: stored[::-1]),
        (5, lambda stored: stored.transpose(1, 0, 2)),
        (6, lambda stored: np.rot90(stored, -1)),
        (7, lambda stored: stored[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda stored: np.rot90(stored)),
    ],
)
def test_images_are_turned_upright_by_exif(
    tmp_path: Path, suffix: str, orientation: int, upright: Callable[[Any], Any]
) -> None:
    exif = PillowImage.Exif()
    exif[EXIF_ORIENTATION] = orientation
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(encoded(scene(), suffix, exif=exif))
    found = read_image(path)
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, upright(scene()), atol=12)
    assert read_header(path) == Header(scene().shape[:2], orientation)
    assert read_header(path).upright == found.shape[:2]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's own words
@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
@pytest.mark.parametrize("block", [b"MM\0*", b"no exif at all", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_a_damaged_exif_block_leaves_the_image_as_it_lies(
    tmp_path: Path, suffix: str, block: bytes
) -> None:
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(encoded(scene(), suffix, exif=block))
    assert read_header(path) == Header(scene().shape[:2], 1)
    np.testing.assert_allclose(read_image(path), scene(), atol=12)


def test_grey_palette_alpha_and_16_bit_images_become_rgb(tmp_path: Path) -> None:
    grey = scene()[..., 0]
    as_rgb = np.stack([grey] * 3, axis=-1)
    opaque = np.dstack([scene(), np.full(grey.shape, 255, np.uint8)])
    palette = PillowImage.fromarray(grey)
    palette.putpalette([value for i in range(256) for value in (i, 255 - i, 7)])
    files: dict[str, tuple[PillowImage.Image, np.ndarray[Any, Any]]] = {
        "grey": (PillowImage.fromarray(grey), as_rgb),
        "alpha": (PillowImage.fromarray(opaque), scene()),
        "deep": (PillowImage.fromarray(grey.astype(np.uint16) * 257), as_rgb),
        "palette": (palette, np.stack([grey, 255 - grey, np.full_like(grey, 7)], axis=-1)),
    }
    for name, (file, expected) in files.items():
        path = tmp_path / f"{name}.png"
        file.save(path)
        np.testing.assert_array_equal(read_image(path), expected, err_msg=name)


def test_bytes_after_the_end_of_a_whole_image_do_no_harm(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"padded{suffix}"
        path.write_bytes(encoded(scene(), suffix) + b"appended by a camera")
        np.testing.assert_allclose(read_image(path), scene(), atol=12)


# Masks as they are found


def test_a_palette_png_is_read_by_its_indices_not_its_colours(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2], [10, 200, 255]], np.uint8)
    file = PillowImage.fromarray(ids)
    file.putpalette([value for i in range(256) for value in (255 - i, i // 2, 7)])
    file.save(tmp_path / "mask.png")
    with PillowImage.open(tmp_path / "mask.png") as saved:
        assert saved.mode == "P"
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), ids)


@pytest.mark.parametrize(
    ("bits", "row", "ids"),
    [(1, 0b0101_0000, [0, 1, 0, 1]), (2, 0b00_01_10_11, [0, 1, 2, 3])],
)
def test_packed_palette_indices_are_unpacked(
    tmp_path: Path, bits: int, row: int, ids: list[int]
) -> None:
    path = tmp_path / "packed.png"
    path.write_bytes(png(4, 1, bits, 3, bytes([0, row]), palette=bytes(range(12))))
    np.testing.assert_array_equal(read_mask(path), [ids])


def test_a_1_bit_mask_holds_the_ids_0_and_1(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    PillowImage.fromarray(ids.astype(bool)).save(tmp_path / "mask.png")
    found = read_mask(tmp_path / "mask.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ids)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_ids_keep_their_values(tmp_path: Path, suffix: str) -> None:
    ids = np.array([[0, 1, 255], [256, 1000, 65535]], np.uint16)
    PillowImage.fromarray(ids).save(tmp_path / f"mask{suffix}")
    found = read_mask(tmp_path / f"mask{suffix}")
    assert np.issubdtype(found.dtype, np.integer)
    np.testing.assert_array_equal(found, ids)


def test_32_bit_ids_keep_their_values(tmp_path: Path) -> None:
    ids = np.array([[0, 70_000]], np.int32)
    PillowImage.fromarray(ids).save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), ids)


# Files that are no whole images


def test_a_missing_file_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    assert "No such file" in refusal(read, tmp_path / "none.png")


def test_a_folder_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    folder = tmp_path / "folder.png"
    folder.mkdir()
    refusal(read, folder)


def test_an_empty_file_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    assert "empty file" in refusal(read, path)


@pytest.mark.parametrize("content", [b"\0", b"hello\n" * 99, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_a_file_that_is_no_image_is_refused(
    read: Callable[[Path], object], tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(content)
    assert "not an image" in refusal(read, path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.97])
@pytest.mark.parametrize(
    ("read", "suffix"),
    [
        *((read_image, suffix) for suffix in IMAGE_SUFFIXES),
        *((read_mask, suffix) for suffix in IMAGE_SUFFIXES if suffix != ".webp"),
    ],
)
def test_a_truncated_file_is_refused(
    read: Callable[[Path], object], tmp_path: Path, suffix: str, share: float
) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (64, 96), np.uint8)
    whole = encoded(noisy if read is read_mask else np.dstack([noisy] * 3), suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole)
    read(path)
    path.write_bytes(whole[: int(share * len(whole))])
    refusal(read, path)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_cut_anywhere_in_its_pixels_is_refused(
    tmp_path: Path, options: dict[str, bool]
) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    whole = encoded(noisy, ".jpg", **options)
    path = tmp_path / "cut.jpg"
    for length in range(len(whole) - 2, 700, -97):
        path.write_bytes(whole[:length])
        refusal(read_image, path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncation_is_seen_even_where_opencv_would_paint_the_rest_grey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: np.full_like(scene(), 128))
    path = tmp_path / f"cut{suffix}"
    whole = encoded(scene(), suffix)
    path.write_bytes(whole)
    read_image(path)
    path.write_bytes(whole[: len(whole) * 4 // 5])
    assert "truncated" in refusal(read_image, path)


def test_a_jpeg_with_a_whole_thumbnail_but_half_its_pixels_is_refused(tmp_path: Path) -> None:
    thumbnail = encoded(scene(16, 16), ".jpg")
    exif_block = b"Exif\0\0" + thumbnail
    whole = encoded(scene(), ".jpg", exif=exif_block)
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[: len(exif_block) + (len(whole) - len(exif_block)) // 2])
    refusal(read_image, path)


def test_a_png_with_a_flipped_byte_is_refused(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (64, 96), np.uint8)
    damaged = bytearray(encoded(noisy, ".png"))
    damaged[len(damaged) // 2] ^= 0x55
    path = tmp_path / "damaged.png"
    path.write_bytes(damaged)
    refusal(read, path)


@pytest.mark.parametrize("side", [14_000, 100_000, 2**31 - 1])
def test_a_file_that_declares_a_monstrous_size_is_refused_unread(
    read: Callable[[Path], object], tmp_path: Path, side: int
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, 8, 0, bytes(1000)))
    assert "too large" in refusal(read, path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(st.binary(max_size=200), st.sampled_from(IMAGE_SUFFIXES), st.data())
def test_damage_of_any_kind_ends_in_an_array_or_in_one_line(
    junk: bytes, suffix: str, data: st.DataObject
) -> None:
    whole = encoded(scene(8, 8)[..., 0], suffix)
    at = data.draw(st.integers(0, len(whole)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"damaged{suffix}")
        path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
        for reader in READERS:
            try:
                assert reader(path).size > 0
            except UserError as error:
                assert str(error).startswith(f"{path}: ")
                assert "\n" not in str(error)


# Writing


def test_a_block_that_ends_well_puts_its_file_in_place(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "file.txt"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == target.suffix
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_block_that_fails_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(failure), atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise failure
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_written_files_are_readable_by_others(tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.png", np.zeros((2, 2), np.uint8))
    assert (tmp_path / "mask.png").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("write", [write_image, write_mask])
@pytest.mark.parametrize("obstacle", ["parent is a file", "target is a folder"])
def test_an_unwritable_target_is_refused_and_nothing_is_left(
    tmp_path: Path, write: Callable[[Path, Any], None], obstacle: str
) -> None:
    if obstacle == "parent is a file":
        (tmp_path / "file").touch()
        target = tmp_path / "file" / "out.png"
    else:
        target = tmp_path / "out.png"
        target.mkdir()
    before = sorted(tmp_path.rglob("*"))
    pixels = scene() if write is write_image else scene()[..., 0]
    assert "cannot be written" in refusal(lambda path: write(path, pixels), target)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "far" / "image")  # without the ending, by which formats go
    write_mask(link, np.ones((2, 3), np.uint8))
    assert link.is_symlink()
    assert read_mask(tmp_path / "far" / "image").shape == (2, 3)
    with atomic_path(link) as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path / "far"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_regular_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match=r"pipe\.png: is a device or a pipe"):
        write_mask(pipe, np.ones((2, 3), np.uint8))
    with pytest.raises(UserError, match=r"pipe\.png: is a device or a pipe"):
        check_writable(pipe)
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["image.gif", "image", "image.txt"])
def test_an_unknown_image_format_is_answered_with_the_known_ones(tmp_path: Path, name: str) -> None:
    message = refusal(lambda path: write_image(path, scene()), tmp_path / name)
    assert all(suffix in message for suffix in IMAGE_SUFFIXES)
    assert not list(tmp_path.iterdir())


def test_a_mask_is_not_written_to_a_lossy_format(tmp_path: Path) -> None:
    message = refusal(lambda path: write_mask(path, scene()[..., 0]), tmp_path / "mask.jpg")
    assert ".png" in message
    assert not list(tmp_path.iterdir())


def test_an_image_too_wide_for_its_format_is_refused(tmp_path: Path) -> None:
    wide = np.zeros((1, 16_384, 3), np.uint8)
    message = refusal(lambda path: write_image(path, wide), tmp_path / "wide.webp")
    assert "1 × 16384" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("meaning", [0, 2], ids=["infrared", "alpha"])
@pytest.mark.parametrize("reduced", [False, True])
def test_a_fourth_band_of_a_tiff_leaves_the_colours_alone(
    tmp_path: Path, meaning: int, reduced: bool
) -> None:
    pixels = np.full((6, 8, 4), (200, 120, 40, 60), np.uint8)
    extra_samples = {338: meaning}
    PillowImage.fromarray(pixels).save(tmp_path / "four.tif", tiffinfo=extra_samples)
    found = read_image(tmp_path / "four.tif", reduced=reduced)
    assert found.shape == ((3, 4, 3) if reduced else (6, 8, 3))
    assert (found == (200, 120, 40)).all()


def test_fractions_are_named_as_such(tmp_path: Path) -> None:
    PillowImage.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    assert "fractions" in refusal(read_image, tmp_path / "f.tif")


def test_a_gif_is_a_mask_of_its_indices_but_no_image(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [1, 0]], np.uint8)
    PillowImage.fromarray(mask * 255).save(tmp_path / "m.gif")
    assert set(np.unique(read_mask(tmp_path / "m.gif", as_colors=True))) == {0, 255}
    assert "GIF" not in refusal(read_image, tmp_path / "m.gif")


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_lossy_webp_is_told_from_a_lossless_one(
    tmp_path: Path, alpha: bool, lossless: bool
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3 + alpha), np.uint8)
    PillowImage.fromarray(pixels).save(tmp_path / "m.webp", lossless=lossless)
    assert is_lossy(tmp_path / "m.webp") is not lossless
