"""Lists of classes, in the forms that tools and people write them in."""

from __future__ import annotations

from pathlib import Path

import pytest

from bisenetv2.data.folder.class_files import NamedClass, read_classes_file

ROAD = NamedClass("road", color=(128, 64, 128))
COLORED = [ROAD, NamedClass("traffic light", color=(0, 0, 142))]
NUMBERED = [NamedClass("road", 0), NamedClass("2wheeler", 1), NamedClass("wall, brick", 7)]
BOTH = [NamedClass("road", 0, (128, 64, 128)), NamedClass("traffic light", 1, (0, 0, 142))]


@pytest.mark.parametrize("suffix", [".txt", ".csv"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["name", "road", "car"], [NamedClass("road"), NamedClass("car")]),
        (["class_name,r,g,b", "road,128,64,128", "traffic light,0,0,142"], COLORED),
        (["Class Name,R,G,B", "road,128,64,128", "traffic light,0,0,142"], COLORED),
        (["r;g;b;class", "128;64;128;road", "0;0;142;traffic light"], COLORED),
        (["road,128,64,128,0", "traffic light,0,0,142,255"], COLORED),
        (['"road",128,64,128', '"traffic light", 0, 0, 142'], COLORED),
        (["label:color_rgb:parts", "road:128,64,128::", "traffic light:0,0,142:a:b"], COLORED),
        (["128,64,128 road", "traffic light 0,0,142"], COLORED),
        (["class_id,name", "0,road", "1,2wheeler", "7,wall, brick"], NUMBERED),
        (["index;name", "0;road", "1;2wheeler", "7;wall, brick"], NUMBERED),
        (["class,name", "0,road", "1,2wheeler", '7,"wall, brick"'], NUMBERED),
        (["Pixel Value, Class", "0, road", "1, 2wheeler", "7, wall, brick"], NUMBERED),
        (["0,road", "1,2wheeler", "7,wall, brick"], NUMBERED),
        (["road,0", "2wheeler,1", "wall, brick,7"], NUMBERED),
        (["road: 0", "2wheeler: 1", "wall, brick: 7"], NUMBERED),
        (["id,name,r,g,b", "0,road,128,64,128", "1,traffic light,0,0,142"], BOTH),
        (["name,id,r,g,b,kind", "road,0,128,64,128,x", "traffic light,1,0,0,142,x"], BOTH),
        (["0,road,128,64,128", "1,traffic light,0,0,142"], BOTH),
        (["0 road 128 64 128", "1 traffic light 0 0 142"], BOTH),
        (["0 128 64 128 road", "1 0 0 142 traffic light"], BOTH),
        (["name,color", "road,128 64 128", "traffic light,0 0 142"], COLORED),
        (["label,RGB", "road,128,64,128", '"traffic light","(0, 0, 142)"'], COLORED),
        (["Class\tColour", "road\t128 64 128", "traffic light\t0,0,142"], COLORED),
        (["name;color", "road;128,64,128", "traffic light;[0, 0, 142]"], COLORED),
        (["r g b\tname", "128 64 128\troad", "0 0 142\ttraffic light"], COLORED),
        (["name, color (r, g, b)", "road, 128, 64, 128", "traffic light, 0, 0, 142"], COLORED),
        (["name,color", "road,#804080", "traffic light,#00008E"], COLORED),
        (["name,hex", "road,#804080", "traffic light,#00008EFF"], COLORED),
        (["id;name;hex_code", "0;road;#804080", "1;traffic light;#00008E"], BOTH),
        (["#facade of a house", "road #804080", "traffic light #00008e"], COLORED),
        (["#804080 road", "#00008e traffic light"], COLORED),
        (["road:#804080", "traffic light:#00008e"], COLORED),
        (['road,"#804080"', 'traffic light,"#00008e"'], COLORED),
        (["0\troad\t#804080", "1\ttraffic light\t#00008e"], BOTH),
        (["name:r,g,b", "road:128,64,128", "traffic light:0,0,142"], COLORED),
        (["class: r, g, b", "road: 128, 64, 128", "traffic light: 0, 0, 142"], COLORED),
        (["id,name,color", "0,road,128 64 128", "1,traffic light,0,0,142"], BOTH),
        (["name,color,id", "road,128,64,128,0", 'traffic light,"0,0,142",1'], BOTH),
    ],
)  # fmt: skip
def test_ids_and_colours_stand_before_or_after_names(
    lines: list[str], expected: list[NamedClass], suffix: str, tmp_path: Path
) -> None:
    path = (tmp_path / "classes").with_suffix(suffix)
    path.write_text("\n".join(lines))
    assert read_classes_file(path) == expected


