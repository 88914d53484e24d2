"""Read files, and write them whole or not at all; what fails names the path and the remedy."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bisenetv2.errors import UserError

TEMPORARY = ".bisenetv2-"
"""What the names of files begin with that are being written."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no room left."""


def read_bytes(path: str | Path) -> bytes:
    """Reads a file.

    Raises:
        UserError: If it cannot be read or is empty.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not data:
        raise UserError(f"{path}: an empty file; replace or remove it")
    return data


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turns what the system says against writing a file into the user's error."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from error


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; renames it to `path` when the block ends well.

    Creates the folder where it is missing. On an exception no file is left behind, and one that
    was at `path` stays as it was. A link stays one: what it leads to is replaced.

    Raises:
        UserError: If `path` cannot be written or is no regular file, or the block says that the
            disk is full.
    """
    target = _regular(path)
    with writing(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not with the target's own name in it: it might be longer than names may be.
        handle, name = tempfile.mkstemp(Path(path).suffix, TEMPORARY, target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno not in _FULL:  # what else fails in the block is not this file's fault
                raise
            with writing(path):
                raise
        with writing(path):
            temporary.chmod(0o644)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def held_folder(folder: Path, busy: str) -> Iterator[bool]:
    """Keeps a folder, made if missing, from other runs; however this one ends, it lets go.

    Args:
        folder: What to hold.
        busy: What to say where another run holds it, and the remedy.

    Yields:
        Whether it is held: Windows and some network disks lock no folders.

    Raises:
        UserError: If another run holds it, or it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield False
        return
    import fcntl

    with writing(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        held = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder}: {busy}") from error
        except OSError:  # a disk without locks is to be written to all the same
            held = False
        yield held
    finally:
        os.close(handle)


def check_writable(path: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Finds out before long work whether its result can be written.

    Args:
        path: File to write.
        inputs: Files and folders that are read: neither they nor what they hold is to be replaced,
            but for reports.

    Raises:
        UserError: If the path is a folder, no file can be made in its folder, or it is an input.
    """
    _regular(path)
    for source in inputs:
        ours, theirs = path.resolve(), Path(source).resolve()
        inside = ours.suffix.lower() != ".html" and ours.is_relative_to(theirs)
        if path.exists() and (ours == theirs or inside):
            raise UserError(f"{path}: is there, among what is read; name another file")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the file to write")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        UserError: If it cannot be written.
    """
    with atomic_path(path) as temporary, writing(path):
        temporary.write_bytes(data)


def _regular(path: str | Path) -> Path:
    """Follows links; refuses what could not be replaced by a file without harm, as a device."""
    try:
        target = Path(path).resolve()
        if target.exists() and not (target.is_file() or target.is_dir()):
            raise UserError(f"{path}: is a device or a pipe; name a file to write")
    except (OSError, RuntimeError) as error:  # a loop of links is the latter
        raise UserError(f"{path}: cannot be written ({error}); choose another place") from error
    return target
