"""The exceptions a user is meant to see."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in what the user gave: a path, a value, a file.

    The message is a single line that names the path or value and the remedy. The command prints it
    without a traceback and ends with exit code 2.
    """


class StoppedError(Exception):
    """Work that a signal ended in order before it was done.

    The message is a line on what is kept and how to go on. The command prints it and ends as the
    signal would have ended it.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def require(package: str, extra: str) -> UserError:
    """Builds the error for an optional package that is not installed.

    Args:
        package: Name of the package that could not be imported.
        extra: The extra of `bisenetv2` that brings it.
    """
    return UserError(f"this needs {package}: pip install 'bisenetv2[{extra}]'")
