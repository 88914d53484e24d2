"""Ctrl-C, a polite kill and a closed terminal as an event, for work that has something to close."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stop(threading.Event):
    """Set by a signal."""

    number = 0
    """Of the first signal; 0 before it."""

    def set_by(self, number: int) -> None:
        """Sets the event."""
        self.number = self.number or number
        self.set()


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Yields what a signal to end sets, so that files are closed.

    A second Ctrl-C or polite kill is no longer caught. A hang-up, as of a dropped ssh session, may
    come any number of times; where it is ignored, as under `nohup`, it stays so.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, _: object) -> None:
        stop.set_by(number)
        restore()

    for number in before:
        signal.signal(number, on_signal)
    try:
        with _hang_up_sets(stop):
            yield stop
    finally:
        restore()


@contextmanager
def _hang_up_sets(stop: Stop) -> Iterator[None]:
    """Sets an event whenever the terminal is gone: system, shell and systemd each say so."""
    if sys.platform == "win32":
        yield
        return
    before = signal.getsignal(signal.SIGHUP)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, _: stop.set_by(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
