"""What `check` has to say about a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SHOWN = 3
"""Paths that a sentence names; `--json` has them all."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be."""

    severity: Literal["error", "warning"]
    """`error`: training stops at it or its figures would be false; `warning`: worth a look."""

    check: str
    """Short name of the check that found it."""

    sentence: str
    """What is wrong, with an example and the count."""

    remedy: str = ""
    """What to do; empty where the sentence says so."""

    paths: tuple[str, ...] = ()
    """Every file concerned."""

    def __str__(self) -> str:
        """The one line that the user reads."""
        return f"{self.severity}: {self.sentence}" + (f"; {self.remedy}" if self.remedy else "")

    def to_json_object(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return {
            "severity": self.severity,
            "check": self.check,
            "sentence": self.sentence,
            "remedy": self.remedy,
            "count": len(self.paths),
            "paths": list(self.paths),
        }


def counted(count: int, what: str) -> str:
    """Writes `1 mask` or `1,200 masks`; `{s}` and `{is}` in `what` become what the count asks."""
    text = what if "{s}" in what else what + "{s}"
    s, be = ("", "is") if count == 1 else ("s", "are")
    return f"{count:,} {text.replace('{s}', s).replace('{is}', be)}"


def examples(paths: Sequence[Path | str]) -> str:
    """Names the first paths and how many more there are."""
    more = f" and {len(paths) - SHOWN:,} more" if len(paths) > SHOWN else ""
    return ", ".join(str(path) for path in paths[:SHOWN]) + more
