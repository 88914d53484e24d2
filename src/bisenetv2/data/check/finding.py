"""What `check` has to say about a data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

SHOWN = 3
"""Paths that a sentence names; `--json` has them all."""

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be."""

    severity: Severity
    """`error`: training stops at it or its figures would be false; `warning`: worth a look."""

    check: str
    """Short name of the check that found it."""

    sentence: str
    """What is wrong, with an example and the count."""

    remedy: str = ""
    """What to do; empty where the sentence says so."""

    paths: tuple[str, ...] = ()
    """Every file concerned."""

    @classmethod
    def of_files(
        cls, severity: Severity, check: str, what: str, paths: Iterable[Path], remedy: str
    ) -> Finding:
        """Words a finding on files: their number, what they are, the first of them."""
        names = tuple(map(str, paths))
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        sentence = f"{counted(len(names), what)}: {', '.join(names[:SHOWN])}{more}"
        return cls(severity, check, sentence, remedy, names)

    def __str__(self) -> str:
        """The one line that the user reads."""
        return f"{self.severity}: {self.sentence}" + (f"; {self.remedy}" if self.remedy else "")

    def to_json_object(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return {**asdict(self), "paths": list(self.paths)}


def counted(count: int, what: str) -> str:
    """Writes `1 mask` or `1,200 masks`; `{s}` and `{is}` in `what` become what the count asks."""
    text = what if "{s}" in what else what + "{s}"
    s, be = ("", "is") if count == 1 else ("s", "are")
    return f"{count:,} {text.replace('{s}', s).replace('{is}', be)}"
