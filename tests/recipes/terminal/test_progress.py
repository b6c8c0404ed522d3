"""Progress: one bar on a terminal; a line now and then in a log, at a rate that the clock bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO

import pytest
from terminal_streams import Terminal, as_terminal

from inlay.recipes.terminal.progress import EVERY, Progress, hide_library_bars


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def log(steps: int, seconds: float, *, start: int = 0) -> list[str]:
    """Lines of a log of ``steps`` steps that take ``seconds`` each."""
    clock, file = Clock(), StringIO()
    with Progress("align", steps, start=start, stream=file, clock=clock) as progress:
        for step in range(start + 1, steps + 1):
            clock.now += seconds
            progress.update(step, {"loss": 1 / step})
    return file.getvalue().splitlines()


def test_a_log_of_fast_steps_is_one_line() -> None:
    assert log(1000, 0.001) == ["align 1000/1000, loss 0.001, 0:00:01"]


def test_lines_come_by_the_clock() -> None:
    lines = log(1000, 1.0)
    assert len(lines) == 1000 // EVERY + 1
    assert lines[0] == "align 30/1000, loss 0.03333, 0:00:30, 0:16:10 left"


def test_the_last_line_is_not_repeated() -> None:
    lines = log(2, EVERY)
    assert lines == ["align 1/2, loss 1, 0:00:30, 0:00:30 left", "align 2/2, loss 0.5, 0:01:00"]


def test_the_time_left_of_a_resumed_stage_counts_its_own_steps() -> None:
    assert log(100, EVERY, start=98)[0] == "align 99/100, loss 0.0101, 0:00:30, 0:00:30 left"


def test_an_error_leaves_the_step_that_was_reached() -> None:
    file = StringIO()
    with pytest.raises(ValueError, match="x"), Progress("align", 10, stream=file) as progress:  # noqa: PT012
        progress.update(3)
        raise ValueError("x")
    assert file.getvalue().startswith("align 3/10")


def test_a_terminal_gets_one_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = as_terminal(monkeypatch, columns=120)
    with Progress("align", 10, stream=stream) as progress:
        for step in range(1, 11):
            progress.update(step, {"loss": 0.5})
    last = stream.text.strip().splitlines()[-1]
    assert last.startswith("align")
    assert "10/10" in last
    assert "left 0:00:00" in last
    assert last.endswith("loss 0.5")


def test_ci_gets_lines_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    stream = Terminal()
    with Progress("align", 2, stream=stream) as progress:
        progress.update(2)
    assert stream.getvalue().startswith("align 2/2")
    assert "\x1b" not in stream.getvalue()


BARS = ("HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE")


def test_bars_of_libraries_are_off_in_a_file_and_a_choice_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BARS[0], "0")
    monkeypatch.delenv(BARS[1], raising=False)
    hide_library_bars(StringIO())
    assert [os.environ[name] for name in BARS] == ["0", "1"]


def test_bars_of_libraries_stay_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    as_terminal(monkeypatch)
    for name in BARS:
        monkeypatch.delenv(name, raising=False)
    hide_library_bars(Terminal())
    assert not any(name in os.environ for name in BARS)


def test_a_command_in_a_pipe_draws_no_bar_of_a_library() -> None:
    code = (
        "from inlay.recipes.cli import main; main(['--version'])\n"
        "from huggingface_hub.utils import tqdm\n"
        "from tqdm import tqdm as plain\n"
        "for bar in (tqdm, plain): list(bar(range(3), desc='Loading weights'))"
    )
    kept = {name: value for name, value in os.environ.items() if name not in BARS}
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=kept)
    assert "Loading" not in done.stderr
