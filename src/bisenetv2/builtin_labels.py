"""Labels of the public data sets a recipe or a command may name.

Sources of the names and ids: the Cityscapes label definitions (https://www.cityscapes-dataset.com),
the label list of COCO-Stuff (https://github.com/nightrome/cocostuff), the scene parsing benchmark
of ADE20K (http://sceneparsing.csail.mit.edu) and Pascal VOC's development kit
(http://host.robots.ox.ac.uk/pascal/VOC).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bisenetv2.labels import CAMVID, IGNORE_INDEX, Color, Labels


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(","))


def _color(code: str) -> Color:
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


_CITYSCAPES_CLASSES: tuple[tuple[int, str, Color], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
"""Id in `*_labelIds.png`, name and colour of every class that is evaluated, by train id."""

CITYSCAPES = Labels(
    names=tuple(name for _, name, _ in _CITYSCAPES_CLASSES),
    palette=tuple(color for _, _, color in _CITYSCAPES_CLASSES),
    raw_ids=tuple(
        {
            **dict.fromkeys(range(34), IGNORE_INDEX),
            **{raw: index for index, (raw, _, _) in enumerate(_CITYSCAPES_CLASSES)},
        }.items()
    ),
)
"""The 19 classes of Cityscapes by train id, in the official colours.

Raw ids are the 34 of `*_labelIds.png`; those outside the evaluation map to the ignore index.
"""

CITYSCAPES_TRAIN_IDS = replace(
    CITYSCAPES, raw_ids=(*((index, index) for index in range(19)), (255, IGNORE_INDEX))
)
"""The same classes where the files hold train ids (`*_labelTrainIds.png`)."""

_CITYSCAPES_VOID = "000000 6f4a00 510051 faaaa0 e6968c b4a5b4 966464 96785a 00005a 00006e"

CITYSCAPES_COLORS: tuple[tuple[Color, int], ...] = (
    *((color, index) for index, color in enumerate(CITYSCAPES.palette)),
    *((_color(code), IGNORE_INDEX) for code in _CITYSCAPES_VOID.split()),
)
"""Colours of `*_color.png` and their train ids; those outside the evaluation are ignored.

Pole groups have the colour of poles there and licence plates that of cars: figures on these files
differ a little from those on ids.
"""


CITYSCAPES_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "sky": ("sky",),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}
"""The 7 categories that the Cityscapes benchmark scores beside the classes."""


_COCO_THINGS = _names(
    """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light,
    fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant,
    bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard,
    sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle,
    wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
    hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
    mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock,
    vase, scissors, teddy bear, hair drier, toothbrush"""
)

_COCO_STUFFS = _names(
    """banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet,
    ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff,
    dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower,
    fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves,
    light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow,
    plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug,
    salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw,
    structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete,
    wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind,
    window-other, wood"""
)

_COCO_UNUSED = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91})
"""Ids of things that COCO defined (1-based) and then removed: no pixel is annotated with them."""


def _spread_color(index: int) -> Color:
    """Returns a colour of the 6×6×6 cube that lies far from those of neighbouring indices.

    95 shares no divisor with 216, so that no two of the indices 0-214 get the same colour and none
    gets black, the colour of ignored pixels. The cube's steps are 51 apart.
    """
    code = 95 * (index + 1) % 216
    return 51 * (code // 36), 51 * (code // 6 % 6), 51 * (code % 6)


_COCO_INDEX = {
    coco_id: index
    for index, coco_id in enumerate(i for i in range(1, 183) if i not in _COCO_UNUSED)
}

COCO_STUFF = Labels(
    names=_COCO_THINGS + _COCO_STUFFS,
    palette=tuple(map(_spread_color, range(171))),
    raw_ids=tuple((i - 1, _COCO_INDEX.get(i, IGNORE_INDEX)) for i in range(1, 183)),
)
"""The 171 classes of COCO-Stuff: 80 things, then 91 kinds of stuff, in the order of their ids.

