"""The progress bar on a terminal, in a log and switched off."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from unittest.mock import Mock, patch

import pytest

from bisenetv2.inference.video.live import print_notice
from bisenetv2.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def terminal(columns: int = 140) -> Iterator[Terminal]:
    """Puts a terminal in place of stderr; a fixture could not, pytest puts its own back."""
    environment = {"TERM": "xterm-256color", "COLUMNS": str(columns)}
    stream = Terminal()
    with redirect_stderr(stream), patch.dict(os.environ, environment):
        yield stream


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock the test sets: its one element is the time in seconds."""
    now = [100.0]
    monkeypatch.setattr("bisenetv2.progress.time.monotonic", lambda: now[0])
    return now


def last_frame(stream: io.StringIO) -> str:
    """The bar as last drawn, without control sequences."""
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", stream.getvalue()).rstrip().splitlines()[-1]


def test_terminal_shows_description_count_and_the_latest_text() -> None:
    with terminal() as screen, progress_bar("train", 3) as bar:
        bar.advance(1, text="loss 0.91")
        bar.advance(2, text="loss [low]")
    frame = last_frame(screen)
    assert frame.startswith("train")
    assert "3/3" in frame
    assert frame.endswith("loss [low]")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_reader_that_goes_away_does_no_harm(is_terminal: bool, clock: list[float]) -> None:
    with terminal() as screen:
        if not is_terminal:
            screen.isatty = lambda: False  # type: ignore[method-assign]
        with progress_bar("record", 3) as bar:
            screen.write = Mock(side_effect=OSError("gone"))  # type: ignore[method-assign]
            clock[0] += 60
            bar.advance(1)
            print_notice("camera: lost")


def test_text_stays_until_it_is_replaced() -> None:
    with terminal() as screen, progress_bar("train", 3) as bar:
        bar.advance(1, text="lr 0.05")
        bar.advance(1)
    assert "2/3" in last_frame(screen)
    assert last_frame(screen).endswith("lr 0.05")


def test_piped_stdout_stays_piped_while_the_bar_is_on_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with terminal() as screen, progress_bar("evaluate", 1) as bar:
        print('{"miou": 0.7}')
        bar.advance()
    assert capsys.readouterr().out == '{"miou": 0.7}\n'
    assert "1/1" in last_frame(screen)
    assert "miou" not in screen.getvalue()


def test_an_error_inside_the_block_passes_through() -> None:
    with pytest.raises(ValueError, match="broken"), terminal(), progress_bar("train", 3):
        raise ValueError("broken")


def test_short_work_without_a_terminal_prints_nothing(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("train", 10) as bar:
        for _ in range(10):
            clock[0] += 2
            bar.advance(1, text="loss 0.53")
    assert capsys.readouterr() == ("", "")


def test_long_work_without_a_terminal_prints_one_plain_line_each_interval(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("train", 1000) as bar:
        for step in range(1, 71):
            clock[0] += 1
            bar.advance(2, text=f"step {step}")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "train: 60/1000  2.0/s  0:07:50 left  step 30",
        "train: 120/1000  2.0/s  0:07:20 left  step 60",
    ]


def test_unknown_total_is_shown_as_a_question_mark(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("camera", None) as bar:
        clock[0] += 30
        bar.advance(90)
    assert capsys.readouterr().err == "camera: 90/?  3.0/s\n"


def test_switched_off_it_prints_nothing_even_on_a_terminal() -> None:
    with terminal() as screen, progress_bar("train", 1, enabled=False) as bar:
        bar.advance(1, text="loss 0.53")
    assert screen.getvalue() == ""


def test_rich_is_not_imported_without_a_terminal() -> None:
    code = (
        "import sys\n"
        "from bisenetv2.progress import progress_bar\n"
        "with progress_bar('train', 1) as bar: bar.advance()\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE).returncode == 0


def test_a_resumed_run_counts_its_rate_from_where_it_went_on(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("train", 1000) as bar:
        bar.start_at(900)
        clock[0] += 40
        bar.advance(20)
    assert "train: 920/1000  0.5/s  0:02:40 left" in capsys.readouterr().err


def test_a_terminal_shows_the_steps_of_the_run_before() -> None:
    with terminal() as screen, progress_bar("train", 1000) as bar:
        bar.start_at(900)
        bar.advance(20)
    assert "920/1000" in last_frame(screen)
