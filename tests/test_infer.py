"""What all masks of a folder hold tells their encoding and classes, or one sentence why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from bisenetv2.builtin_labels import voc_color
from bisenetv2.data.encodings import read_classes
from bisenetv2.data.folder import dataset_yaml
from bisenetv2.data.folder.infer import TOLERANCE
from bisenetv2.data.folder.split import infer_description, open_folder
from bisenetv2.errors import UserError
from bisenetv2.images import read_mask, write_image
from bisenetv2.labels import CAMVID, IGNORE_INDEX

AREAS = np.kron(np.arange(4, dtype=np.uint8).reshape(2, 2), np.ones((8, 8), np.uint8))
COLORS = np.array([(0, 0, 0), (128, 64, 128), (0, 0, 142), (220, 20, 60)], np.uint8)


class Folder:
    """A data set in the making."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def add(
        self, pixels: np.ndarray | PillowImage.Image, suffix: str = ".png", **how: object
    ) -> None:
        stem = f"{self.count:03d}"
        self.count += 1
        if isinstance(pixels, np.ndarray) and suffix == ".npy":
            (self.root / "masks").mkdir(exist_ok=True)
            np.save(self.root / f"masks/{stem}.npy", pixels)
            height, width = pixels.shape[:2]
        else:
            image = (
                pixels if isinstance(pixels, PillowImage.Image) else PillowImage.fromarray(pixels)
            )
            (self.root / "masks").mkdir(exist_ok=True)
            image.save(self.root / f"masks/{stem}{suffix}", **how)
            width, height = image.size
        write_image(self.root / f"images/{stem}.png", np.zeros((height, width, 3), np.uint8))

    def classes(self, *lines: str, name: str = "classes.txt") -> None:
        (self.root / name).write_text("\n".join(lines) + "\n")

    def told(self) -> str:
        return "\n".join(infer_description(self.root).notes)

    def read(self, *, index: int = 0) -> np.ndarray:
        return open_folder(self.root, "trainval")[index].mask

    def complaint(self) -> str:
        with pytest.raises(UserError) as caught:
            infer_description(self.root)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def names(self) -> tuple[str, ...]:
        return infer_description(self.root).labels.names


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def palette_image(mask: np.ndarray, colors: Sequence[Sequence[int]]) -> PillowImage.Image:
    image = PillowImage.new("P", mask.shape[::-1])
    image.putdata(mask.ravel().tolist())
    image.putpalette(np.array(colors, np.uint8).tobytes())
    return image


# Ids


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_ids_with_gaps_become_contiguous_classes(folder: Folder, suffix: str) -> None:
    folder.add(np.array([0, 1, 7, 255], np.uint8)[AREAS], suffix)
    described = infer_description(folder.root)
    assert described.labels.names == ("class_0", "class_1", "class_2")
    assert described.labels.palette == tuple(map(voc_color, range(3)))
    assert "masks of ids: 0-1, 7 as 3 classes" in described.notes
    np.testing.assert_array_equal(folder.read(), np.array([0, 1, 2, IGNORE_INDEX])[AREAS])


def test_classes_of_any_mask_count_not_those_of_a_sample(folder: Folder) -> None:
    for label in range(30):
        folder.add(np.full((4, 4), label, np.uint8))
    assert len(folder.names()) == 30
    assert (folder.read(index=29) == 29).all()


def test_ids_in_16_bits_keep_65535_and_255_out_of_the_classes(folder: Folder) -> None:
    folder.add(np.array([0, 300, 255, 65535], np.uint16)[AREAS])
    assert folder.names() == ("class_0", "class_1")
    np.testing.assert_array_equal(folder.read(), np.array([0, 1, 255, 255])[AREAS])


def test_grey_rgb_holds_ids(folder: Folder) -> None:
    folder.add(np.dstack([AREAS] * 3))
    np.testing.assert_array_equal(folder.read(), AREAS)


def test_palette_images_lend_their_colours(folder: Folder) -> None:
    folder.add(palette_image(AREAS, COLORS))
    described = infer_description(folder.root)
    assert described.kind == "ids"
    assert described.labels.palette == tuple(map(tuple, COLORS.tolist()))
    np.testing.assert_array_equal(folder.read(), AREAS)