@pytest.mark.parametrize(
    "header",
    [
        *("idx,name", "Nr;Name", "code;name", "class_no,class_name", "mask value,class"),
        *("class,label", "Label,Category", "category,class_id", "name,category,id"),
    ],
)
def test_ids_have_many_headings(header: str, tmp_path: Path) -> None:
    mark = ";" if ";" in header else ","
    rows = {"category,class_id": ["road,1", "car,2"], "name,category,id": ["road,x,1", "car,x,2"]}
    lines = [header, *rows.get(header, [f"1{mark}road", f"2{mark}car"])]
    (tmp_path / "c.csv").write_text("\n".join(lines))
    assert read_classes_file(tmp_path / "c.csv") == [NamedClass("road", 1), NamedClass("car", 2)]


def test_of_two_headings_that_may_mean_either_the_rows_tell_the_id(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("class,label\nroad,1\ncar,2\n")
    assert read_classes_file(tmp_path / "c.csv") == [NamedClass("road", 1), NamedClass("car", 2)]


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("class,label,r,g,b", "road,3,128,64,128", NamedClass("road", 3, (128, 64, 128))),
        ("class,category,r,g,b", "road,flat,128,64,128", NamedClass("road", None, (128, 64, 128))),
        ("class,label,color", "3,road,128 64 128", NamedClass("road", 3, (128, 64, 128))),
        ("name,train_id,id", "road,0,7", NamedClass("road", 7)),
        ("no,id,name", "1,0,road", NamedClass("road", 0)),
        ("name,rgba", "road,128,64,128,255", NamedClass("road", None, (128, 64, 128))),
        ("name;rgba", "road;(128, 64, 128, 255)", NamedClass("road", None, (128, 64, 128))),
    ],
)
def test_further_columns_mislead_nobody(
    header: str, row: str, expected: NamedClass, tmp_path: Path
) -> None:
    (tmp_path / "c.csv").write_text(f"{header}\n{row}\n")
    assert read_classes_file(tmp_path / "c.csv") == [expected]


@pytest.mark.parametrize("name", ["label", "class", "category", "name"])
def test_a_heading_above_nothing_is_the_class(name: str, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text(f"# one\n{name}\n")
    assert read_classes_file(tmp_path / "c.txt") == [NamedClass(name)]


@pytest.mark.parametrize(
    "name",
    ["traffic light", "bus, coach", "road 1", "3 2", "B52", "type: car", "car class", "12,13"],
)
def test_names_are_whatever_else_a_line_holds(name: str, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text(f"{name}\nother\n")
    assert read_classes_file(tmp_path / "c.txt")[0] == NamedClass(name)


@pytest.mark.parametrize("name", ["class 1", "2 wheeler", "traffic light, red", "label"])
def test_names_with_blanks_and_commas_have_colours(name: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(f"{name},128,64,128\n")
    assert read_classes_file(tmp_path / "c.csv") == [NamedClass(name, color=(128, 64, 128))]


def test_forms_may_change_from_line_to_line(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text(
        "64 128 64\tAnimal\nRoad, 128, 64, 128\nfar away:1,2,3:parts:actions\n12 sea\nB52\n\n# no\n"
    )
    assert read_classes_file(path) == [
        NamedClass("Animal", color=(64, 128, 64)),
        NamedClass("Road", color=(128, 64, 128)),
        NamedClass("far away", color=(1, 2, 3)),
        NamedClass("sea", 12),
        NamedClass("B52"),
    ]
