"""Targets by name, and their options."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from inlay.adapters.export.registry import TARGETS, register_exporter, target_named
from inlay.adapters.export.target import ExportError, option
from inlay.adapters.parts.registration import RegistrationError


def test_an_unknown_target_is_refused_with_all_known_ones() -> None:
    with pytest.raises(ExportError, match=r"to: expected one of hf \(.*peft \(.*got 'onnx'"):
        target_named("onnx")


def test_an_option_of_another_target_is_refused() -> None:
    with pytest.raises(ExportError, match="rank: the target 'hf' does not have this option; it has: no options"):
        target_named("hf", {"rank": 8})


def test_options_that_are_not_given_have_their_defaults() -> None:
    assert target_named("peft")[1].rank is None
    assert target_named("peft", {"rank": 4})[1].rank == 4


def test_options_have_their_types(own_registrations: None) -> None:
    @dataclass(frozen=True)
    class Options:
        wide: bool = option(False, "wider")

    register_exporter("wide", "own.module:write", "a test", Options)
    assert TARGETS["wide"].options().wide is False


def test_the_name_of_another_target_is_refused() -> None:
    with pytest.raises(RegistrationError, match="already registered"):
        register_exporter("hf", "own.module:write", "another")


def test_options_that_are_no_dataclass_are_refused() -> None:
    with pytest.raises(RegistrationError, match="options: expected a dataclass"):
        register_exporter("own", "own.module:write", "a test", dict)


@pytest.mark.parametrize("name", list(TARGETS))
def test_every_target_can_be_loaded(name: str) -> None:
    assert callable(TARGETS[name].load())


def test_the_registry_does_not_import_torch() -> None:
    code = "import sys, inlay.adapters.export.registry, inlay.adapters.export.new_folder; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_an_exporter_of_other_arguments_is_refused() -> None:
    write: Any = str.upper
    with pytest.raises(RegistrationError, match=r"exporter 'mine': expected a function of \(request, folder\)"):
        register_exporter("mine", write, "nothing")
