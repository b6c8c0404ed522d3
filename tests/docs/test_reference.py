"""The generated reference: every public name, command, option, field and method is on a page."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from inlay_docs import (
    attribute_docstrings,
    commands,
    expanded,
    extras,
    manifest_schema,
    memory_sizes,
    method_cards,
    public_names,
    within,
)
from inlay_docs.markdown import cell, prose
from sphinx.ext import napoleon

from inlay.hub.format.manifest import Manifest
from inlay.recipes.cli import COMMANDS


@pytest.mark.parametrize("floor", public_names.FLOORS)
def test_every_public_name_is_on_the_page_of_its_floor(docs: Path, floor: str) -> None:
    page = docs / "reference" / f"python-{floor.rpartition('.')[2]}.md"
    text = expanded(page.read_text(encoding="utf-8"))
    missing = [name for name in public_names.names(floor) if not re.search(rf"\b{floor}\.{name}\b", text)]
    assert missing == []


@pytest.mark.parametrize("floor", public_names.FLOORS)
def test_every_public_name_has_a_docstring(floor: str) -> None:
    bare = []
    for name, value in public_names.names(floor).items():
        if isinstance(value, ModuleType) or inspect.isclass(value) or inspect.isroutine(value):
            own = value.__doc__ if not inspect.isclass(value) else value.__dict__.get("__doc__")
            bare += [] if own and not own.startswith(f"{name}(") else [name]
    assert bare == []


def test_every_name_that_own_parts_import_is_on_the_page_of_its_floor(docs: Path) -> None:
    for floor in public_names.FLOORS[:2]:
        page = docs / "reference" / f"python-{floor.rpartition('.')[2]}.md"
        text = expanded(page.read_text(encoding="utf-8"))
        needed = [f"{module}.{name}" for module, own in public_names.extension_names(floor).items() for name in own]
        assert needed
        assert [name for name in needed if f":: {name}\n" not in text] == []


@pytest.mark.parametrize("floor", public_names.FLOORS[:2])
def test_every_name_that_own_parts_import_has_a_docstring(floor: str) -> None:
    bare = []
    for module, own in public_names.extension_names(floor).items():
        source = inspect.getsource(import_module(module))
        for name in own:
            value = getattr(import_module(module), name)
            if inspect.isclass(value) or inspect.isroutine(value):
                bare += [] if value.__doc__ else [name]
            elif not re.search(rf'^{name}(: TypeAlias)? = .*\n"""', source, re.MULTILINE):
                bare.append(name)
    assert bare == []


@pytest.mark.parametrize("kind", ["attribute", "property"])
def test_a_colon_in_the_docstring_of_a_field_divides_nothing(kind: str) -> None:
    handlers: dict[int, Any] = {500: napoleon._process_docstring}
    app = SimpleNamespace(config=napoleon.Config(), connect=lambda _, call, priority: handlers.update({priority: call}))
    attribute_docstrings.connect(app)
    lines = ["Temperature: above 0."]
    for priority in sorted(handlers):
        handlers[priority](app, kind, "a.b", None, None, lines)
    assert [line for line in lines if line] == ["Temperature: above 0."]


def test_every_command_and_option_is_on_the_page() -> None:
    page = commands.markdown()
    for command in COMMANDS:
        section = page.split(f"## inlay {command}\n")[1].split("\n## ")[0]
        assert [name for name, *_ in commands.options(command) if f"| `{name}` |" not in section] == []


def test_options_come_with_type_default_and_meaning() -> None:
    rows = {name: rest for name, *rest in commands.options("train")}
    assert rows["--resume"] == ["bool", "`False`", "Continue an interrupted run in the same folder."]
    assert "--second_lora" in rows  # of system align alone
    assert "--stages.STAGE.lr" in rows
    bare = [(command, row[0]) for command in COMMANDS for row in commands.options(command) if not row[3]]
    assert bare == []


def test_every_row_of_an_option_has_four_cells() -> None:
    rows = [line for line in commands.markdown().splitlines() if line.startswith("| `")]
    assert [row for row in rows if len(re.split(r"(?<!\\)\|", row)) != 6] == []
    assert [row for row in rows if "+`" in row.split("|")[1] or ".help`" in row] == []


