"""`dataset.yaml`: what a folder holds, written once, read from then on, edited by its owner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

import yaml

from bisenetv2.builtin_labels import BUILTIN, voc_color
from bisenetv2.data.encodings import Encoding, Kind
from bisenetv2.data.folder.holding_out import held_out
from bisenetv2.data.folder.matching import Pair, Source
from bisenetv2.errors import UserError
from bisenetv2.files import write_bytes
from bisenetv2.labels import IGNORE_INDEX, Color, Labels

NAME = "dataset.yaml"

VAL_SHARE = 0.2
"""Share of the training pairs held out for validation where nothing says which."""


@dataclass(frozen=True)
class ClassEntry:
    """One class: what stands for it in the masks."""

    name: str
    ids: tuple[int, ...] = ()
    """Values in the files, where these hold ids."""

    color: Color | None = None
    """What it is painted in; the colour in the files, where these hold colours."""

    colors: tuple[Color, ...] = ()
    """More colours of the files that mean this class."""


@dataclass(frozen=True)
class Description:
    """Everything needed to read a data set.

    Raises:
        UserError: If the parts do not fit together.
    """

    root: Path
    """Folder that the paths of `splits` start from."""

    splits: Mapping[str, Source]
    classes: tuple[ClassEntry, ...] | str
    """The classes in the order of their indices, or the name of built-in labels."""

    kind: Kind = "ids"
    tolerance: int = 0
    ignore: tuple[int | Color, ...] = (IGNORE_INDEX,)
    """Ids or colours of the files that are no class."""

    name: str = ""
    licence: str = "unknown"
    val_share: float = VAL_SHARE
    val_seed: int = 0
    """Chooses which training pairs are held out."""

    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was inferred, a line each."""

    def __post_init__(self) -> None:
        if not 0 < self.val_share < 1:
            raise UserError(f"val_share {self.val_share}: a share is above 0 and below 1")
        _ = self.labels, self.encoding
        by_color = self.kind == "colors"
        for item in self.ignore:
            if isinstance(item, int) == by_color:
                what = "colours, [red, green, blue]" if by_color else "ids"
                raise UserError(f"ignore {_flow(item)}: with encoding {self.kind}, write {what}")
        for entry in self.classes if by_color and not isinstance(self.classes, str) else ():
            if entry.color is None:
                raise UserError(f"class {entry.name!r}: with encoding colors, give its `color`")

    @cached_property
    def labels(self) -> Labels:
        """Names, colours and raw ids."""
        ignored = [i for i in self.ignore if isinstance(i, int)]
        if isinstance(self.classes, str):
            labels = BUILTIN[self.classes]
            if self.kind == "colors" or not {*ignored} - {IGNORE_INDEX}:
                return labels
            known = labels.raw_ids or [(index, index) for index in range(len(labels))]
            raw_ids = {**dict(known), **dict.fromkeys(ignored, IGNORE_INDEX)}
            return replace(labels, raw_ids=tuple(raw_ids.items()))
        ids = [
            (raw, index)
            for index, entry in enumerate(self.classes)
            for raw in (entry.ids or (() if self.kind == "instances" else (index,)))
        ]
        ids += [(raw, IGNORE_INDEX) for raw in ignored]
        if self.kind == "instances" and len(self.classes) != 2:
            raise UserError(
                f"{len(self.classes)} classes for instances: list two, what is 0 and what is not"
            )
        return Labels(
            names=tuple(entry.name for entry in self.classes),
            palette=tuple(
                entry.color or voc_color(index) for index, entry in enumerate(self.classes)
            ),
            raw_ids=None if self.kind == "colors" else tuple(ids),
        )

    def part(self, pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
        """Parts training pairs, at least two, in those kept and those held out as `val`."""
        return held_out(pairs, self.root, self.val_share, self.val_seed)

    @cached_property
    def encoding(self) -> Encoding:
        """How the pixels of the masks are read."""
        if self.kind != "colors":
            return Encoding(self.kind)
        if isinstance(self.classes, str):
            table = [(color, index) for index, color in enumerate(self.labels.palette)]
        else:
            colors = [(entry.color, *entry.colors) for entry in self.classes]
            table = [(c, index) for index, several in enumerate(colors) for c in several if c]
        table += [(c, IGNORE_INDEX) for c in self.ignore if not isinstance(c, int)]
        return Encoding("colors", tuple(table), self.tolerance)


def write(description: Description, path: Path) -> None:
    """Writes a description.

    Raises:
        UserError: If the file cannot be written.
    """
    try:
        write_bytes(path, to_text(description, path.parent).encode())
    except UnicodeEncodeError as error:
        raise UserError(f"{path}: a name is not UTF-8; rename it") from error


def to_text(description: Description, folder: Path) -> str:
    """Returns the YAML text of a description that is to lie in `folder`."""
    d = description
    lines = ["# What bisenetv2 reads here. Edit it: it is never overwritten. Found at first sight:"]
    lines += [f"#   {note}" for note in d.notes]
    if d.root.resolve() != folder.resolve():
        lines.append(f"root: {_flow(str(d.root.resolve()))}")
    lines += [
        f"name: {_flow(d.name)}",
        f"licence: {_flow(d.licence)}",
        f"encoding: {d.kind}  # ids, colors, or instances (0: first class, all else: second)",
    ]
    if d.kind == "colors":
        lines.append(f"tolerance: {d.tolerance}  # largest difference of a channel, 0-255")
    what = "colours [r, g, b]" if d.kind == "colors" else "ids"
    lines += [f"ignore: {_flow(d.ignore)}  # {what} that are no class"]
    if isinstance(d.classes, str):
        lines.append(f"classes: {d.classes}")
    else:
        lines.append("classes:  # in the order of their indices; several ids may share a class")
        lines += [f"  - {_flow(_filled(asdict(entry)))}" for entry in d.classes]
    lines.append("splits:")
    lines += [f"  {name}: {_flow(_filled(asdict(s)))}" for name, s in d.splits.items()]
    if "val" not in d.splits:
        lines.append(f"val_share: {d.val_share}  # of train, held out by a hash of the names")
        lines.append(f"val_seed: {d.val_seed}  # another one holds out others")
    return "\n".join(lines) + "\n"


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in ("", (), None)}


