"""What the pages name exists: options, commands, error messages, extras; and their code runs."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from runpy import run_path

import pytest

from inlay.recipes.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Notes of decisions are of their date, results quote the command of theirs, and the changelog is a history.
PRESENT = [page for page in PAGES if page.parent.name not in ("decisions", "gallery") and page.name != "benchmarks.md"]
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_OURS = {"--standalone", "--systems", "--force_simple"}
"""Of torchrun, `make real` and lmms-eval. An option with a hyphen is never ours."""


@cache
def known_options() -> frozenset[str]:
    """Every option of every command, stage options with STAGE."""
    from inlay_docs.commands import options

    found = {name for command in COMMANDS for name, *_ in options(command) if name.startswith("--")}
    return frozenset(found | {"--help", "--version", "--import"})


def commands_of(page: Path) -> list[list[str]]:
    """Each command line of inlay on a page, as words."""
    found = []
    for block in CONSOLE.findall(page.read_text(encoding="utf-8")):
        for line in re.split(r"\n|;|&&|\|(?!\w)", block.replace("\\\n", " ")):
            words = shlex.split(line.replace("...", " "), comments=True) if line.count("'") % 2 == 0 else []
            if words and Path(words[0]).name == "inlay":
                found.append(words[1:])
    return found


def is_known(option: str, known: frozenset[str]) -> bool:
    """Whether an option exists; fields of a mapping (rates, objectives of other names) count with their setting."""
    option = re.sub(r"^--stages\.\w+", "--stages.STAGE", option.partition("=")[0])
    fields = option.startswith(("--stages.STAGE.objective", "--stages.STAGE.lr.", "--lora.", "--limits."))
    return option in known or fields


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    wrong = []
    for words in commands_of(page):
        if words and words[0] not in {*COMMANDS, "--version", "--help"}:
            wrong.append(words[0])
        options = [word for word in words if word.startswith("--") and "-" not in word[2:] and word not in NOT_OURS]
        wrong += [option for option in options if not is_known(option, known_options())]
    assert wrong == []


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_in_the_text_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.stem == "coming-from":  # the first column has the options of other tools
        text = "\n".join(line.split(" | ", 1)[1] for line in text.splitlines() if line.startswith("| `--"))
    of_examples = {"--train", "--images", "--half"} if page.parent.name == "extending" else set()
    named = re.findall(r"(?<=`)(--[a-z][\w.-]*)", CONSOLE.sub("", text))
    ours = {option for option in named if "-" not in option[2:]} - of_examples
    wrong = {option for option in ours if not is_known(option, known_options())} - NOT_OURS
    assert wrong == set()


def _strings() -> str:
    """All texts of the code, values in braces left out."""
    found = []
    for floor in ("adapters", "hub", "recipes"):
        for path in (ROOT / floor).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
                elif isinstance(node, ast.ClassDef):
                    found.append(node.name)
                elif isinstance(node, ast.JoinedStr):
                    parts = [getattr(part, "value", "") for part in node.values]
                    found.append("".join(part if isinstance(part, str) else "\0" for part in parts))
    return "\n".join(found)


def test_every_message_of_troubleshooting_is_in_the_code(docs: Path) -> None:
    page = (docs / "howto" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 100
    code = _strings()
    pieces = {piece for message in messages for piece in re.split(r"…", message) if piece.strip()}
    assert {piece for piece in pieces if piece.strip() not in code} == set()


def test_the_code_of_the_concepts_runs(docs: Path, tmp_path: Path) -> None:
    index = (docs / "concepts" / "index.md").read_text(encoding="utf-8")
    order = re.findall(r"^([a-z]+)$", index.split("```{toctree}")[1], re.MULTILINE)
    assert order == ["backbone", "port", "layout", "adapter", "bundle", "stage", "objective", "architecture"]
    texts = [(docs / "concepts" / f"{page}.md").read_text(encoding="utf-8") for page in order[:-1]]
    blocks = [code for text in texts for code in PYTHON.findall(text)]
    assert len(blocks) == len(texts)
    (tmp_path / "concepts.py").write_text("\n".join(blocks), encoding="utf-8")
    assert "again" in run_path(str(tmp_path / "concepts.py"))


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_a_page_compiles(page: Path) -> None:
    for code in PYTHON.findall(page.read_text(encoding="utf-8")):
        compile(code, str(page), "exec")