def test_every_field_of_the_manifest_is_on_the_page() -> None:
    page = manifest_schema.markdown()
    sections = {model.__name__: page.split(f"## {model.__name__}\n")[1] for model in manifest_schema.models()}
    for model in manifest_schema.models():
        assert [name for name in model.model_fields if f"| `{name}` |" not in sections[model.__name__]] == []
    assert next(iter(sections)) == Manifest.__name__


@pytest.mark.parametrize("kind", method_cards.KINDS)
def test_every_method_has_a_card(docs: Path, kind: str) -> None:
    folder = docs / "reference" / "methods"
    texts = {page.stem: page.read_text(encoding="utf-8") for page in folder.glob("*.md")}
    fences = [
        name for text in texts.values() for name in re.findall(rf"^```{{generated}} method {kind} (\w+)$", text, re.M)
    ]
    assert sorted(fences) == sorted(method_cards.cards(kind))
    for text in texts.values():
        if f"method {kind} " in text:
            assert "**When to use it.**" in text
            assert expanded(text).count("Source: `inlay.") == 1


NO_PAPER = {"audio", "vision", "precomputed", "output_mlp"}
"""Base classes, features from files, and a plain MLP."""


def test_every_card_names_its_paper_and_projectors_and_objectives_their_formula(docs: Path) -> None:
    texts = {page.stem: page.read_text(encoding="utf-8") for page in (docs / "reference" / "methods").glob("*.md")}
    cards = {name: expanded(text) for name, text in texts.items() if "{generated} method" in text}
    assert {name for name, text in cards.items() if "<https://" not in text} == NO_PAPER
    with_formula = {name for name, text in texts.items() if re.search(r"method (input|output|objective) ", text)}
    assert {name for name in with_formula if not re.search(r"`[^`]+ = [^`]+`|<- ", cards[name])} == set()


def test_parameters_of_a_card_are_those_of_the_paper() -> None:
    assert method_cards.parameters("input", "mlp") == 1024 * 4096 + 4096 + 4096 * 4096 + 4096
    assert method_cards.parameters("output", "transformer") == 31_958_784  # NExT-GPT's


def test_every_extra_is_described(docs: Path) -> None:
    text = extras.markdown()
    assert "| `audio` | read sounds | soundfile, soxr |" in text


def test_docstrings_become_markdown() -> None:
    assert cell("a | b, see :class:`~inlay.hub.Bundle`") == "a \\| b, see `Bundle`"
    assert prose("'inlay @ git+https://host/x'") == "'inlay @ git+https://host/x'"
    assert prose("As in ``x`` (https://arxiv.org/abs/1, 2023).") == "As in `x` (<https://arxiv.org/abs/1>, 2023)."


def test_a_link_that_leads_nowhere_is_an_error(docs: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.md"):
        within("[x](../nowhere.md)", docs / "howto")
    assert within("[x](../../SECURITY.md)", docs / "howto") == "`x`"
    kept = "[x](../../examples/trap_pairs.py)"
    assert within(kept, docs / "howto") == kept


def test_activations_of_the_memory_table_are_linear_in_layers() -> None:
    sizes: dict[str, Any] = {"width": 64, "ffn": 128, "heads": 4, "key_heads": 2, "head": 16, "vocabulary": 4096}
    tiny = memory_sizes.Model(name="tiny", layers=4, **sizes)
    (one, _), (two, _), (four, trained) = (memory_sizes.kept(tiny, layers, rank=4) for layers in (1, 2, 4))
    assert four == pytest.approx(one + 3 * (two - one), rel=1e-6)
    plan = memory_sizes.plan(tiny, 4)
    assert plan.training == 12 * trained
    assert plan.row == pytest.approx(memory_sizes.TOKENS * four, rel=1e-6)


@pytest.mark.slow
def test_the_memory_table_of_the_page_is_the_computed_one(docs: Path) -> None:
    found, small = memory_sizes.plan(memory_sizes.MODELS[0], 16), memory_sizes.plan(memory_sizes.MODELS[0], 16, bits=4)
    fixed = found.training + found.head
    sizes = [found.weights, fixed, found.row, found.recomputed]
    sizes += [plan.weights + fixed + 8 * plan.recomputed for plan in (found, small)]
    row = " | ".join([*(f"{size / 1e9:.1f}" for size in sizes[:4]), *(f"{size / 1e9:.0f}" for size in sizes[4:])])
    assert f"| SmolLM2 360M | {row} |" in (docs / "howto" / "one-gpu.md").read_text(encoding="utf-8")