def _flow(value: object) -> str:
    """Writes a value on one line; keys go without quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def read(path: Path) -> Description:
    """Reads a description.

    Raises:
        UserError: If the file is unreadable or something in it is unknown or does not fit.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that cannot be
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return _parse(content, path.parent)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


_KEYS = frozenset(
    (
        *("root", "name", "licence", "encoding", "tolerance", "ignore", "classes", "splits"),
        *("val_share", "val_seed"),
    )
)


def _parse(content: object, folder: Path) -> Description:
    if isinstance(content, dict) and "names" in content and "classes" not in content:
        raise UserError(
            "another tool's: it has `names`, not `classes`; rename it to have one written here"
        )
    fields = _fields(content, "the file", _KEYS)
    for key in ("classes", "splits"):
        if not fields.get(key):
            raise UserError(
                f"`{key}` is missing or empty; write it, or remove the file to have all written "
                "anew (pairs in folders of other names: list them in a pairs.csv)"
            )
    kind = fields.get("encoding", "ids")
    if kind not in get_args(Kind):
        raise UserError(f"encoding {kind!r}: take one of {', '.join(get_args(Kind))}")
    root = folder / str(fields.get("root") or ".")
    classes = fields["classes"]
    entries = classes if isinstance(classes, str) else tuple(map(_entry, _list(classes)))
    if isinstance(classes, str) and classes not in BUILTIN:
        raise UserError(f"classes {classes!r}: list them, or name one of {', '.join(BUILTIN)}")
    ignore = tuple(map(_id_or_color, _list(fields.get("ignore", []))))
    taken = [] if isinstance(entries, str) else [raw for entry in entries for raw in entry.ids]
    if kind == "ids" and IGNORE_INDEX not in (*ignore, *taken):
        ignore += (IGNORE_INDEX,)
    splits = {
        str(name): Source(**{k: _text(v, k) for k, v in _source(name, source).items()})
        for name, source in _fields(fields["splits"], "splits", None).items()
    }
    return Description(
        root=root,
        splits=splits,
        classes=entries,
        kind=kind,
        tolerance=_number(fields.get("tolerance", 0), "tolerance"),
        ignore=ignore,
        name=_text(fields.get("name") or root.resolve().name, "name"),
        licence=_text(fields.get("licence") or "unknown", "licence"),
        val_share=_share(fields.get("val_share", VAL_SHARE)),
        val_seed=_number(fields.get("val_seed", 0), "val_seed"),
    )


def _fields(content: object, what: str, known: frozenset[str] | None) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise UserError(f"{what} holds no `key: value` pairs")
    unknown = sorted(str(key) for key in content if known and key not in known)
    if unknown and known:
        raise UserError(f"unknown key {unknown[0]!r} in {what}: take {', '.join(sorted(known))}")
    return content


def _entry(content: object) -> ClassEntry:
    if not isinstance(content, dict):
        return ClassEntry(_text(content, "class"))
    fields = _fields(content, "a class", frozenset(("name", "id", "ids", "color", "colors")))
    if "name" not in fields:
        raise UserError(f"class {content} has no `name`")
    ids = fields.get("ids", fields.get("id", []))
    return ClassEntry(
        name=_text(fields["name"], "class"),
        ids=tuple(_number(raw, "id") for raw in (ids if isinstance(ids, list) else [ids])),
        color=None if fields.get("color") is None else _color(fields["color"]),
        colors=tuple(map(_color, _list(fields.get("colors", [])))),
    )


def _source(name: object, content: object) -> dict[str, Any]:
    known = frozenset(Source.__dataclass_fields__)
    fields = _fields(content, f"split {name}", known)
    if "list" not in fields and not ("images" in fields and "masks" in fields):
        raise UserError(f"split {name}: give `images` and `masks`, or a `list` of pairs")
    return fields


def _id_or_color(content: object) -> int | Color:
    return _color(content) if isinstance(content, list) else _number(content, "ignore")


def _color(content: object) -> Color:
    if isinstance(content, list) and len(content) == 3:
        red, green, blue = (_number(channel, "color") for channel in content)
        if max(red, green, blue) <= 255:
            return red, green, blue
    raise UserError(f"colour {content}: write [red, green, blue] with values of 0-255")


def _number(content: object, what: str) -> int:
    if isinstance(content, bool) or not isinstance(content, int) or content < 0:
        raise UserError(f"{what} {content!r}: write a whole number of 0 or more")
    return content


def _text(content: object, what: str) -> str:
    """Takes a text or a number; YAML reads `no`, `on` and an empty value as something else."""
    if isinstance(content, bool) or not isinstance(content, str | int | float):
        raise UserError(f"{what} {content!r}: put the text in quotes")
    return str(content)


def _share(content: object) -> float:
    if isinstance(content, bool) or not isinstance(content, int | float):
        raise UserError(f"val_share {content!r}: write a share above 0 and below 1")
    return float(content)


def _list(content: object) -> Sequence[object]:
    if not isinstance(content, list):
        raise UserError(f"{content!r}: write a list, [a, b]")
    return cast("Sequence[object]", content)