@pytest.mark.parametrize("mode", ["1-bit", "0/255", "0/1", "npy"])
def test_two_values_are_background_and_foreground(folder: Folder, mode: str) -> None:
    truth = AREAS > 1
    folder.add(
        {"0/255": truth.astype(np.uint8) * 255, "0/1": truth.astype(np.uint8)}.get(mode, truth),
        ".npy" if mode == "npy" else ".png",
    )
    assert folder.names() == ("background", "foreground")
    assert "0 is background" in folder.told()
    np.testing.assert_array_equal(folder.read(), truth)


@pytest.mark.parametrize("beside", ["grey", "RGB", "palette"])
def test_bits_and_bytes_are_the_same_two_classes(folder: Folder, beside: str) -> None:
    truth = AREAS > 1
    bytes_ = truth.astype(np.uint8) * 255
    greys = np.repeat(np.arange(256)[:, None], 3, axis=1)
    folder.add(truth)
    folder.add(
        {"grey": bytes_, "RGB": np.dstack([bytes_] * 3)}.get(beside, palette_image(bytes_, greys))
    )
    assert folder.names() == ("background", "foreground")
    for index in range(2):
        np.testing.assert_array_equal(folder.read(index=index), truth)


def test_masks_with_a_palette_each_are_read_by_colour(folder: Folder) -> None:
    files = [0, 1, 2, 3], [0, 2, 3], [3, 1], [2, 0]  # each numbers the classes it has
    for used in files:
        folder.add(palette_image(AREAS % len(used), COLORS[used]))
    assert "read by colour, not by id" in folder.told()
    order = sorted(map(tuple, COLORS.tolist()))
    for index, used in enumerate(files):
        classes = np.array([order.index(tuple(COLORS[place].tolist())) for place in used])
        np.testing.assert_array_equal(folder.read(index=index), classes[AREAS % len(used)])


def test_ids_under_several_palettes_are_ids(folder: Folder) -> None:
    rng = np.random.default_rng(0)
    for seed in range(2):
        colors = np.zeros((256, 3), np.uint8)
        colors[:4], colors[IGNORE_INDEX] = rng.integers(0, 256, (4, 3)), (seed, 9, 9)
        folder.add(palette_image(np.where(AREAS == 3, IGNORE_INDEX, AREAS), colors))
    folder.classes("a", "b", "c")
    assert folder.names() == ("a", "b", "c")
    expected = np.where(AREAS == 3, IGNORE_INDEX, AREAS)
    np.testing.assert_array_equal(folder.read(), expected)


def test_palettes_that_contradict_each_other_are_the_user_s_to_settle(folder: Folder) -> None:
    rng = np.random.default_rng(0)
    for place in range(8):  # one colour they share, under another id each time
        colors = rng.integers(0, 256, (4, 3))
        colors[place % 4] = (9, 9, 9)
        folder.add(palette_image(AREAS, colors))
    assert "say in a dataset.yaml whether `encoding` is ids or colors" in folder.complaint()


def test_colours_of_a_palette_stay_where_a_class_occurs_nowhere(folder: Folder) -> None:
    for _ in range(2):
        folder.add(palette_image(AREAS % 3, COLORS))
    folder.classes("a", "b", "c", "d")
    assert infer_description(folder.root).labels.palette == tuple(map(tuple, COLORS.tolist()))


@pytest.mark.parametrize(
    ("lines", "white", "classes"),
    [
        (["road", "free", "void"], 255, ("road", "free")),
        (["crack"], 255, ("background", "crack")),
        (["0 wall", "1 road"], 255, ("wall", "road")),
        (["255 road", "0 free", "128 void"], 255, ("free", "road")),
        (["crack"], 1, ("background", "crack")),
        (["1 road", "0 free", "2 void"], 1, ("free", "road")),
    ],
)
def test_names_of_two_values(
    lines: list[str], white: int, classes: tuple[str, ...], folder: Folder
) -> None:
    for _ in range(2):
        folder.add(np.where(AREAS % 2, white, 0).astype(np.uint8))
    folder.classes(*lines)
    assert folder.names() == classes
    np.testing.assert_array_equal(folder.read(), AREAS % 2)


def test_a_listed_void_of_0_and_1_is_ignored(folder: Folder) -> None:
    for _ in range(2):
        folder.add(AREAS % 2)
    folder.classes("0 void", "1 road", "2 free")
    assert folder.names() == ("road", "free")
    np.testing.assert_array_equal(folder.read(), np.where(AREAS % 2, 0, IGNORE_INDEX))