Raw ids are those of the `stuffthingmaps` PNGs: COCO's ids 1-182 less one, 255 where unlabelled. The
11 removed ids map to the ignore index. COCO-Stuff has no palette that everyone agrees on; here
class `i` has the colour numbered `95 * (i + 1) % 216` in the 6×6×6 colour cube.
"""

_ADE20K_CLASSES = _names(
    """
    wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk,
    person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf,
    house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub,
    railing, cushion, base, box, column, signboard, chest of drawers, counter, sand, sink,
    skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table,
    pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower,
    book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar,
    arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
    television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman,
    bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything,
    swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food,
    step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket,
    sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate,
    monitor, bulletin board, shower, radiator, glass, clock, flag
    """
)

_ADE20K_COLORS = """
    787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d
    787846 08ff33 ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0
    0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06
    ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00
    ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff 00ff70
    00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99
    ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52
    000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00
    08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff
    9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00
    00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8
    005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""
"""RRGGBB in the order of the classes: the colours of the scene parsing benchmark."""

ADE20K = Labels(
    names=_ADE20K_CLASSES,
    palette=tuple(_color(code) for code in _ADE20K_COLORS.split()),
    raw_ids=((0, IGNORE_INDEX), *((index + 1, index) for index in range(150))),
)
"""The 150 classes of ADE20K's scene parsing benchmark, in the official colours.

Its files number them from 1 and mark unlabelled pixels with 0. Road and skyscraper share a colour.
"""

_VOC_CLASSES = _names(
    """background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable,
    dog, horse, motorbike, person, pottedplant, sheep, sofa, train, tvmonitor"""
)


def voc_color(index: int) -> Color:
    """Returns the colour of an id in Pascal VOC's palette: its bits, dealt out to the channels."""
    red = green = blue = 0
    for place in range(7, 4, -1):
        red |= (index & 1) << place
        green |= (index >> 1 & 1) << place
        blue |= (index >> 2 & 1) << place
        index >>= 3
    return red, green, blue


VOC = Labels(
    names=_VOC_CLASSES,
    palette=tuple(map(voc_color, range(21))),
    raw_ids=tuple((index, index) for index in range(21)),
)
"""The 20 classes of Pascal VOC and the background; its files mark outlines with 255."""

_CAMVID_32: tuple[tuple[str, str], ...] = (
    ("Sky", "808080"),
    ("Building", "c00080 008040 800000 400040 40c000"),
    ("Pole", "c0c080 000040"),
    ("Road", "804080 8000c0 c00040"),
    ("Pavement", "0000c0 40c080 8080c0"),
    ("Tree", "808000 c0c000"),
    ("SignSymbol", "c08080 808040 004040"),
    ("Fence", "404080"),
    ("Car", "400080 4080c0 c080c0 c04080 804040"),
    ("Pedestrian", "404000 c08040 4000c0 408040"),
    ("Bicyclist", "0080c0 c000c0"),
)
"""Class, and RRGGBB of those of the 32 classes that the literature merges into it: archway, bridge,
building, tunnel and wall; column and cone; road and lane markings; sidewalk, parking block and
shoulder; tree and other vegetation; sign, text and traffic light; fence; car, pickup, truck or bus,
train and other moving things; pedestrian, child, pram and animal; bicyclist and motorcycle."""

CAMVID_COLORS: tuple[tuple[Color, int], ...] = (
    *((_color(c), CAMVID.index(name)) for name, codes in _CAMVID_32 for c in codes.split()),
    ((0, 0, 0), IGNORE_INDEX),
)
"""The 32 colours of CamVid's own labels and their class of 11; black, void, is ignored."""

BUILTIN: Mapping[str, Labels] = {
    "camvid": CAMVID,
    "cityscapes": CITYSCAPES,
    "coco-stuff": COCO_STUFF,
    "ade20k": ADE20K,
    "voc": VOC,
}
"""The built-in labels by name."""

TERMS: Mapping[str, tuple[str, str]] = {
    "camvid": ("CamVid", "research use (Brostow et al., ECCV 2008 and PRL 2009)"),
    "cityscapes": ("Cityscapes", "see https://www.cityscapes-dataset.com/license/"),
    "coco-stuff": ("COCO-Stuff", "see https://cocodataset.org/#termsofuse"),
    "ade20k": ("ADE20K", "see https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/"),
    "voc": ("Pascal VOC", "see http://host.robots.ox.ac.uk/pascal/VOC/"),
}
"""Title of each of these data sets, and its terms or where they stand."""
