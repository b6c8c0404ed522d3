"""The code names pages of the documentation by their titles, because an installed wheel has no folder ``docs``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATH = re.compile(r"(?<![\w./])(?:docs/|examples/\w+(?:/\w+)*\.py)")
"""A path of the repository. The address of a page of another project has a host before it."""
PAGE = re.compile(r'\bpages? ("[^"]+"(?:(?:,| and| or) "[^"]+")*) of the documentation')


@cache
def texts() -> dict[str, list[str]]:
    """File of the code -> its texts, docstrings and comments included, each on one line."""
    found = {}
    for floor in ("adapters", "hub", "recipes"):
        for path in sorted((ROOT / floor).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            comments = [line.partition("#")[2] for line in source.splitlines() if "#" in line]
            found[str(path.relative_to(ROOT))] = [" ".join(text.split()) for text in [*_strings(source), *comments]]
    return found


def _strings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def titles() -> set[str]:
    """The first heading of every page."""
    pages = (path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    return {heading[1] for page in pages if (heading := re.search(r"^# (.+)$", page, re.MULTILINE))}


def test_no_text_names_a_path_of_the_repository() -> None:
    assert {(file, text[:120]) for file, held in texts().items() for text in held if PATH.search(text)} == set()


def test_every_named_page_exists() -> None:
    named = [names for held in texts().values() for text in held for names in PAGE.findall(text)]
    assert len(named) > 10
    assert {title for names in named for title in re.findall(r'"([^"]+)"', names)} - titles() == set()


def test_a_path_and_a_title_are_found() -> None:
    assert PATH.search("formats in docs/howto/data.md") is not None
    assert PATH.search("https://huggingface.co/docs/trl/dataset_formats") is None
    assert PAGE.findall('see the pages "llama.cpp" and "vLLM" of the documentation') == ['"llama.cpp" and "vLLM"']
