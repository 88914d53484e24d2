"""A progress bar on stderr for long work, and sparse plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_INTERVAL = 30.0
"""Seconds between two lines where stderr is no terminal, so that a log stays short."""


class ProgressBar:
    """What a long-running loop tells about its work; this one shows nothing."""

    def advance(self, steps: int = 1, text: str | None = None) -> None:
        """Reports items done since the last call; `text` replaces the free text of the bar."""

    def start_at(self, steps: int) -> None:
        """Tells how many items earlier work has done; the rate counts from here."""


@contextmanager
def progress_bar(
    description: str, total: int | None, enabled: bool = True
) -> Iterator[ProgressBar]:
    """Shows bar, count, items per second, time left and a free text while its block runs.

    A terminal or a reader that goes away meanwhile does no harm to the work.

    Args:
        description: What is being done, one or two words.
        total: Number of items; `None` if unknown, as for a camera.
        enabled: Whether to show anything at all.
    """
    if not enabled:
        yield ProgressBar()
    elif not sys.stderr.isatty():
        yield _PlainLines(description, total)
    else:
        progress = _rich_progress()
        progress.start()
        try:
            yield _RichBar(progress, description, total)
        finally:
            with suppress(OSError):
                progress.stop()


class _PlainLines(ProgressBar):
    """Writes a line when `PLAIN_INTERVAL` has passed; short work writes none."""

    def __init__(self, description: str, total: int | None) -> None:
        self._description, self._total = description, total
        self._before, self._done, self._text = 0, 0, ""
        self._start = self._printed = time.monotonic()

    def start_at(self, steps: int) -> None:
        self._before = self._done = steps
        self._start = time.monotonic()

    def advance(self, steps: int = 1, text: str | None = None) -> None:
        self._done += steps
        self._text = self._text if text is None else text
        now = time.monotonic()
        if now - self._printed < PLAIN_INTERVAL:
            return
        self._printed = now
        rate = (self._done - self._before) / (now - self._start)
        parts = [f"{self._description}: {self._done}/{self._total or '?'}", f"{rate:.1f}/s"]
        if self._total and rate > 0:
            minutes, seconds = divmod(round(max(self._total - self._done, 0) / rate), 60)
            parts.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
        with suppress(OSError):
            print("  ".join([*parts, self._text]).rstrip(), file=sys.stderr, flush=True)


class _RichBar(ProgressBar):
    def __init__(self, progress: Progress, description: str, total: int | None) -> None:
        self._progress, self._text = progress, ""
        self._task = progress.add_task(description, total=total, rate="", text="")

    def start_at(self, steps: int) -> None:
        self._progress.reset(self._task, completed=steps)

    def advance(self, steps: int = 1, text: str | None = None) -> None:
        self._text = self._text if text is None else text
        speed = self._progress.tasks[0].speed
        rate = "" if speed is None else f"{speed:.1f}/s"
        self._progress.update(self._task, advance=steps, rate=rate, text=self._text)


def _rich_progress() -> Progress:
    from rich import progress
    from rich.console import Console

    # The free text may hold brackets: it is no markup.
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=24),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}", markup=False),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[text]}", markup=False),
        console=Console(stderr=True),
        # rich would send a piped stdout to the terminal: `--json > file` must stay whole.
        redirect_stdout=sys.stdout.isatty(),
    )
