"""llama.cpp with the base model and the LoRA of one adapter, checked against both."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inlay.adapters.adapter import Adapter
from inlay.adapters.export.gguf.architectures import architecture_of
from inlay.adapters.export.gguf.gguf_file import GgufContent, GgufError, Kind, read_back, write_gguf
from inlay.adapters.export.gguf.llama_library import LlamaCpp
from inlay.adapters.export.gguf.lora import lora_content
from inlay.adapters.llm_parts.lora import LoraPart
from inlay.hub.errors import InlayError

__all__ = ["RuntimeProblem", "opened_engine"]


class RuntimeProblem(InlayError):
    """An adapter and the files of another program cannot be used together."""


@contextmanager
def opened_engine(adapter: Adapter, config: Any, base: Path, lora: Path | None) -> Iterator[LlamaCpp]:
    """A context with llama.cpp.

    Args:
        adapter: with its LoRA, if it has one.
        config: of its language model, as transformers has it.
        base: GGUF file of the language model.
        lora: GGUF file of the adapter's LoRA; made from the adapter if not given.

    Raises:
        RuntimeProblem: a file of another model or another adapter.
        GgufError: a family that llama.cpp does not have.
        LlamaCppError: llama.cpp refuses a file.
    """
    architecture = architecture_of(str(config.model_type))
    with tempfile.TemporaryDirectory(prefix="inlay-") as folder:
        if adapter.lora is None and lora is not None:
            raise RuntimeProblem(f"--lora: adapter {adapter.name!r} has no LoRA; leave the option out")
        if adapter.lora is not None and lora is None:
            lora = Path(folder) / "lora.gguf"
            write_gguf(lora, lora_content(adapter.lora, config, adapter.name))
        elif adapter.lora is not None and lora is not None:
            _check_lora(lora, adapter.lora, config, adapter.name)
        with LlamaCpp(base, lora, cache=_cache_of(base)) as engine:
            wanted = {
                "architecture": architecture.name,
                "width": int(config.hidden_size),
                "layers": int(config.num_hidden_layers),
                "vocabulary": int(config.vocab_size),
            }
            for name, expected in wanted.items():
                if (found := getattr(engine, name)) != expected:
                    raise RuntimeProblem(
                        f"{base}: {name}: expected {expected}, which the adapter's language model has, got {found}; "
                        "give the GGUF file of that model"
                    )
            yield engine


def _cache_of(base: Path) -> Any:
    """Keys and values are in float32 for a base model in float32, and take half the memory for all others."""
    import gguf

    field = gguf.GGUFReader(base).fields.get("general.file_type")
    return "f32" if field is not None and field.contents() == 0 else "f16"


def _check_lora(path: Path, lora: LoraPart, config: Any, name: str) -> None:
    """Compare a LoRA file with the adapter; llama.cpp's own converter writes float16 too."""
    problem = ""
    kinds: tuple[Kind, ...] = ("f32", "f16")
    for kind in kinds:
        content = lora_content(lora, config, kind=kind)
        header = {key: value for key, value in content.header.items() if key != "general.name"}
        try:
            read_back(path, GgufContent(content.architecture, header, content.tensors))
        except GgufError as error:
            problem = problem or str(error)
        else:
            return
    raise RuntimeProblem(f"--lora: {path} is not the LoRA of adapter {name!r}: {problem}; leave the option out")
