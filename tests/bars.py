"""A progress bar for tests that train."""

from __future__ import annotations


class Bar:
    """Shows nothing; a subclass may watch `advance`."""

    def advance(self, steps: int = 1, text: str | None = None) -> None:
        pass

    def start_at(self, steps: int) -> None:
        self.advance(steps)