@pytest.mark.parametrize("white", [255, 65535])
def test_two_values_and_three_names_are_refused(white: int, folder: Folder) -> None:
    folder.add(np.where(AREAS % 2, white, 0).astype(np.uint16 if white > 255 else np.uint8))
    folder.classes("background", "crack", "spall")
    assert f"names 3 classes, but masks hold 0 and {white} alone" in folder.complaint()
    folder.classes("0 background", "7 crack", f"{white} spall")
    assert folder.names() == ("background", "crack", "spall")
    np.testing.assert_array_equal(folder.read(), 2 * (AREAS % 2))


def test_two_values_in_16_bits_are_background_and_foreground(folder: Folder) -> None:
    folder.add(np.where(AREAS % 2, 65535, 0).astype(np.uint16))
    assert folder.names() == ("background", "foreground")
    for _ in ("inferred", "read from dataset.yaml"):
        np.testing.assert_array_equal(folder.read(), AREAS % 2)


def test_white_is_foreground_in_1_bit_and_in_8(folder: Folder) -> None:
    folder.add(AREAS > 1)
    folder.add((AREAS > 1).astype(np.uint8) * 255)
    folder.classes("ground", "crack")
    assert folder.names() == ("ground", "crack")
    for index in (0, 1):
        np.testing.assert_array_equal(folder.read(index=index), AREAS > 1)


def test_1_beside_255_in_8_bits_is_no_white(folder: Folder) -> None:
    folder.add(AREAS % 2)
    folder.add((AREAS > 1).astype(np.uint8) * 255)
    np.testing.assert_array_equal(folder.read(index=1), np.where(AREAS > 1, IGNORE_INDEX, 0))


def test_two_values_keep_the_colours_of_the_list(folder: Folder) -> None:
    folder.add(palette_image(AREAS % 2, COLORS))
    folder.classes("ground,0,0,0", "road,128,64,128")
    described = infer_description(folder.root)
    assert (described.kind, described.labels.names) == ("ids", ("ground", "road"))
    assert described.labels.palette == ((0, 0, 0), (128, 64, 128))


def test_ids_spread_to_be_seen_are_all_classes(folder: Folder) -> None:
    for _ in range(2):
        folder.add(85 * AREAS)
    assert "255 is a class, nothing is ignored" in folder.told()
    np.testing.assert_array_equal(folder.read(), AREAS)
    folder.classes("a", "b", "c")  # three names leave 255 to the ignored
    (folder.root / "dataset.yaml").unlink(missing_ok=True)
    assert folder.read().max() == IGNORE_INDEX


def test_two_values_take_the_names_of_a_list(folder: Folder) -> None:
    folder.add((AREAS > 1).astype(np.uint8) * 255)
    folder.classes("ground", "crack")
    assert folder.names() == ("ground", "crack")


def test_a_class_a_background_and_ignored_pixels_are_no_binary(folder: Folder) -> None:
    folder.add(np.array([0, 1, 255, 255], np.uint8)[AREAS])
    np.testing.assert_array_equal(folder.read(), np.array([0, 1, 255, 255])[AREAS])


def test_many_wide_ids_are_instances(folder: Folder) -> None:
    for start in range(0, 400, 4):
        folder.add((AREAS.astype(np.uint16) + start) * (AREAS > 0))
    assert "masks of instance ids up to 399: 0 is background" in folder.told()
    np.testing.assert_array_equal(folder.read(index=99), AREAS > 0)
    np.testing.assert_array_equal(folder.read(index=63), AREAS > 0)  # 255 is one of them, reopened
    assert 255 in read_mask(folder.root / "masks/063.png")


def test_instances_are_ignored_at_65535_and_take_two_names(folder: Folder) -> None:
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    pixels[5] = 65535
    folder.add(pixels)
    folder.classes("soil", "leaf")
    assert folder.names() == ("soil", "leaf")
    assert "instance ids up to 399: 0 is background, all else foreground, 65535" in folder.told()
    for _ in ("inferred", "read from dataset.yaml"):
        expected = np.where(pixels == 65535, IGNORE_INDEX, pixels > 0)
        np.testing.assert_array_equal(folder.read(), expected)


def test_more_ids_than_there_can_be_classes_are_no_instances_of_those_named(
    folder: Folder,
) -> None:
    folder.add(np.arange(400, dtype=np.uint16).reshape(20, 20))
    folder.classes(*(f"c{place}" for place in range(400)))
    assert "names 400 classes, but masks hold 400 ids up to 399" in folder.complaint()


@pytest.mark.parametrize(
    "pixels",
    [
        AREAS,
        COLORS[AREAS],
        (AREAS > 1).astype(np.uint8) * 255,
        np.array([0, 300, 255, 65535], np.uint16)[AREAS],
        np.arange(400, dtype=np.uint16).reshape(20, 20),
    ],
)
def test_a_description_reads_back_as_it_was_inferred(pixels: np.ndarray, folder: Folder) -> None:
    folder.add(pixels)
    described = infer_description(folder.root)
    dataset_yaml.write(described, folder.root / "dataset.yaml")
    assert dataset_yaml.read(folder.root / "dataset.yaml") == described


# Colours


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_without_a_list_are_classes(folder: Folder, alpha: bool) -> None:
    pixels = COLORS[AREAS]
    folder.add(np.dstack([pixels, np.full(AREAS.shape, 255, np.uint8)]) if alpha else pixels)
    described = infer_description(folder.root)
    order = sorted(map(tuple, COLORS.tolist()))
    assert (described.kind, described.tolerance) == ("colors", 0)
    assert described.labels.palette == tuple(order)
    truth = np.array([order.index(tuple(c)) for c in COLORS.tolist()])[AREAS]
    np.testing.assert_array_equal(folder.read(), truth)


def test_a_grey_mask_among_coloured_ones_is_coloured_too(folder: Folder) -> None:
    folder.add(COLORS[AREAS])
    folder.add(np.full((8, 8, 3), 128, np.uint8))
    assert (128, 128, 128) in infer_description(folder.root).labels.palette


def test_listed_colours_are_classes_and_void_is_ignored(folder: Folder) -> None:
    folder.add(COLORS[AREAS])
    folder.classes(
        "# label:color_rgb:parts:actions",
        "void:0,0,0::",
        "road:128,64,128::",
        "car:0,0,142::",
        "person:220,20,60::",
        "moon:9,9,99::",
        name="labelmap.txt",
    )
    assert folder.names() == ("road", "car", "person", "moon")
    np.testing.assert_array_equal(folder.read(), np.array([255, 0, 1, 2])[AREAS])


def test_palette_images_in_the_listed_colours_are_read_by_colour(folder: Folder) -> None:
    folder.add(palette_image(AREAS, COLORS))
    folder.classes(
        "name,r,g,b",
        "person,220,20,60",
        "car,0,0,142",
        "road,128,64,128",
        "ground,0,0,0",
        name="class_dict.csv",
    )
    assert folder.names() == ("person", "car", "road", "ground")
    np.testing.assert_array_equal(folder.read(), 3 - AREAS)


REORDERED = (
    *("name,r,g,b", "bicycle,119,11,32", "car,0,0,142"),
    *("person,220,20,60", "road,128,64,128"),
)


@pytest.mark.parametrize("beside", ["nothing", "an empty grey mask", "a border at 255"])
@pytest.mark.parametrize("black", [False, True])
def test_colours_of_palettes_count_where_the_list_has_another_order(
    beside: str, black: bool, folder: Folder
) -> None:
    colors = np.zeros((256, 3), np.uint8)
    colors[:4], colors[IGNORE_INDEX] = COLORS, (224, 224, 192)
    mask = AREAS.copy()
    if beside == "a border at 255":
        mask[7:9] = IGNORE_INDEX
    folder.add(palette_image(mask, colors))
    if beside == "an empty grey mask":
        folder.add(np.zeros((6, 6), np.uint8))
    folder.classes(*REORDERED, *(["ground,0,0,0"] * black), name="class_dict.csv")
    assert "palettes number the colours unlike" in folder.told()
    assert folder.names() == ("bicycle", "car", "person", "road", *(["ground"] * black))
    classes = np.full(256, IGNORE_INDEX)
    classes[:4] = (4 if black else IGNORE_INDEX), 3, 1, 2
    for _ in ("inferred", "read from dataset.yaml"):
        np.testing.assert_array_equal(folder.read(), classes[mask])
    if beside == "an empty grey mask":
        assert (folder.read(index=1) == classes[0]).all()


