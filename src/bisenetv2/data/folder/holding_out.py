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

    def rank(pair: Pair) -> str:
        image = pair[0]
        name = image.relative_to(root) if image.is_relative_to(root) else image
        return hashlib.sha256(salt + os.fsencode(name.with_suffix("").as_posix())).hexdigest()

    count = min(max(round(share * len(pairs)), 1), len(pairs) - 1)
    out = set(sorted(pairs, key=rank)[:count])
    return [p for p in pairs if p not in out], [p for p in pairs if p in out]


def fair_seed(
    pairs: Sequence[Pair], root: Path, share: float, holds: Mapping[Path, Set[int]]
) -> int:
    """Finds the seed of `held_out` that parts the pairs best: every value lies in both parts.

    Args:
        pairs: At least two.
        root: Folder the paths are seen from.
        share: Share to hold out.
        holds: Values in each mask.

    Returns:
        Of the seeds tried, the one that leaves fewest values out of what is trained on, then of
        what is held out, then the smallest.
    """

    def lost(seed: int) -> tuple[int, int]:
        kept, out = held_out(pairs, root, share, seed)
        train, val = (set().union(*(holds.get(m, ()) for _, m in part)) for part in (kept, out))
        return len(val - train), len(train - val)

    return min(range(_SEEDS), key=lost)
