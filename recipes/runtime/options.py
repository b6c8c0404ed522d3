"""The options ``--runtime``, ``--gguf``, ``--lora``, ``--url``, ``--served_model``, checked before loading."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from jsonargparse import ArgumentParser

from inlay.recipes.settings.errors import SettingsError

__all__ = ["RuntimeOptions", "add_runtime", "runtime_options"]

Runtime: TypeAlias = Literal["torch", "llamacpp", "vllm"]


@dataclass(frozen=True)
class RuntimeOptions:
    """Where the language model runs."""

    name: Runtime = "torch"
    gguf: Path | None = None
    """llama.cpp: the base model."""
    lora: Path | None = None
    """llama.cpp: the adapter's LoRA; made from the bundle if not given."""
    url: str = ""
    """vLLM: the server, without a path."""
    served_model: str | None = None
    """vLLM: the server's name of the adapter's LoRA, or of the language model if the adapter has none."""

    def __post_init__(self) -> None:
        given = {"gguf": self.gguf, "lora": self.lora, "url": self.url, "served_model": self.served_model}
        belongs = {"gguf": "llamacpp", "lora": "llamacpp", "url": "vllm", "served_model": "vllm"}
        for field, value in given.items():
            if value and belongs[field] != self.name:
                raise SettingsError(f"--{field}: expected --runtime {belongs[field]}, got --runtime {self.name}")
        if self.name == "llamacpp":
            self._check_llamacpp()
        if self.name == "vllm":
            address = urlsplit(self.url)
            if address.scheme not in ("http", "https") or not address.hostname:
                raise SettingsError(f"--url: expected an address such as http://127.0.0.1:8000, got {self.url!r}")

    def _check_llamacpp(self) -> None:
        if self.gguf is None:
            raise SettingsError(
                "--runtime llamacpp: expected --gguf FILE, the language model as GGUF; inlay export RUN --to gguf "
                "--base f16 writes one"
            )
        for field, path in (("gguf", self.gguf), ("lora", self.lora)):
            if path is not None and not path.is_file():
                raise SettingsError(f"--{field}: {path}: expected a GGUF file, got a missing file")
        if find_spec("llama_cpp") is None:
            raise SettingsError(
                "--runtime llamacpp: llama.cpp is not installed: pip install 'inlay[llamacpp]' (it compiles llama.cpp, "
                "which needs cmake and a C++ compiler)"
            )


def add_runtime(parser: ArgumentParser) -> None:
    """Add the options of a command that answers."""
    group = parser.add_argument_group("Language model in another program")
    group.add_argument(
        "--runtime",
        type=Runtime,
        default="torch",
        help='where the language model runs: torch, llamacpp or vllm; see the pages "llama.cpp" and "vLLM" of the '
        "documentation",
    )
    group.add_argument("--gguf", type=Path | None, help="llamacpp: GGUF file of the language model, any quantisation")
    group.add_argument(
        "--lora", type=Path | None, help="llamacpp: GGUF file of the LoRA; written from the bundle if not given"
    )
    group.add_argument("--url", type=str, default="", help="vllm: address of the server, such as http://127.0.0.1:8000")
    group.add_argument(
        "--served_model",
        type=str | None,
        help="vllm: name of the LoRA on the server; not needed if the server has only one",
    )


def runtime_options(parsed: Any) -> RuntimeOptions:
    """The options of :func:`add_runtime`.

    Raises:
        SettingsError: an option of another runtime, a missing file or package, or a wrong address.
    """
    return RuntimeOptions(parsed.runtime, parsed.gguf, parsed.lora, parsed.url.rstrip("/"), parsed.served_model)
