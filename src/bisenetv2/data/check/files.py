"""Lists what a data set holds for `check`: pairs, and what has no partner, split by split.

Opening a dataset stops at the first mistake; this goes on and reports each as a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from bisenetv2.builtin_labels import BUILTIN, CAMVID_COLORS
from bisenetv2.data.camvid import LABEL_ENDING, STILLS, frames_of
from bisenetv2.data.catalogue import STREETS, recognise
from bisenetv2.data.check.finding import Finding
from bisenetv2.data.dataset import Dataset, DatasetView
from bisenetv2.data.encodings import Encoding, single_channel
from bisenetv2.data.folder import dataset_yaml
from bisenetv2.data.folder.class_files import find_classes
from bisenetv2.data.folder.dataset_yaml import Description
from bisenetv2.data.folder.infer import infer
from bisenetv2.data.folder.layout import find_in_list, find_splits, passed_over
from bisenetv2.data.folder.matching import Match, Pair, Source, match
from bisenetv2.data.folder.split import infer_description, leave_out_withheld, yaml_places
from bisenetv2.data.folder.survey import survey
from bisenetv2.data.pairs import IDS, PairedFiles
from bisenetv2.data.public import Layout
from bisenetv2.errors import UserError
from bisenetv2.images import read_mask
from bisenetv2.labels import CAMVID, Labels
from bisenetv2.progress import progress_bar

MOST_ODD = 0.1
"""Masks in colours for each one of ids up to which they are taken for mistakes."""

_UNKNOWN = (dataset_yaml.ClassEntry("unknown"),)


@dataclass(frozen=True)
class Listing:
    """What there is to check; listing reads no pixel of a described data set."""

    name: str
    root: Path | None
    """Folder that holds it all, as far as that is known."""

    splits: dict[str, Match]
    labels: Labels | None
    """`None` where the masks could not be understood: their values are not checked."""

    encoding: Encoding = IDS
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """How the masks are read, where nothing but themselves told."""

    held_out: bool = False
    """Whether `val` is a share of the training pairs, chosen by a hash."""

    @property
    def count(self) -> int:
        """Pairs in all splits."""
        return sum(len(part.pairs) for part in self.splits.values())

    def files_called(self, name: str) -> list[Path]:
        """Returns images and masks of that name, in whichever folder."""
        whole = join(list(self.splits.values()))
        files = (*chain(*whole.pairs), *whole.images_alone, *whole.masks_alone)
        return [path for path in files if path.name == name]


def list_files(data: str | Path) -> Listing:
    """Lists a data set, whichever kind it is; writes nothing.

    Args:
        data: What `open_dataset` takes, but for rendered streets.

    Raises:
        UserError: If there is no such folder, or nothing in it looks like images with masks.
    """
    if str(data) == STREETS:
        raise UserError(f"{STREETS}: rendered on demand, there are no files to check")
    kind, root, layout = recognise(data)
    if layout is not None:
        return _public(layout, root)
    return {"stills": _stills, "camvid": _camvid}.get(kind, _described)(root)


def listing_of(dataset: Dataset) -> Listing | None:
    """Lists an opened dataset; `None` if it reads no files, as rendered streets."""
    while isinstance(dataset, DatasetView):
        dataset = dataset.dataset
    if not isinstance(dataset, PairedFiles):
        return None
    labels = dataset.file_labels or dataset.labels
    splits = {dataset.name: Match(dataset.files)}
    return Listing(dataset.name, None, splits, labels, dataset.encoding)


class _Splits:
    """Collects splits and what went wrong with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.splits: dict[str, Match] = {}
        self.findings: list[Finding] = []
        self._seen: set[Source] = set()

    def add(self, name: str, source: Source, need: Sequence[str] = ()) -> None:
        """Adds what a source holds to a split; `test` that is `val` by another name is no split."""
        if source in self._seen:
            return
        self._seen.add(source)
        try:
            for folder in need:
                if not (self.root / folder).exists():
                    raise UserError(f"{self.root / folder}: missing; unpack or put it there")
            found = match(self.root, source)
        except UserError as error:
            self.findings.append(Finding("error", "layout", str(error)))
            return
        self.splits[name] = join([self.splits[name], found] if name in self.splits else [found])


def join(parts: Sequence[Match]) -> Match:
    """Joins what several sources hold."""
    pairs, images, masks = (
        tuple(item for part in parts for item in getattr(part, name))
        for name in ("pairs", "images_alone", "masks_alone")
    )
    return Match(pairs, images, masks)


def _camvid(root: Path) -> Listing:
    found = _Splits(root)
    for split in ("train", "val", "test"):
        folders = split, f"{split}annot"
        if any((root / folder).is_dir() for folder in folders):
            found.add(split, Source(*folders), folders)
    return Listing("CamVid", root, found.splits, CAMVID, findings=tuple(found.findings))


def _stills(root: Path) -> Listing:
    found = _Splits(root)
    for folders in STILLS:
        if any((root / folder).is_dir() for folder in folders):
            found.add("all", Source(*folders, mask_ending=LABEL_ENDING), folders)
    everything = found.splits.get("all", Match(()))
    parts = {split: frames_of(split, everything) for split in ("train", "val", "test")}
    splits = {split: part for split, part in parts.items() if part != Match(())}
    encoding = Encoding("colors", CAMVID_COLORS)
    return Listing("CamVid", root, splits, CAMVID, encoding, tuple(found.findings))


