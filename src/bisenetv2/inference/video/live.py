"""Cameras and streams without an end: what breaks is opened again, with growing patience."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any

from bisenetv2.errors import UserError
from bisenetv2.inference.video.frames import Frame, Sound, Source

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before the first new attempt, and the most they double to."""

ATTEMPTS = 12
"""Attempts in a row, four minutes in all, after which a source counts as gone."""


def print_notice(line: str) -> None:
    """Tells the user, beside the progress bar, as long as there is a terminal."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class LiveSource(Source):
    """A live source over any number of connections; see `Source`.

    The time without connection stays a gap in the frames' times. Sound goes on only where the new
    connection's tracks are as the first one's were.
    """

    live = True

    def __init__(
        self,
        connect: Callable[[], Source],
        notice: Callable[[str], None] = print_notice,
        first_delay: float = FIRST_DELAY,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Connects for the first time.

        Args:
            connect: Opens a connection; raises `UserError` where it cannot.
            notice: Takes one line for each loss and each return of the connection.
            first_delay: Seconds before the first attempt to connect anew; doubles with each.
            attempts: Attempts in a row before the source is given up.

        Raises:
            UserError: If the first connection cannot be made: that is a wrong name, not a loss.
        """
        self._connect, self._notice = connect, notice
        self._first_delay, self._attempts = first_delay, attempts
        self._connection = source = connect()
        super().__init__(source.name)
        self.rate, self.time_base = source.rate, source.time_base
        self.first, self.appearance = source.first, source.appearance
        self.sound_tracks = source.sound_tracks
        self._shift = Fraction(0)  # seconds from the connection's clock to the source's
        self._last, self._end = -1, 0  # ticks: beginning and end of the last frame
        self._sound_fits = True

    def __iter__(self) -> Iterator[Frame | Sound]:
        while True:
            for item in self._connection:
                if self._stopped.is_set():
                    return
                if isinstance(item, Frame):
                    yield self._in_time(item)
                elif self._sound_fits:
                    yield replace(item, shift=item.shift + self._shift)
            if self._stopped.is_set() or not self._reconnect():
                return

    def stop(self) -> None:
        """Asks the iteration to end, also while it waits to connect."""
        super().stop()
        self._connection.stop()

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _in_time(self, frame: Frame) -> Frame:
        """Moves a frame from its connection's clock to the source's."""
        if self._shift or frame.time_base != self.time_base:
            start = frame.pts * frame.time_base + self._shift  # seconds
            # Not the end of the frame before: its duration follows from a rate that is only stated.
            frame.pts = max(round(start / self.time_base), self._last + 1)
            frame.duration = round(frame.duration * frame.time_base / self.time_base)
            frame.time_base = self.time_base
        self._last, self._end = frame.pts, frame.pts + max(frame.duration, 1)
        return frame

    def _reconnect(self) -> bool:
        """Waits and connects until that succeeds or is given up; tells which."""
        why = "; ".join(self._connection.damage) or "the stream ended"
        lost = time.monotonic()
        self._connection.close()
        loss = f"the connection was lost ({why})"
        self.damage.append(loss)  # unless it comes back
        delay = self._first_delay
        for _ in range(self._attempts):
            self._notice(f"{self.name}: {why}; connecting again in {delay:g} s")
            if self._stopped.wait(delay):
                return False
            delay = min(2 * delay, LONGEST_DELAY)
            try:
                self._connection = self._connect()
            except UserError as error:
                why = str(error).removeprefix(f"{self.name}: ")
                continue
            self.damage.remove(loss)
            self._notice(f"{self.name}: connected again after {time.monotonic() - lost:.1f} s")
            self._join()
            return True
        given_up = f"{why}; given up after {self._attempts} attempts"
        self.damage[self.damage.index(loss)] = given_up
        return False

    def _join(self) -> None:
        """Sets the new connection's clock to go on where the wall clock stands."""
        first = self._connection.first
        start = Fraction(first.arrived - self.first.arrived)  # seconds
        self._shift = max(start, self._end * self.time_base) - first.pts * first.time_base
        self._sound_fits = _kinds(self._connection.sound_tracks) == _kinds(self.sound_tracks)


def _kinds(sound_tracks: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Describes sound tracks as far as packets of one may follow packets of another."""
    contexts = [track.codec_context for track in sound_tracks]
    return [(c.name, c.sample_rate, c.layout.name, c.extradata) for c in contexts]
