"""Names of registered classes and functions: what takes one, and what is refused."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters import (
    LayoutError,
    Template,
    register_encoder,
    register_generator,
    register_output,
    register_projector,
    register_template,
)
from inlay.adapters.conversation.templates.registry import TEMPLATES
from inlay.adapters.encoders import ENCODERS
from inlay.adapters.generators.registry import GENERATORS
from inlay.adapters.inputs import PROJECTORS
from inlay.adapters.outputs import OUTPUTS
from inlay.adapters.parts.registration import RegistrationError, check_function, register, same_definition

PARTS = """
from dataclasses import dataclass
from torch import nn
from inlay.adapters.outputs import OutputSizes
from inlay.adapters.parts.fields import PortSize

@dataclass(frozen=True, kw_only=True)
class InConfig:
    width_in: PortSize = 0
    width_out: PortSize = 0

@dataclass(frozen=True, kw_only=True)
class OutConfig(OutputSizes): ...

class In(nn.Module):
    kind, reads_prompt, tokens = "twice", False, len

class Out(nn.Module):
    kind = "twice"

class Encoder(nn.Module):
    preprocess = encode = from_pretrained = print

def lay(dialogue): return []
def load(source, *, revision, dtype, text_encoder, local_files_only, name): ...
"""


def imported(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    """A module with parts of one's own, as a fresh import of the same file gives it."""
    (folder / "own_parts_twice.py").write_text(PARTS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "own_parts_twice", raising=False)
    return import_module("own_parts_twice")


def register_all(parts: Any) -> None:
    register_projector(parts.In, parts.InConfig)
    register_output(parts.Out, parts.OutConfig)
    register_encoder("twice", parts.Encoder, modality="image")
    register_template("twice", Template(parts.lay))
    register_generator("twice", parts.load)


def test_every_registry_takes_a_module_that_is_imported_a_second_time(
    own_registrations: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    register_all(imported(monkeypatch, tmp_path))
    again = imported(monkeypatch, tmp_path)
    register_all(again)
    assert PROJECTORS["twice"] == (again.In, again.InConfig)
    assert OUTPUTS["twice"] == (again.Out, again.OutConfig)
    assert ENCODERS["image", "twice"].encoder_class is again.Encoder
    assert TEMPLATES["twice"].lay is again.lay
    assert GENERATORS["twice"] is again.load


def test_the_function_of_a_packaged_template_cannot_take_its_name_with_other_stops() -> None:
    packaged = TEMPLATES["vicuna_v1"]
    with pytest.raises(LayoutError, match="another template has this name"):
        register_template("vicuna_v1", Template(packaged.lay, stop=("!",)))
    assert TEMPLATES["vicuna_v1"] is packaged


class Base:
    @classmethod
    def load(cls) -> None: ...


class One(Base): ...


class Two(Base): ...


def test_functions_without_a_name_of_their_own_are_compared_themselves() -> None:
    one, two = (lambda: 1), (lambda: 1)
    assert not same_definition(one, two)
    assert same_definition(one, one)
    assert not same_definition(One.load, Two.load)
    assert same_definition(One.load, One.load)


@pytest.mark.parametrize("name", [None, "", "a b", "../x", "-x", 3, "é"])
def test_a_name_that_a_bundle_cannot_store_is_refused(name: object) -> None:
    table: dict[str, object] = {}
    with pytest.raises(RegistrationError, match="pooling: expected a name of letters and digits"):
        register(table, name, object(), "pooling")
    assert not table


def test_a_taken_name_names_what_has_it() -> None:
    table = {"mean": min}
    register(table, "mean", min, "pooling")
    with pytest.raises(RegistrationError, match="pooling 'mean' is already registered as min; choose another name"):
        register(table, "mean", max, "pooling")
    assert table == {"mean": min}


@pytest.mark.parametrize("function", [lambda: 1.0, lambda said: 1.0, lambda said, question, more: 1.0, "recall", None])
def test_a_function_of_other_arguments_is_refused_when_it_is_registered(function: object) -> None:
    with pytest.raises(RegistrationError, match=r"score: expected a function of \(said, question\)"):
        check_function("metric 'recall': score", function, "said", "question")


@pytest.mark.parametrize("function", [lambda said, question: 1.0, lambda *given: 1.0, lambda a, b, c=3: 1.0, max])
def test_a_function_that_can_be_called_is_taken(function: object) -> None:
    check_function("metric 'recall': score", function, "said", "question")
