"""Read Paddle's `.pdparams`: a pickled dict of NumPy arrays, of which nothing else is admitted.

Two passes. The first walks over the instructions without executing them and admits only those that
build numbers, strings, bytes, tuples, lists and dicts, and the few by which NumPy's pickles name
and fill an array. The second builds the values, with every name in the file resolved to a stand-in
of this module, so that neither NumPy nor anything else is called by a file. Arrays are built last,
from stand-ins whose shape, type and length agree.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from collections import OrderedDict
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

_VALUES = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 "
    "BINFLOAT SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT DICT SETITEM "
    "SETITEMS BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET"
)
_OBJECTS = "GLOBAL STACK_GLOBAL REDUCE BUILD"
_ADMITTED = frozenset(f"{_VALUES} {_OBJECTS}".split())
"""Instructions of pickle's protocols 2 to 4, which are those that Paddle writes."""

_NO_NEW_VALUE = ("PROTO", "MARK", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD")
"""Instructions that leave on top what was below."""

_TYPE = re.compile(r"[fiu][1248]|b1")
"""NumPy's codes of floats, integers and booleans."""


SHARED_TUPLES = 8
"""How often a file may put a tuple that stands in it once in a second place; Paddle never does.
Tuples of shared tuples take for ever to be hashed, which no signal interrupts."""


class CarriesCodeError(Exception):
    """The file asks for something other than arrays; the message names it."""


class _DamagedError(Exception):
    """The file is not what Paddle writes."""


def load_paddle(data: bytes) -> dict[Any, Any]:
    """Builds the dict that a `.pdparams` file holds.

    Args:
        data: The whole file.

    Returns:
        Arrays, and beside them plain values such as the table of parameter names.

    Raises:
        CarriesCodeError: If the file names anything but arrays and plain containers.
        Exception: If it is damaged: whatever `pickle` raises, which has no base class.
    """
    memo: dict[object, bool] = {}  # place, and whether a tuple lies there
    before, is_tuple, shared = "", False, 0
    for instruction, argument, _ in pickletools.genops(data):
        name = instruction.name
        if name not in _ADMITTED:
            raise CarriesCodeError(f"instruction {name}")
        if "PUT" in name and isinstance(argument, int) and argument > len(data):
            raise _DamagedError("a place in the memo beyond the file's length")
        if "PUT" in name or name == "MEMOIZE":
            if before in _NO_NEW_VALUE:  # or it would not be known what is put there
                raise _DamagedError("a place in the memo for nothing new")
            memo[len(memo) if argument is None else argument] = is_tuple
        elif name != "FRAME":  # which says how the bytes are parted
            is_tuple = memo.get(argument, False) if "GET" in name else "TUPLE" in name
        before = before if name == "FRAME" else name
        shared += "GET" in name and is_tuple
        if shared > SHARED_TUPLES:
            raise _DamagedError("tuples inside one another, again and again")
    content = _Unpickler(data).load()
    if not isinstance(content, dict):
        raise _DamagedError("no dict")
    total = 0
    arrays: dict[Any, Any] = {}
    for key, value in content.items():
        # One dict inside another is as far as wrapped files go; a pickle may contain itself.
        inner = value if isinstance(value, dict) else {}
        for array in (value, *inner.values()):
            total += len(array.raw) if isinstance(array, _Array) else 0
        if total > len(data):  # every array stands in the file once
            raise _DamagedError("arrays larger than the file")
        arrays[key] = {k: _built(v) for k, v in inner.items()} or _built(value)
    return arrays


def _built(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.build()
    return None if isinstance(value, dict) else value


class _Unpickler(pickle.Unpickler):
    """Resolves every name to a stand-in."""

    def __init__(self, data: bytes) -> None:
        super().__init__(BytesIO(data))
        self._encoded = len(data)  # bytes that may still come out of strings

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for `module.name`; called by `pickle` for each name in the file."""
        stand_ins = {
            "_codecs.encode": self._encode,
            "__builtin__.bytes": _no_bytes,
            "collections.OrderedDict": OrderedDict,
            "numpy.dtype": _Type,
            "numpy.ndarray": _Array,
            "numpy.core.multiarray._reconstruct": _new_array,
            "numpy._core.multiarray._reconstruct": _new_array,
        }
        full = f"{module}.{name}"
        if full not in stand_ins:
            raise CarriesCodeError(re.sub(r"[^\w.]", "?", full)[:80])
        return stand_ins[full]

    def _encode(self, text: str, encoding: str) -> bytes:
        """Bytes, which protocol 2 writes as a string in Latin-1."""
        self._encoded -= len(text)
        if encoding != "latin1" or self._encoded < 0:
            raise _DamagedError("bytes longer than the file, or not in Latin-1")
        return text.encode("latin1")


def _no_bytes() -> bytes:
    """Stands for `bytes`, as protocol 2 writes those of an empty array."""
    return b""


class _Type:
    """Stands for `numpy.dtype`: a code such as `f4`, then its byte order."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _TYPE.fullmatch(code):
            raise _DamagedError("an array that holds no numbers")
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order if order in ("<", ">") else "="


class _Array:
    """Stands for `numpy.ndarray`: what its pickle says of shape, type and bytes."""

    shape: tuple[int, ...] = ()
    type: _Type
    fortran = False
    raw = b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, raw = state
        sides = isinstance(shape, tuple) and len(shape) <= 8 and all(type(n) is int for n in shape)
        if not sides or not isinstance(kind, _Type) or not isinstance(raw, bytes):
            raise _DamagedError("not an array")
        size = int(kind.code[1:])
        if min(shape, default=1) < 0 or math.prod(shape) * size != len(raw):
            raise _DamagedError("an array of another size than its bytes")
        self.shape, self.type, self.fortran, self.raw = shape, kind, bool(fortran), raw

    def build(self) -> npt.NDArray[Any]:
        """Returns the array, writable and in this machine's byte order."""
        if not hasattr(self, "type"):
            raise _DamagedError("an array without content")
        kind = np.dtype(self.type.order + self.type.code)
        values = np.frombuffer(self.raw, kind)
        if self.fortran:
            values = values.reshape(self.shape[::-1]).transpose()
        return np.array(values.reshape(self.shape), kind.newbyteorder("="))


def _new_array(kind: object, *_: object) -> _Array:
    """Stands for NumPy's function that makes the empty array which is then filled."""
    if kind is not _Array:
        raise _DamagedError("not an array")
    return _Array()
