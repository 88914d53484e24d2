"""Parts training pairs in those to train on and those to validate on, where nothing says which."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from bisenetv2.data.folder.matching import Pair

_SEEDS = 20


def held_out(
    pairs: Sequence[Pair], root: Path, share: float, seed: int = 0
) -> tuple[list[Pair], list[Pair]]:
    """Parts pairs in those kept and those held out, the same way on every machine.

    Those are held out whose image's path has the smallest hashes, so that a pair added later moves
    few others.

    Args:
        pairs: At least two.
        root: Folder the paths are seen from.
        share: Share to hold out, 0 to 1; at least one pair is, and at least one is kept.
        seed: Chooses the hashes.
    """
    salt = f"{seed}:".encode() if seed else b""
    count = min(max(round(share * len(pairs)), 1), len(pairs) - 1)
    ranks = [hashlib.sha256(salt + name).digest() for name in _names(pairs, root)]
    out = set(sorted(range(len(pairs)), key=ranks.__getitem__)[:count])
    return (
        [pair for place, pair in enumerate(pairs) if place not in out],
        [pair for place, pair in enumerate(pairs) if place in out],
    )


def _names(pairs: Sequence[Pair], root: Path) -> list[bytes]:
    names = (i.relative_to(root) if i.is_relative_to(root) else i for i, _ in pairs)
    return [os.fsencode(name.with_suffix("").as_posix()) for name in names]


def fair_seed(
    pairs: Sequence[Pair], root: Path, share: float, holds: Mapping[Path, Set[int]]
) -> int:
    """Finds a seed of `held_out` by which every class lies in both parts.

    Args:
        pairs: At least two.
        root: Folder the paths are seen from.
        share: Share to hold out.
        holds: Values in each mask that mean a class.

    Returns:
        The first such seed; if none of those tried is one, the first that leaves fewest values out
        of what is trained on and, among these, out of what is held out.
    """
    best, least = 0, None
    for seed in range(_SEEDS):
        kept, out = held_out(pairs, root, share, seed)
        train, val = (set().union(*(holds[mask] for _, mask in part)) for part in (kept, out))
        lost = len(val - train), len(train - val)
        if least is None or lost < least:
            best, least = seed, lost
        if least == (0, 0):
            break
    return best