@pytest.mark.parametrize("kind", ["palette", "RGB"])
@pytest.mark.parametrize("void", [False, True])
def test_black_beside_a_single_listed_colour_is_the_background(
    kind: str, void: bool, folder: Folder
) -> None:
    truth, colors = (AREAS > 1).astype(np.uint8), [(0, 0, 0), (255, 0, 0)]
    folder.add(palette_image(truth, colors) if kind == "palette" else np.uint8(colors)[truth])
    folder.classes("crack,255,0,0", *(["void,9,9,9"] * void))
    assert folder.names() == ("background", "crack")
    np.testing.assert_array_equal(folder.read(), truth)


def test_a_single_class_whose_colour_is_everywhere_is_refused(folder: Folder) -> None:
    folder.add(np.full((8, 8, 3), (255, 0, 0), np.uint8))
    folder.classes("crack,255,0,0")
    assert "a single class in all masks" in folder.complaint()


def test_what_a_list_leaves_out_is_told_apart_from_other_colours(folder: Folder) -> None:
    picture = COLORS[AREAS]
    picture[0, :2] = 99
    folder.add(picture)
    folder.classes("road,128,64,128", "car,0,0,142", "person,220,20,60")
    told = folder.told()
    assert "colours ignored: [0, 0, 0] (24 % of the pixels)" in told
    assert "(2) are in other colours and ignored, most of them near [99, 99, 99]:" in told


def test_ids_stay_where_palettes_have_the_order_of_the_list(folder: Folder) -> None:
    colors = np.zeros((256, 3), np.uint8)
    colors[:4], colors[IGNORE_INDEX] = COLORS, (224, 224, 192)
    mask = AREAS.copy()
    mask[7:9] = IGNORE_INDEX
    folder.add(palette_image(mask, colors))
    folder.add(AREAS)
    folder.classes("ground:0,0,0::", "road:128,64,128::", "car:0,0,142::", "person:220,20,60::")
    assert infer_description(folder.root).kind == "ids"
    np.testing.assert_array_equal(folder.read(), mask)


def test_ids_beside_palettes_of_another_order_are_refused(folder: Folder) -> None:
    folder.add(palette_image(AREAS, COLORS))
    folder.add(AREAS)
    folder.classes(*REORDERED, name="class_dict.csv")
    assert "000.png holds colours" in folder.complaint()
    assert "001.png ids (such as 1)" in folder.complaint()


def test_palettes_that_share_but_some_colours_with_the_list_are_refused(folder: Folder) -> None:
    folder.add(palette_image(AREAS, COLORS))
    folder.classes("a,1,2,3", "b,4,5,6", "c,128,64,128", "d,0,0,0", name="class_dict.csv")
    text = folder.complaint()
    assert "the colour of another class for id 1 and one that is not listed for 2" in text
    folder.classes("a,1,2,3", "b,4,5,6", "c,7,8,9", "void,0,0,0", name="class_dict.csv")
    assert folder.names() == ("a", "b", "c")  # black alone, which palettes begin with, says little


def test_colours_of_a_short_palette_end_with_it(folder: Folder) -> None:
    folder.add(palette_image(AREAS % 2, COLORS[:2]))
    folder.add(palette_image(AREAS, COLORS))
    assert infer_description(folder.root).labels.palette == tuple(map(tuple, COLORS.tolist()))


def lines(width: int) -> np.ndarray:
    """Draws three areas and lines of a fourth class."""
    mask = np.zeros((64, 64), np.uint8)
    mask[32:], mask[:8, :8] = 1, 2
    mask[32:, 20 : 20 + width] = 3
    return mask


@pytest.mark.parametrize("line", [(255, 255, 255), (192, 192, 128)])
def test_lines_are_a_class_without_a_list(line: tuple[int, int, int], folder: Folder) -> None:
    colors = COLORS.copy()
    colors[3] = line
    folder.add(colors[lines(2)])
    described = infer_description(folder.root)
    assert described.tolerance == 0
    order = sorted(map(tuple, colors.tolist()))
    assert described.labels.palette == tuple(order)
    classes = np.array([order.index(tuple(color)) for color in colors.tolist()])
    np.testing.assert_array_equal(folder.read(), classes[lines(2)])


