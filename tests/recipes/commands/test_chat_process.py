"""`inlay chat` as a process at the other end of a pipe: words come as they are written, Ctrl-C breaks an answer off."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.systems import llava
from inlay.recipes.systems.load_backbone import miniature_backbone

# A gate in front of the LLM: while its file is there, an answer comes no further than a few tokens.
PROGRAM = """
import sys, time
from pathlib import Path
from inlay.recipes.training import load_model
from inlay.recipes import cli
gate, plain, steps = Path(sys.argv[1]), load_model.backbone_for, 0
def wait(*_):
    global steps
    steps = steps + 1 if gate.exists() else 0
    while steps > 4 and gate.exists():
        time.sleep(0.01)
def gated(*arguments, **options):
    backbone = plain(*arguments, **options)
    backbone.llm.model.get_input_embeddings().register_forward_pre_hook(wait)
    return backbone
load_model.backbone_for = gated
sys.exit(cli.main(["chat", *sys.argv[2:]]))
"""
QUESTION = "there is a large red circle in the center. describe the picture.\n"


class Terminal:
    """A process that is written to and read from as it goes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.seen = ""

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def until(self, wanted: str, seconds: float = 120.0) -> str:
        """What comes, up to a text and with it."""
        assert self.process.stdout is not None
        end = time.monotonic() + seconds
        while wanted not in self.seen:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            assert piece, f"waited for {wanted!r}, got {self.seen!r}"
            self.seen += piece.decode()
        before, _, self.seen = self.seen.partition(wanted)
        return before + wanted


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def terminal(tmp_path: Path, gate: Path) -> Iterator[Terminal]:
    backbone = miniature_backbone()
    adapter = llava.recipe("1.5", "miniature").adapter(backbone, "test")
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "bundle")
    command = [sys.executable, "-P", "-c", PROGRAM, str(gate), str(tmp_path / "bundle"), "--max_new_tokens=16"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=tmp_path, bufsize=0, **pipes) as process:
        try:
            yield Terminal(process)
        finally:
            process.kill()


def test_words_come_at_once_and_a_broken_off_answer_leaves_nothing_behind(terminal: Terminal, gate: Path) -> None:
    terminal.until("/quit  leave")
    terminal.until("\n")
    gate.touch()
    terminal.write(QUESTION)
    terminal.until(" ")
    assert gate.exists()  # the model has not said more than this
    begun = terminal.seen
    assert "\n" not in begun
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("(interrupted")
    terminal.until("\n")
    gate.unlink()
    terminal.write(QUESTION)
    first = terminal.until("\n")
    assert len(first.split()) > 2
    terminal.write("/reset\n")
    terminal.until("(new conversation)\n")
    terminal.write(QUESTION)
    assert terminal.until("\n") == first
    terminal.process.send_signal(signal.SIGINT)  # while it waits for a line
    terminal.until("(interrupted")
    terminal.write("/quit\n")
    assert terminal.process.wait(60) == 0
