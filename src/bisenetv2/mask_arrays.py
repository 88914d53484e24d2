"""Masks that are arrays rather than images: NumPy's files, and MATLAB's of COCO-Stuff 10k."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from bisenetv2.errors import UserError
from bisenetv2.files import read_bytes


def read_array(path: str | Path) -> npt.NDArray[np.integer]:
    """Reads a NumPy file: H×W or H×W×1 of whole numbers, or H×W×3 of `uint8`.

    Raises:
        UserError: If the file is missing or damaged, or holds something else.
    """
    try:
        array = np.load(BytesIO(read_bytes(path)), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise UserError(f"{path}: not a NumPy array of numbers, or a truncated one") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: several arrays (.npz); save one a file, with numpy.save")
    if not array.size:
        raise UserError(f"{path}: holds no pixel; export it anew, or remove it with its image")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2 and array.dtype.kind in "buif":
        return whole_numbers(path, array)
    if array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    raise UserError(
        f"{path}: an array of {array.dtype} {' × '.join(map(str, array.shape))}; "
        "a mask is height × width of class ids, or height × width × 3 of uint8 colours"
    )


def read_coco_stuff_mat(path: str | Path) -> npt.NDArray[np.integer]:
    """Reads a mask of COCO-Stuff 10k: its ids 1-182 become 0-181, its 0 becomes 255.

    Raises:
        UserError: If the file is missing, damaged or another one, or SciPy is not installed.
    """
    data = BytesIO(read_bytes(path))
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise UserError(f"{path}: reading .mat files needs scipy: pip install scipy") from error
    try:
        array = np.asarray(loadmat(data, variable_names=["S"])["S"])
    except Exception as error:  # on damaged files SciPy raises errors of many kinds
        raise UserError(f"{path}: not a .mat file of COCO-Stuff 10k, with ids in `S`") from error
    ids = whole_numbers(path, array)
    return np.where(ids == 0, 255, ids - 1).astype(np.int32)


def whole_numbers(path: str | Path, array: npt.NDArray[np.generic]) -> npt.NDArray[np.integer]:
    """Returns numbers that are whole as integers.

    Raises:
        UserError: If one is not; it begins with `path`.
    """
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if np.issubdtype(array.dtype, np.integer):
        return cast("npt.NDArray[np.integer]", array)
    with np.errstate(invalid="ignore"):  # what is no number becomes one that differs from it
        whole = array.astype(np.int64)
    if not np.array_equal(whole, array):
        raise UserError(f"{path}: holds fractions, not class ids; save whole numbers")
    return whole
