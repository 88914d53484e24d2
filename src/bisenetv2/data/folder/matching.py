"""From folders or a list to pairs of image and mask."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bisenetv2.data.folder.lists import read_rows, split_named
from bisenetv2.errors import UserError
from bisenetv2.images import IMAGE_SUFFIXES, MASK_SUFFIXES

IMAGE_ENDINGS = ("", "_leftImg8bit", "_image", "_img", "_rgb", "_sat")
"""What names of images may carry that names of masks do not, the usual ones first."""

MASK_ENDINGS = (
    *("", "_mask", "_L", "_P", "_label", "_gtFine_labelIds", "_gtFine_labelTrainIds"),
    *("_gtFine_color", "_labels", "_masks", "_labelIds", "_labelTrainIds", "_seg", "_gt"),
    *("_segmentation", "_annotation", "_annotations", "_annot", "_color_mask", "_color"),
    *("_mask_color", "_lab", "_target", "_segmap", "_GT", "-mask", "-label", ".mask", ".label"),
    *(".jpg", ".JPG", ".jpeg", ".png", ".tif"),
)
"""What names of masks may carry that names of images do not, the usual ones first."""

Pair = tuple[Path, Path]


@dataclass(frozen=True)
class Source:
    """Where the pairs of a split come from; paths are relative to the data set's root."""

    images: str = ""
    """Folder of images."""

    masks: str = ""
    """Folder of masks; below it, files lie as the images do. Without, no image has one."""

    image_ending: str = ""
    mask_ending: str = ""
    """What comes after the common part of the names, before the file's suffix."""

    list: str = ""
    """Text or CSV file: a pair, or the name of an image, a line. Without, all of the folders."""

    rows: str = ""
    """Split that the rows have which belong here, in the list's column `split`; without, all
    rows."""

    without: str = ""
    """List of images that do not belong here: those of another split."""


@dataclass(frozen=True)
class Match:
    """What a source holds."""

    pairs: tuple[Pair, ...]
    """Image and mask, in the order of their names or of the list."""

    images_alone: tuple[Path, ...] = ()
    """Images without a mask."""

    masks_alone: tuple[Path, ...] = ()
    """Masks without an image."""

    def checked(self) -> tuple[Pair, ...]:
        """Returns the pairs.

        Raises:
            UserError: If an image has no mask or a mask no image.
        """
        for lonely, what, own in (
            (self.images_alone, "mask", "image"),
            (self.masks_alone, "image", "mask"),
        ):
            if lonely:
                more = f" (and {len(lonely) - 1} more like it)" if len(lonely) > 1 else ""
                raise UserError(
                    f"{lonely[0]}: this {own} has no {what}{more}; "
                    f"add the {what} or remove the {own}"
                )
        return self.pairs


def composed(name: str) -> str:
    """Writes é as one character: some systems make two of it in the names of files."""
    return unicodedata.normalize("NFC", name)


def existing(path: Path) -> Path | None:
    """Returns the path of a file that exists; `None` for one that does not or cannot."""
    try:
        return path if path.is_file() else None
    except (OSError, ValueError):  # a name too long, or with a zero in it
        return None


