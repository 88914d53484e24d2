"""Read the weights out of a checkpoint of another project, without running what it may carry.

Such files are pickles, and a pickle is a program. PyTorch's are read by PyTorch's own restricted
reader, Paddle's by `paddle_pickle`; nothing else in this product reads a pickle.
"""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from bisenetv2.errors import UserError
from bisenetv2.importing.paddle_pickle import CarriesCodeError, load_paddle

LARGEST = 2**30
"""Most bytes a file may have, packed or unpacked; the largest known one has about 110 MB."""

WRAPPERS = ("state_dict", "model")
"""Entries that hold the weights where a file holds more than those."""

_DEEPEST = 4
"""Wrappers opened, one inside the other; a pickle may contain itself."""


@dataclass(frozen=True)
class ForeignFile:
    """What a file holds."""

    path: Path

    tensors: Mapping[str, Tensor]
    """By the names of the project that wrote them; read-only, for they may share memory."""

    beside: tuple[str, ...]
    """Names of entries that are no weights: epochs, optimisers, notes."""

    sha256: str
    """Hash of the file, hexadecimal."""

    others: tuple[str, ...] = ()
    """Names of entries that hold weights too, which were not asked for."""

    entry: str = ""
    """Name of the entry that was asked for."""


def read_foreign(path: str | Path, entry: str | None = None) -> ForeignFile:
    """Reads the weights of another project's checkpoint.

    Args:
        path: `.pth`, `.pt`, `.bin` or `.ckpt` of PyTorch, `.pdparams` of Paddle, or
            `.safetensors`.
        entry: Name of the entry to take the weights from; `None`: the first of `WRAPPERS`, or all.

    Raises:
        UserError: If the file is missing, damaged or too large, carries code, or holds no weights,
            or none under that name.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; name a checkpoint (.pth, .pdparams, …)")
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise UserError(f"{path}: {size / 2**30:.1f} GiB; no file of this network is above 1")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        content = _load(path, data)
    except CarriesCodeError as error:
        raise UserError(
            f"{path}: refused, it carries code ({error}), which is never run; "
            "save its state dict alone, in the program that wrote it"
        ) from error
    tensors, beside, others = _weights(path, content, entry)
    if not tensors:
        raise UserError(f"{path}: holds no weights; name a file with a state dict")
    digest = hashlib.sha256(data).hexdigest()
    return ForeignFile(path, tensors, beside, digest, others, _name(entry or ""))


def _load(path: Path, data: bytes) -> object:
    """Turns the bytes into tensors and plain containers."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".pdparams":
            return _with_tensors(load_paddle(data))
        if suffix == ".safetensors":
            return load_safetensors(data)
        _check_archive(path, data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which are read all the same
            return torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except (CarriesCodeError, UserError):
        raise
    except SafetensorError as error:
        raise UserError(f"{path}: damaged or truncated .safetensors file ({error})") from error
    except Exception as error:  # arbitrary bytes raise exceptions without a common base class
        name = re.search(r"(?:GLOBAL|global|class) `?([\w.]+)", str(error))
        if "nsupported" in str(error) and name:
            raise CarriesCodeError(name[1]) from error
        raise UserError(
            f"{path}: damaged, truncated or no checkpoint ({type(error).__name__}); fetch it anew"
        ) from error


def _with_tensors(content: Mapping[Any, Any]) -> dict[Any, Any]:
    """Puts tensors in the place of arrays, in a dict and in the dicts that it holds."""
    return {
        key: torch.from_numpy(value)
        if isinstance(value, np.ndarray)
        else _with_tensors(value)
        if isinstance(value, dict)
        else value
        for key, value in content.items()
    }


def _check_archive(path: Path, data: bytes) -> None:
    """Refuses archives that are small here and huge in memory; PyTorch's are not compressed."""
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > len(data):
            raise UserError(f"{path}: a compressed archive, which PyTorch never writes; refused")


def _weights(
    path: Path, content: object, entry: str | None
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """Opens wrappers and flattens.

    Returns:
        Tensors by name, names of entries without weights, and of those with others.
    """
    beside: list[str] = []
    others: list[str] = []
    opened: list[str] = []
    for _ in range(_DEEPEST):
        known = WRAPPERS if entry is None else (entry, *WRAPPERS)
        wrapper = next((name for name in known if _holds_mapping(content, name)), None)
        if wrapper is None or not isinstance(content, Mapping):
            break
        for key, value in content.items():
            if key != wrapper:
                (others if _holds_weights(value) else beside).append(_name(key))
        content = content[wrapper]
        if wrapper == entry:
            entry = None
        opened.append(_name(wrapper))
    if entry is not None:
        inside = content.items() if isinstance(content, Mapping) else ()
        there = [*opened, *others, *(_name(key) for key, value in inside if _holds_weights(value))]
        raise UserError(
            f"{path}: no weights under the name {_name(entry)}; "
            + (f"there are {', '.join(there)}" if there else "leave --entry out")
        )
    tensors: list[tuple[str, Tensor]] = []
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if _is_plain(value):
            tensors.append((_name(key), value))
        elif isinstance(value, Mapping) and value and all(map(_is_plain, value.values())):
            # CoinCheung's trunk file: a dict for each part of the network.
            tensors += [(f"{_name(key)}.{_name(k)}", tensor) for k, tensor in value.items()]
        else:
            beside.append(_name(key))
    if len(dict(tensors)) < len(tensors):
        raise UserError(f"{path}: two tensors of one name; fetch it anew")
    return dict(tensors), tuple(beside), tuple(others)


def _name(key: object) -> str:
    """A key as it may be shown: one line, and nothing that a terminal obeys."""
    if not isinstance(key, str):
        return f"({type(key).__name__})"
    return "".join(c if c.isprintable() else "?" for c in key[:200])


def _holds_mapping(content: object, name: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(name), Mapping)


def _holds_weights(value: object) -> bool:
    """Whether an entry is weights, as they are or in a wrapper."""
    if not isinstance(value, Mapping):
        return False
    inner = next((value[name] for name in WRAPPERS if _holds_mapping(value, name)), value)
    return bool(inner) and all(map(_is_plain, inner.values()))


def _is_plain(value: Any) -> bool:
    """Whether this is a tensor with its values in memory: not sparse, quantised or a promise."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )
