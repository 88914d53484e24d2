"""Masks of a video as a folder of PNG."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from bisenetv2.errors import UserError
from bisenetv2.files import TEMPORARY, held_folder, write_bytes
from bisenetv2.images import write_mask
from bisenetv2.inference.video.frames import Frame
from bisenetv2.inference.video.writers import Writer, named
from bisenetv2.labels import Mask

_MASK = re.compile(r"\d{6,}\.png").fullmatch


@contextmanager
def mask_folder_writer(folder: Path) -> Iterator[Writer]:
    """Writes masks as `000000.png`, `000001.png`, …, and their times to `times.csv`.

    They are there when the block ends well, in place of those of an earlier run, which its
    `times.csv` lists.

    Raises:
        UserError: If a file cannot be written or is gone at the end, another run writes there, or
            masks are there that no run has listed.
    """
    made = not folder.exists()
    busy = "another run writes its masks there; wait for it, or choose another --output"
    with held_folder(folder, busy) as held:
        try:
            with _mask_writer(folder, held) as writer:
                yield writer
        finally:
            if made:
                with suppress(OSError):  # of a run that failed: it holds nothing
                    folder.rmdir()


@contextmanager
def _mask_writer(folder: Path, held: bool) -> Iterator[Writer]:
    with named(folder):
        old = _listed_masks(folder)
        foreign = sorted({path.name for path in folder.glob("*.png") if _MASK(path.name)} - old)
        if foreign:
            raise UserError(
                f"{folder}: holds {foreign[0]}, which is in no times.csv of an earlier run; "
                "move it away or choose another --output"
            )
        for killed in folder.glob(f"{TEMPORARY}*") if held else ():
            rmtree(killed, ignore_errors=True)
        temporary = Path(mkdtemp(prefix=TEMPORARY, dir=folder))
    times = ["file,seconds"]

    def write(frame: Frame, mask: Mask) -> None:
        name = f"{len(times) - 1:06d}.png"
        try:
            write_mask(temporary / name, mask)
        except UserError as error:
            raise UserError(str(error).replace(str(temporary), str(folder))) from error
        times.append(f"{name},{frame.seconds:.6f}")

    try:
        yield Writer(write)
        new = {path.name for path in temporary.glob("*.png")}
        if len(new) != len(times) - 1:
            raise UserError(
                f"{folder}: {len(times) - 1 - len(new)} of {len(times) - 1} masks were removed "
                "while the others were made; leave the folder alone and run it again"
            )
        # In this order, whenever it is killed, what is there is listed.
        with named(folder):
            for name in old - new:
                (folder / name).unlink(missing_ok=True)
        write_bytes(folder / "times.csv", "\n".join([*times, ""]).encode())
        with named(folder):
            for name in new:
                (temporary / name).replace(folder / name)
    finally:
        rmtree(temporary, ignore_errors=True)


def _listed_masks(folder: Path) -> set[str]:
    """Names of the masks that an earlier run listed."""
    try:
        lines = (folder / "times.csv").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return set()
    return {name for line in lines if _MASK(name := line.partition(",")[0])}
