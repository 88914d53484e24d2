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


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Yields what a signal to end sets, so that files are closed.

    A second Ctrl-C or polite kill is no longer caught. A hang-up may come any number of times, as
    system, shell and systemd each tell of a dropped ssh session; where it is ignored, as under
    `nohup`, it stays so.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    once = [signal.SIGINT, signal.SIGTERM]
    caught = list(once)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        caught.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in caught}

    def restore(numbers: list[signal.Signals]) -> None:
        for number in numbers:
            signal.signal(number, before[number])

    def on_signal(number: int, _: object) -> None:
        stop.number = stop.number or number
        stop.set()
        if number in once:
            restore(once)

    for number in caught:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        restore(caught)