def walk(folder: Path) -> list[Path]:
    """Lists the files of a folder and its subfolders in order, also of linked ones.

    Hidden files are passed over, and so are subfolders that may not be entered. What several links
    lead to is listed once, where there is no link if it can be.

    Raises:
        OSError: If the folder itself may not be entered.
    """
    files: list[Path] = []
    seen: set[str] = set()
    ahead, links = [folder], list[Path]()
    while ahead or links:
        place = ahead.pop() if ahead else links.pop(0)
        real = os.path.realpath(place)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            if place == folder:
                raise
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not _is_folder(entry):
                files.append(Path(entry.path))
            else:
                (links if entry.is_symlink() else ahead).append(Path(entry.path))
    return sorted(files, key=lambda path: path.parts)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def files_of(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Lists the files that `walk` finds and that end in one of some suffixes.

    Raises:
        UserError: If the folder is missing.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; put files there or correct dataset.yaml")
    return [path for path in walk(folder) if path.suffix.lower() in suffixes]


def files_below(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Lists the same files by their path in the folder, composed, without suffix.

    Raises:
        UserError: If the folder is missing or two files differ in their suffix alone.
    """
    found: dict[str, Path] = {}
    for path in files_of(folder, suffixes):
        key = composed(path.relative_to(folder).with_suffix("").as_posix())
        if key in found:
            raise UserError(f"{path}: same name as {found[key].name}; keep one of them")
        found[key] = path
    return found


def match_folders(root: Path, source: Source) -> Match:
    """Pairs all images of a folder with their masks by name."""
    if not source.masks:  # names do not matter
        return Match((), tuple(files_of(root / source.images, IMAGE_SUFFIXES)))
    masks = files_below(root / source.masks, MASK_SUFFIXES)
    images = files_below(root / source.images, IMAGE_SUFFIXES)
    folder = root / source.masks
    together = (root / source.images).resolve() == folder.resolve()
    if together:
        images = {k: p for k, p in images.items() if not k.endswith(source.mask_ending)}
    masks = {k: p for k, p in masks.items() if k.endswith(source.mask_ending)}
    pairs, alone, stems = [], [], set()
    for key, image in images.items():
        stem = key.removesuffix(source.image_ending)
        stems.add(stem)
        mask = masks.pop(stem + source.mask_ending, None)
        if mask is None and not together:  # or are those of other images linked for these?
            places = (folder / f"{stem}{source.mask_ending}{suffix}" for suffix in MASK_SUFFIXES)
            mask = next(filter(None, map(existing, places)), None)
        if mask is None:
            alone.append(image)
        else:
            pairs.append((image, mask))
    # A second rendering of a mask beside it, say `a_color.png` beside `a.png`, is not alone.
    others = [
        path
        for key, path in masks.items()
        if not any(key.endswith(e) and key.removesuffix(e) in stems for e in MASK_ENDINGS if e)
    ]
    return Match(tuple(pairs), tuple(alone), tuple(others))


def find_endings(
    images: Iterable[str], masks: Iterable[str], *, together: bool = False
) -> tuple[str, str] | None:
    """Finds what the names of images and masks end in, by most pairs; `None` if none pairs.

    Args:
        images: Names of images without suffix; of many, a part is looked at.
        masks: Names of masks without suffix.
        together: Whether both lie in one folder, so that masks need an ending.
    """
    names = sorted(images)
    some = names[:: len(names) // 500 + 1]
    known = set(masks)
    best, most = None, 0
    for image_ending in IMAGE_ENDINGS:
        stems = [key.removesuffix(image_ending) for key in some if key.endswith(image_ending)]
        for mask_ending in MASK_ENDINGS:
            if together and not mask_ending:
                continue
            count = sum(stem + mask_ending in known for stem in stems)
            if count > most:
                best, most = (image_ending, mask_ending), count
    return best


def match_list(root: Path, source: Source) -> Match:
    """Reads the pairs of a list.

    A row of two names gives image and mask, relative to the list's folder or the root; a row of one
    gives an image of `source.images`, with or without its suffix.

    Raises:
        UserError: If the list is unreadable or empty, or a file it names is missing.
    """
    path = root / source.list
    wanted = split_named(source.rows) or source.rows
    rows = [row for row in read_rows(path) if not wanted or row[2] == wanted]
    if not rows:
        what = f"no row of split {source.rows!r}" if source.rows else "no row"
        raise UserError(f"{path}: holds {what}; list an image and its mask a line")
    if any(row[1] for row in rows):
        pairs = [
            (_listed(path, root, image, line), _listed(path, root, mask, line))
            for image, mask, _, line in rows
        ]
        return Match(tuple(pairs))
    if not source.images:
        raise UserError(
            f"{path}: names no mask; list an image and its mask a line, or put images in "
            f"{root / 'images'} and masks in {root / 'masks'}"
        )
    whole = match_folders(root, source)
    folder = root / source.images
    mask_of: dict[Path, Path | None] = dict(whole.pairs)
    mask_of.update(dict.fromkeys(whole.images_alone))
    by_path: dict[str, list[Path]] = {}
    by_name: dict[str, list[Path]] = {}
    for image in mask_of:
        key = Path(composed(str(image.relative_to(folder).with_suffix(""))))
        tails = ["/".join(key.parts[start:]) for start in range(max(1, len(key.parts) - 1))]
        for name in {*tails, *(tail.removesuffix(source.image_ending) for tail in tails)}:
            by_path.setdefault(name, []).append(image)
        for name in {key.name, key.name.removesuffix(source.image_ending)}:
            by_name.setdefault(name, []).append(image)
    chosen, alone = [], []
    for name, _, _, line in rows:
        listed = Path(composed(name))
        if listed.suffix.lower() in IMAGE_SUFFIXES:
            listed = listed.with_suffix("")
        # A path may start above or below the folder; its last part alone may be another clip's.
        ends = ["/".join(listed.parts[start:]) for start in range(len(listed.parts))]
        found = next((by_path[end] for end in ends if end in by_path), [])
        if len(ends) == 1:
            found = found or by_name.get(listed.name, [])
        if len(found) != 1:
            what = f"{len(found)} images are called" if found else "no image is called"
            raise UserError(f"{path}: line {line}: {what} {name} in {folder}; correct the list")
        mask = mask_of[found[0]]
        if mask is None:
            alone.append(found[0])
        else:
            chosen.append((found[0], mask))
    return Match(tuple(chosen), tuple(alone))


def _listed(path: Path, root: Path, name: str, line: int) -> Path:
    for place in (name, name.lstrip("/")):  # a list may start its paths at its own root
        for folder in (path.parent, root):
            if place and (found := existing(folder / place)):
                return found
    raise UserError(f"{path}: line {line}: no file {name} beside the list; correct the path")


def match(root: Path, source: Source) -> Match:
    """Finds the pairs of a source.

    Raises:
        UserError: If a folder, the list or a file it names is missing.
    """
    found = match_list(root, source) if source.list else match_folders(root, source)
    if not source.without:
        return found
    others = match_list(root, replace(source, list=source.without, rows=""))
    # A list may spell a path in another way.
    out = {os.path.realpath(image) for image in (*dict(others.pairs), *others.images_alone)}
    return replace(
        found,
        pairs=tuple(pair for pair in found.pairs if os.path.realpath(pair[0]) not in out),
        images_alone=tuple(i for i in found.images_alone if os.path.realpath(i) not in out),
    )
