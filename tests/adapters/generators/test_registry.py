"""A generator of a user's own: registered by one line, and loaded by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.generators import register_generator
from inlay.adapters.generators.registry import GENERATORS
from inlay.adapters.loading.generators import load_generator
from inlay.adapters.parts.registration import RegistrationError

pytestmark = pytest.mark.usefixtures("own_registrations")


def load(source: str, **options: Any) -> Any:
    return source, options


@pytest.mark.parametrize(
    ("file", "field"), [("model_index.json", "_class_name"), ("config.json", "model_type")], ids=["pipeline", "model"]
)
def test_a_registered_generator_is_loaded_by_the_name_in_its_files(tmp_path: Path, file: str, field: str) -> None:
    register_generator("MyPipeline", load)
    register_generator("MyPipeline", load)
    (tmp_path / file).write_text(json.dumps({field: "MyPipeline"}), encoding="utf-8")
    loaded: Any = load_generator(tmp_path, dtype="float32", text_encoder=False, name="mine")
    source, options = loaded
    assert source == str(tmp_path)
    expected = {"revision": None, "dtype": "float32", "text_encoder": False, "local_files_only": False, "name": "mine"}
    assert options == expected


def test_built_in_generators_load_as_before_beside_a_registered_one(folder_of: Any) -> None:
    register_generator("MyPipeline", load)
    assert load_generator(folder_of("image")).port.family == "stable-diffusion"


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("MyPipeline", "load", "generator 'MyPipeline': expected a function that loads it, got 'load'"),
        ("MyPipeline", lambda source: source, "does not accept these arguments: got an unexpected keyword argument"),
        ("StableDiffusionPipeline", load, "generator 'StableDiffusionPipeline' is built in"),
        ("a b", load, "expected a name of letters and digits, got 'a b'"),
    ],
)
def test_what_cannot_load_a_generator_is_refused(name: str, given: Any, said: str) -> None:
    with pytest.raises(RegistrationError, match=said):
        register_generator(name, given)
    assert not GENERATORS


def test_a_taken_name_is_refused() -> None:
    register_generator("MyPipeline", load)
    with pytest.raises(RegistrationError, match="'MyPipeline' is already registered as load"):
        register_generator("MyPipeline", lambda source, **options: load(source, **options))
