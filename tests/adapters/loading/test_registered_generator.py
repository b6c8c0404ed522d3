"""Loaders of registered generators, found by the name in a model's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.generators import register_generator
from inlay.adapters.loading.generators import load_generator
from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.loading.registered_generator import registered_loader

pytestmark = pytest.mark.usefixtures("own_registrations")


def load(source: str, **options: Any) -> Any:
    return source, options


@pytest.mark.parametrize("text", ["", "[1]", "[" * 100_000, "{}", "\x00"])
def test_damaged_files_find_no_registered_loader(tmp_path: Path, text: str) -> None:
    register_generator("MyPipeline", load)
    (tmp_path / "model_index.json").write_text(text, encoding="utf-8")
    assert registered_loader(tmp_path) is None


def test_nothing_is_read_while_no_generator_is_registered(tmp_path: Path) -> None:
    assert registered_loader(tmp_path / "missing") is None


def test_a_missing_folder_is_the_same_error_with_and_without_registered_generators(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(BackboneError, match=r"no such folder \(for the generator\)"):
            load_generator(tmp_path / "missing")
        register_generator("MyPipeline", load)
