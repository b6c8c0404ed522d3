"""The tree a stranger clones: small files, and nothing of the machine it was written on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

MAX_LINES = 400

# Character classes keep each pattern from matching its own line. /home/me/ is nobody's: examples and tests use it.
MACHINE = re.compile(
    r"(?<![\w./:>-])/(?:[h]ome(?!/me/)|[U]sers|[r]oot|[w]ork|[o]pt|[m]nt|[t]mp)/\w"
    r"|[C]:\\\\?Users"
    r"|[f]ile:///(?!etc/)"  # tests of hostile input name /etc
    r"|[-](?:extra-)?index-url"
    r"|files\.[p]ythonhosted|download\.[p]ytorch|[p]ypi\.org/simple"
)
# A Space for CPUs installs torch from PyTorch's public index; the text stands in these files alone.
PUBLIC = re.compile(r"--extra-[i]ndex-url |https://download\.[p]ytorch\.org/whl/cpu\b")
OF_SPACES = {"recipes/demo/space.py", "tests/recipes/commands/test_demo_process.py"}


def test_no_python_file_is_longer_than_the_ceiling(root: Path, tracked: list[Path]) -> None:
    lengths = {str(path): len((root / path).read_bytes().splitlines()) for path in tracked if path.suffix == ".py"}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_tracked_file_names_a_machine_or_a_registry(root: Path, tracked: list[Path]) -> None:
    found = []
    for path in tracked:
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:  # weights and pictures
            continue
        if str(path) in OF_SPACES:
            text = PUBLIC.sub("", text)
        found += [f"{path}: {line.strip()[:100]}" for line in text.splitlines() if MACHINE.search(line)]
    assert found == []


@pytest.mark.parametrize("line", ["/" + "home/ann/x", "see /" + "work/main", "file:" + "///opt", "C:" + "\\Users\\me"])
def test_the_machine_pattern_sees(line: str) -> None:
    assert MACHINE.search(line)


@pytest.mark.parametrize("line", ["https://example.com/home/x", "docs/work/notes", "-> /etc/hosts", "/home/me/x"])
def test_the_machine_pattern_passes(line: str) -> None:
    assert not MACHINE.search(line)
