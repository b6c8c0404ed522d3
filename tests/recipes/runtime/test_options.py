"""Options of a runtime are judged before anything is loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.runtime import options
from inlay.recipes.runtime.options import RuntimeOptions, add_runtime, runtime_options
from inlay.recipes.settings.errors import SettingsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "base.gguf").write_bytes(b"")
    return tmp_path / "base.gguf"


def parsed(*argv: str) -> RuntimeOptions:
    parser = command_parser("chat", "About.")
    add_runtime(parser)
    return runtime_options(parser.parse_args(list(argv)))


def test_torch_needs_no_option() -> None:
    assert parsed() == RuntimeOptions("torch")


def test_the_options_of_a_server() -> None:
    found = parsed("--runtime", "vllm", "--url", "http://127.0.0.1:8000/", "--served_model", "mine")
    assert found == RuntimeOptions("vllm", url="http://127.0.0.1:8000", served_model="mine")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "torch", "gguf": Path("x")}, "--gguf: expected --runtime llamacpp, got --runtime torch"),
        ({"name": "torch", "url": "http://x"}, "--url: expected --runtime vllm, got --runtime torch"),
        ({"name": "vllm", "url": "http://x", "lora": Path("x")}, "--lora: expected --runtime llamacpp"),
        ({"name": "llamacpp", "served_model": "x"}, "--served_model: expected --runtime vllm"),
        ({"name": "llamacpp"}, "expected --gguf FILE"),
        ({"name": "llamacpp", "gguf": Path("missing.gguf")}, "--gguf: missing.gguf: .*missing file"),
        ({"name": "vllm"}, "--url: expected an address such as http://127.0.0.1:8000, got ''"),
        ({"name": "vllm", "url": "localhost:8000"}, "got 'localhost:8000'"),
        ({"name": "vllm", "url": "file:///etc/passwd"}, "got 'file:///etc/passwd'"),
    ],
)
def test_wrong_options_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        RuntimeOptions(**fields)


def test_a_missing_lora_file_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"--lora: .*none.gguf: expected a GGUF file"):
        RuntimeOptions("llamacpp", gguf=file, lora=file.with_name("none.gguf"))


def test_a_missing_package_is_named_with_its_extra(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(options, "find_spec", lambda name: None if name == "llama_cpp" else found(name))
    with pytest.raises(SettingsError, match=r"pip install 'inlay\[llamacpp\]'"):
        RuntimeOptions("llamacpp", gguf=file)