def _public(layout: Layout, root: Path) -> Listing:
    """Lists the splits that are there; whoever unpacked but one archive of a split is told."""
    found, kind = _Splits(root), layout.kinds[0]
    for name, part in layout.splits.items():
        source, own_kind = layout.source(root, name)
        need = [place for place in (source.images, source.masks, source.list) if place]
        if name == "trainval" or not any((root / place).exists() for place in need):
            continue
        if not found.splits:  # all splits come with the same kinds of masks
            kind = own_kind
        found.add(name, replace(source, mask_ending=kind.ending.rpartition(".")[0]), need)
        count = len(found.splits.get(name, Match(())).pairs)
        if name in found.splits and count != part.count:
            told = f"{name} holds {count} pairs, {layout.name} has {part.count} there"
            archives = " and ".join(dict.fromkeys(layout.archives))
            found.findings.append(
                Finding("warning", "layout", told, f"for the whole split unpack {archives}")
            )
    labels = kind.labels or BUILTIN[layout.key]
    return Listing(layout.name, root, found.splits, labels, kind.encoding, tuple(found.findings))


def _described(data: Path) -> Listing:
    described, findings = _description(data)
    found = _Splits(described.root)
    for name, source in described.splits.items():
        if name != "trainval" or "train" not in described.splits:
            found.add(name, source)
    splits = found.splits
    parted = "val" not in described.splits and len(splits.get("train", Match(())).pairs) > 1
    if parted:
        train = splits["train"]
        kept, out = described.part(train.pairs)
        splits["train"] = replace(train, pairs=tuple(kept))
        splits["val"] = Match(tuple(out))
    return Listing(
        described.name,
        described.root,
        splits,
        None if described.classes is _UNKNOWN else described.labels,
        described.encoding,
        (*findings, *found.findings),
        described.notes,
        parted,
    )


def _unlisted(described: Description, place: Path) -> Iterator[Finding]:
    """Splits that have come into a folder since it was described in the file `place`."""
    try:
        found = find_splits(described.root)
        there = [split for split in found if match(described.root, found[split]).pairs]
    except UserError:  # what was described need not lie as what is found without a description
        return
    known = {(source.images, source.list) for source in described.splits.values()}
    for split in there:
        source = found[split]
        if split not in described.splits and (source.images, source.list) not in known:
            told = f"{split} ({source.list or source.images}) is not in {place}"
            remedy = "add it there, or remove that file to have it written anew"
            yield Finding("warning", "layout", told, remedy)


def _description(data: Path) -> tuple[Description, list[Finding]]:
    """Reads a description or infers it, from the readable masks if others are damaged."""
    is_yaml = data.suffix.lower() in (".yaml", ".yml")
    for place in (data,) if is_yaml else yaml_places(data):
        if place.is_file():
            described = dataset_yaml.read(place)
            return described, list(_unlisted(described, place))
    try:
        return infer_description(data), []
    except UserError:
        return _infer_from_readable(data)


def _infer_from_readable(data: Path) -> tuple[Description, list[Finding]]:
    root = data.parent if data.is_file() else data
    splits = find_in_list(root, data) if data.is_file() else find_splits(root)
    found = _Splits(root)
    for split, source in splits.items():
        found.add(split, source)
    left = passed_over(root) if data.is_dir() else []
    left += leave_out_withheld(splits, found.splits)
    masks = sorted({mask for part in found.splits.values() for _, mask in part.pairs})
    name = data.resolve().stem if data.is_file() else data.resolve().name
    unknown = Description(root, splits, _UNKNOWN, name=name)
    if not masks and found.findings:  # which say why
        return unknown, []
    try:
        file, named = find_classes(root) or (None, [])
        with progress_bar("look at whole masks", 2 * len(masks)) as bar:
            whole = _readable(masks, bar.advance)
            if not whole:
                raise UserError(f"{data}: no mask can be read; export them anew")
            inferred = infer(survey(whole, bar.advance), named, file)
        notes = (*left, *inferred.notes)
        return replace(inferred, root=root, splits=splits, name=name, notes=notes), []
    except UserError as error:
        return unknown, [Finding("error", "encoding", str(error))]


def _readable(masks: Sequence[Path], progress: Callable[[], None]) -> list[Path]:
    """Leaves out damaged masks, and those few in colours where nearly all hold ids."""
    kinds = []
    with ThreadPoolExecutor() as pool:
        for kind in pool.map(_holds_colors, masks):
            kinds.append(kind)
            progress()
    colored = kinds.count(True)
    few = colored < MOST_ODD * kinds.count(False)
    return [m for m, k in zip(masks, kinds, strict=True) if k is False or (k and not few)]


def _holds_colors(path: Path) -> bool | None:
    """Whether a mask holds colours; `None` if it cannot be read."""
    try:
        return single_channel(read_mask(path)) is None
    except UserError:
        return None


def all_pairs(listing: Listing) -> list[tuple[str, Pair]]:
    """Returns each pair with its split."""
    return [(split, pair) for split, part in listing.splits.items() for pair in part.pairs]