def test_lines_on_a_background_alone_are_a_class(folder: Folder) -> None:
    folder.add(np.array([(0, 0, 0), (255, 0, 0)], np.uint8)[(lines(2) == 3).astype(int)])
    assert infer_description(folder.root).labels.palette == ((0, 0, 0), (255, 0, 0))


def test_halfway_between_two_areas_is_a_blend(folder: Folder) -> None:
    picture = COLORS[np.kron(AREAS, np.ones((3, 3), np.uint8))].astype(int)
    picture[:, 24] = (picture[:, 23] + picture[:, 25]) // 2
    folder.add(picture.astype(np.uint8))
    described = infer_description(folder.root)
    assert set(described.labels.palette) == set(map(tuple, COLORS.tolist()))
    assert described.tolerance == TOLERANCE


@pytest.mark.parametrize("count", [2, 3, 4])
def test_halved_masks_have_the_classes_of_whole_ones(folder: Folder, count: int) -> None:
    for seed in range(10):
        mask = discs(count, seed)
        means = COLORS[mask].reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        folder.add((means + 0.5).astype(np.uint8))
    palette = set(infer_description(folder.root).labels.palette)
    assert palette == set(map(tuple, COLORS[:count].tolist()))


def discs(count: int, seed: int) -> np.ndarray:
    """Draws a horizon, and a disc for each further class."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:128, :128]
    mask = (row > 51 + 25 * rng.random() + column / 10).astype(np.uint8)
    for label in range(2, count):
        y, x, radius = *rng.uniform(30, 100, 2), rng.uniform(16, 28)
        mask[(row - y) ** 2 + (column - x) ** 2 < radius**2] = label
    return mask


def test_a_slip_of_the_brush_is_no_class_but_told(folder: Folder) -> None:
    for seed in range(3):
        folder.add(COLORS[discs(3, seed)])
    picture = COLORS[discs(3, 3)]
    picture[5, 5:8] = 255
    folder.add(picture)
    described = infer_description(folder.root)
    assert set(described.labels.palette) == set(map(tuple, COLORS[:3].tolist()))
    assert "(3) are in other colours and ignored, most of them near [255, 255, 255]" in (
        "\n".join(described.notes)
    )


def test_thin_classes_of_real_masks_are_classes(folder: Folder, camvid_root: Path) -> None:
    for path in sorted((camvid_root / "valannot").iterdir())[::8]:
        mask = CAMVID.from_raw(np.asarray(PillowImage.open(path)))
        folder.add(CAMVID.colorize(mask[::4, ::4]))
    assert set(CAMVID.palette) <= set(infer_description(folder.root).labels.palette)


def smooth(mask: np.ndarray) -> PillowImage.Image:
    """Draws large areas at four times the size and shrinks them: edges blend."""
    large = PillowImage.fromarray(mask).resize((160, 160), PillowImage.Resampling.NEAREST)
    return large.rotate(17).resize((80, 80), PillowImage.Resampling.BOX)


def test_blends_along_edges_are_no_classes_but_ignored_and_counted(folder: Folder) -> None:
    folder.add(smooth(COLORS[AREAS]))
    described = infer_description(folder.root)
    assert described.tolerance == TOLERANCE
    assert set(described.labels.palette) == set(map(tuple, COLORS.tolist()))
    found = read_classes(folder.root / "masks/000.png", described.encoding, described.labels)
    assert 0 < found.strays == np.count_nonzero(found.mask == IGNORE_INDEX) < 400
    assert f"({found.strays}) are in other colours and ignored" in folder.told()


def test_grey_binaries_with_smooth_edges_are_binaries(folder: Folder) -> None:
    folder.add(smooth((AREAS > 1).astype(np.uint8) * 255))
    assert folder.names() == ("background", "foreground")
    assert set(np.unique(folder.read())) == {0, 1, IGNORE_INDEX}


@pytest.mark.parametrize("quality", [75, 95])
def test_colours_survive_jpeg(folder: Folder, quality: int) -> None:
    mask = np.kron(AREAS, np.ones((8, 8), np.uint8))
    folder.add(COLORS[mask], ".jpg", quality=quality)
    described = infer_description(folder.root)
    assert len(described.classes) == 4
    for color, expected in zip(
        described.labels.palette, sorted(map(tuple, COLORS.tolist())), strict=True
    ):
        assert max(abs(a - b) for a, b in zip(color, expected, strict=True)) <= 3
    order = [sorted(map(tuple, COLORS.tolist())).index(tuple(c)) for c in COLORS.tolist()]
    found, truth = folder.read(), np.array(order)[mask]
    known = found != IGNORE_INDEX
    assert known.mean() > 0.8 and (found == truth)[known].mean() > 0.999


def test_real_masks_survive_jpeg(folder: Folder, camvid_root: Path) -> None:
    truths = []
    for path in sorted((camvid_root / "valannot").iterdir())[::25]:
        truths.append(CAMVID.from_raw(np.asarray(PillowImage.open(path))))
        folder.add(CAMVID.colorize(truths[-1]), ".jpg", quality=75)
    names = ("void", *CAMVID.names)
    colors = ((0, 0, 0), *CAMVID.palette)
    folder.classes(
        *(f"{n}:{r},{g},{b}" for n, (r, g, b) in zip(names, colors, strict=True)),
        name="labelmap.txt",
    )
    assert folder.names() == CAMVID.names
    for index, truth in enumerate(truths):
        found = folder.read(index=index)
        known = (found != IGNORE_INDEX) & (truth != IGNORE_INDEX)
        assert known.mean() > 0.85
        assert (found == truth)[known].mean() > 0.999


# Names


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["a", "b", "c", "d", "e"], ("a", "b", "c", "d", "e")),
        (["0 a", "1 b", "2 c", "3 d"], ("a", "b", "c", "d")),
        (["3: d", "2: c", "0: a", "1: b"], ("a", "b", "c", "d")),
        (["__ignore__", "_background_", "b", "c", "d"], ("_background_", "b", "c", "d")),
        (
            ["Pixel Value, Class", "0, a", "1, b", "2, c", "3, traffic light"],
            ("a", "b", "c", "traffic light"),
        ),
    ],
)
def test_names_belong_to_ids(lines: list[str], names: tuple[str, ...], folder: Folder) -> None:
    folder.add(AREAS)
    folder.classes(*lines)
    assert folder.names() == names
    np.testing.assert_array_equal(folder.read(), AREAS)


def test_a_listed_void_is_ignored(folder: Folder) -> None:
    folder.add(AREAS)
    folder.classes("unlabelled", "b", "c", "d")
    assert folder.names() == ("b", "c", "d")
    np.testing.assert_array_equal(folder.read(), np.array([255, 0, 1, 2])[AREAS])
    assert "ids ignored: 0 (25 % of the pixels)" in folder.told()


def test_as_many_names_as_ids_are_given_in_their_order(folder: Folder) -> None:
    folder.add(np.array([0, 1, 7, 255], np.uint8)[AREAS])
    folder.classes("ground", "road", "car")
    assert folder.names() == ("ground", "road", "car")
    np.testing.assert_array_equal(folder.read(), np.array([0, 1, 2, 255])[AREAS])


def test_an_id_without_a_name_is_refused(folder: Folder) -> None:
    folder.add(np.array([0, 1, 2, 7], np.uint8)[AREAS])
    folder.classes("ground", "road", "car")
    text = folder.complaint()
    assert text.startswith(f"{folder.root / 'classes.txt'}: names 3 classes, but masks hold id 7")


def test_names_without_colours_are_left_to_the_user(folder: Folder) -> None:
    folder.add(COLORS[AREAS])
    folder.classes("a", "b", "c", "d")
    assert folder.names() == ("class_0", "class_1", "class_2", "class_3")
    assert "classes.txt gives no colours: give its names to the classes by hand" in folder.told()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# nothing\n", "names no class; write one a line or remove the file"),
        (b"sky,1,2,256\n", "line 1: colour 1, 2, 256 is out of range"),
        (b"\xff\xfe\x00", "cannot be read as text"),
        (b"a\na\nb\nc\n", "class names used twice: a"),
    ],
)
def test_a_classes_file_that_is_wrong_is_named(
    content: bytes, message: str, folder: Folder
) -> None:
    folder.add(AREAS)
    (folder.root / "classes.txt").write_bytes(content)
    text = folder.complaint()
    assert text.startswith(f"{folder.root / 'classes.txt'}: ") and message in text


# What is not understood


def test_masks_of_two_encodings_are_named(folder: Folder) -> None:
    folder.add(COLORS[AREAS])
    folder.add(AREAS)
    text = folder.complaint()
    assert "000.png holds colours" in text and "001.png ids (such as 1)" in text
    assert "convert-labels" in text


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_ids_that_went_through_lossy_compression_are_refused(folder: Folder, suffix: str) -> None:
    folder.add(np.kron(AREAS, np.ones((8, 8), np.uint8)), suffix)
    assert "ids do not survive lossy compression: export the masks as PNG" in folder.complaint()


def test_photographs_are_no_masks(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for name, pixels, text in (
        ("grey", noise[..., 0], "most of its 255 values fill no area"),
        ("every grey", np.arange(256, dtype=np.uint8).reshape(16, 16), "all 256 grey values occur"),
        ("color", noise, "photographs rather than masks: more than 255 colours fill areas"),
    ):
        (tmp_path / name).mkdir()
        folder = Folder(tmp_path / name)
        folder.add(pixels)
        assert text in folder.complaint(), name


def test_a_single_class_is_too_few(folder: Folder) -> None:
    folder.add(np.array([3, 255, 3, 3], np.uint8)[AREAS])
    assert "a single class in all masks (3 and 255)" in folder.complaint()


def test_ids_below_zero_are_refused(folder: Folder) -> None:
    folder.add(AREAS.astype(np.int32) - 1, ".npy")
    assert "000.npy: holds id -1; ids start at 0: write 255 for ignored" in folder.complaint()


def test_a_list_of_other_colours_is_refused(folder: Folder) -> None:
    folder.add(COLORS[AREAS])
    folder.classes("a:90,90,90", "b:0,0,0", name="labelmap.txt")
    text = folder.complaint()
    assert text.startswith(f"{folder.root / 'labelmap.txt'}: 75 % of the pixels")


def test_a_single_colour_is_too_few(folder: Folder) -> None:
    folder.add(np.full((8, 8, 3), (9, 0, 0), np.uint8))
    assert "a single class in all masks; give masks of two" in folder.complaint()


@pytest.mark.parametrize("shape", [(0, 5), (0, 5, 3)])
def test_masks_without_a_pixel_are_refused(shape: tuple[int, ...], folder: Folder) -> None:
    folder.add(np.zeros((4, 4), np.uint8), ".npy")
    np.save(folder.root / "masks/000.npy", np.zeros(shape, np.uint8))
    assert "000.npy: holds no pixel; export it anew" in folder.complaint()


def test_damaged_masks_are_named(folder: Folder) -> None:
    folder.add(AREAS)
    path = folder.root / "masks/000.png"
    path.write_bytes(path.read_bytes()[:50])
    assert folder.complaint().startswith(f"{path}: ")


# dataset.yaml


def described(folder: Folder, text: str) -> np.ndarray:
    folder.add(AREAS)
    splits = "splits: {train: {images: images, masks: masks}}\n"
    (folder.root / "dataset.yaml").write_text(text + splits)
    return folder.read()


def test_ids_of_built_in_classes_may_be_ignored(folder: Folder) -> None:
    found = described(folder, "classes: voc\nignore: [0]\n")
    np.testing.assert_array_equal(found, np.where(AREAS == 0, IGNORE_INDEX, AREAS))


def test_an_empty_root_is_the_folder_of_the_description(folder: Folder) -> None:
    np.testing.assert_array_equal(described(folder, "root:\nclasses: [a, b, c, d]\n"), AREAS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "encoding: colors\nignore: [0]\nclasses: [{name: a, color: [1, 1, 1]}]\n",
            "ignore 0: with encoding colors, write colours, [red, green, blue]",
        ),
        (
            "ignore: [[0, 0, 0]]\nclasses: [a, b, c, d]\n",
            "ignore [0, 0, 0]: with encoding ids, write ids",
        ),
        (
            "encoding: colors\nclasses: [a, b]\n",
            "class 'a': with encoding colors, give its `color`",
        ),
        ("name: 2024-31-01\nclasses: [a, b, c, d]\n", "not YAML: month must be in 1..12"),
    ],
)
def test_entries_that_would_have_no_effect_are_refused(
    text: str, message: str, folder: Folder
) -> None:
    with pytest.raises(UserError) as caught:
        described(folder, text)
    assert str(caught.value) == f"{folder.root / 'dataset.yaml'}: {message}"
