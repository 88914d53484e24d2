"""Read a model file's card without the packages that run it.

A model file may come from anywhere, so it is read as untrusted input: only the few bytes that hold
the card are ever loaded, and every length is checked against what is left of the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import BinaryIO

from bisenetv2.card import METADATA_KEY, ModelCard
from bisenetv2.errors import UserError

MODEL_SUFFIXES = (".onnx", ".safetensors")
"""File name endings of models: exported model files and checkpoints."""

EMBEDDED_MODELS = {"camvid": "bisenetv2_camvid_int8.onnx", "camvid-fp32": "bisenetv2_camvid.onnx"}
"""Models inside the package, by the name a user gives; the first is taken where none is given."""

HEADER_LIMIT = 16 * 2**20
"""Most bytes of metadata that are read into memory."""

# Fields of ONNX's protobuf messages, and protobuf's wire types.
GRAPH_FIELD, METADATA_FIELD = 7, 14
KEY_FIELD, VALUE_FIELD = 1, 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class _DamagedFileError(Exception):
    """The bytes are not what the format prescribes."""


def find_model(model: str | Path | None = None) -> Path:
    """Finds the file of a model.

    Args:
        model: Path of a model file or checkpoint, the name of an embedded model, or `None` for the
            embedded model. A file of that name comes first.

    Raises:
        UserError: If it is the name of neither, or this installation lacks the embedded model.
    """
    name = next(iter(EMBEDDED_MODELS)) if model is None else str(model)
    if model is not None and (name not in EMBEDDED_MODELS or Path(name).is_file()):
        path = Path(name)
        if not path.suffix and not path.exists():
            names = ", ".join(EMBEDDED_MODELS)
            raise UserError(f"{name}: no such file, and no embedded model; these are {names}")
        return path
    path = Path(str(resources.files("bisenetv2.inference") / "models" / EMBEDDED_MODELS[name]))
    if not path.is_file():
        raise UserError(
            f"{path}: the embedded model is missing; reinstall bisenetv2 or name a model"
        )
    return path


def read_card(path: str | Path) -> ModelCard:
    """Reads the card of a model file (`.onnx`) or a checkpoint (`.safetensors`).

    Raises:
        UserError: If the file is missing, damaged, of another kind or of another program.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the model file in it")
    if suffix not in MODEL_SUFFIXES:
        raise UserError(
            f"{path}: not a model; expected a name ending in .onnx or .safetensors "
            "(`bisenetv2 import` brings in .pth and .pdparams)"
        )
    try:
        with path.open("rb") as file:
            text = _onnx_metadata(file) if suffix == ".onnx" else _safetensors_metadata(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (_DamagedFileError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged or truncated model file") from error
    if text is None:
        verb = "export" if suffix == ".onnx" else "train"
        raise UserError(f"{path}: was not written by `bisenetv2 {verb}`, which adds class names")
    try:
        return ModelCard.from_json(text)
    except (UserError, RecursionError, OverflowError) as error:
        raise UserError(f"{path}: {error}") from error


def _onnx_metadata(file: BinaryIO) -> str | None:
    """Finds the card's text among the top-level fields of a serialised ONNX `ModelProto`."""
    text, has_graph = None, False
    for field, length in _fields(file, _size(file)):
        if field == GRAPH_FIELD:
            has_graph = True
        if field == METADATA_FIELD:
            key, value = _metadata_entry(file, length)
            text = value.decode() if key == METADATA_KEY.encode() else text
    if not has_graph:
        raise _DamagedFileError
    return text


def _metadata_entry(file: BinaryIO, length: int) -> tuple[bytes, bytes]:
    """Reads a `StringStringEntryProto` of `length` bytes from the file's position on."""
    if length > HEADER_LIMIT:
        raise _DamagedFileError
    parts = {KEY_FIELD: b"", VALUE_FIELD: b""}
    for field, size in _fields(file, file.tell() + length):
        if field in parts:
            parts[field] = _read(file, size)
    return parts[KEY_FIELD], parts[VALUE_FIELD]


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Yields number and length of each field up to `end`, the file standing at its content.

    Fields of fixed size and varints are passed over and yield nothing. What the caller does not
    read of a field is skipped.
    """
    while file.tell() < end:
        tag = _varint(file)
        wire_type = tag & 7
        if wire_type == VARINT:
            _varint(file)
            continue
        fixed = {FIXED64: 8, FIXED32: 4}.get(wire_type)
        if fixed is None and wire_type != BYTES:
            raise _DamagedFileError
        length = _varint(file) if fixed is None else fixed
        after = file.tell() + length
        if after > end:
            raise _DamagedFileError
        if fixed is None:
            yield tag >> 3, length
        file.seek(after)
    if file.tell() != end:
        raise _DamagedFileError


def _varint(file: BinaryIO) -> int:
    """Reads protobuf's base-128 integer of at most 64 bits."""
    value = 0
    for shift in range(0, 70, 7):
        (byte,) = _read(file, 1)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise _DamagedFileError


def _safetensors_metadata(file: BinaryIO) -> str | None:
    """Finds the card's text in the JSON header of a safetensors file."""
    length = int.from_bytes(_read(file, 8), "little")
    if length > min(HEADER_LIMIT, _size(file) - 8):
        raise _DamagedFileError
    try:
        header = json.loads(_read(file, length))
    except (ValueError, RecursionError) as error:
        raise _DamagedFileError from error
    if not isinstance(header, dict):
        raise _DamagedFileError
    metadata = header.get("__metadata__")
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    return text if isinstance(text, str) else None


def _read(file: BinaryIO, length: int) -> bytes:
    """Reads exactly `length` bytes."""
    content = file.read(length)
    if len(content) != length:
        raise _DamagedFileError
    return content


def _size(file: BinaryIO) -> int:
    """Returns the length of the open file in bytes."""
    return os.fstat(file.fileno()).st_size
