"""The layout that NExT-GPT and ModaVerse share: one linear projector, LoRA on the LLM, and whole embedding matrices.

Only the last rows of both resized matrices are new tokens. The other rows must equal the LLM's: they are not part of an
adapter, so a checkpoint that trained them would give other answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from inlay.adapters.convert.imported import part_tensors
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.lora_files import lora_of
from inlay.adapters.convert.source import ConvertError, Source
from inlay.adapters.llm_parts.token_rows import TokensConfig

__all__ = ["INPUT", "OUTPUT", "checkpoint_file", "llm_pairs", "read_trained", "split_matrices"]

INPUT, OUTPUT = "matrix.input", "matrix.output"
"""Our names for the two matrices before they are split."""
_LORA = {"lora_alpha": 32.0, "lora_dropout": 0.1}
"""Published settings of both systems, which the files do not contain (r = alpha = 32)."""


def llm_pairs(start: str) -> tuple[tuple[str, str], ...]:
    """Pairs of a key table for the matrices and the LoRA of an LLM in PEFT's wrapper.

    Args:
        start: the name of the wrapper in the file, such as ``llama_model.base_model.model.``.
    """
    return (
        (f"{start}model.embed_tokens.weight", INPUT),
        (f"{start}lm_head.weight", OUTPUT),
        # With and without the adapter's name in PEFT, "default".
        (f"{start}{{module*}}.lora_{{half}}.default.weight", "lora.{module}.lora_{half}.weight"),
        (f"{start}{{module*}}.lora_{{half}}.weight", "lora.{module}.lora_{half}.weight"),
    )


def checkpoint_file(source: Source) -> Source | None:
    """The pickle of a source: the file itself, or ``pytorch_model.pt`` of a folder; None without one."""
    if source.path.is_file():
        return source if source.path.suffix in (".pt", ".pth", ".bin") else None
    file = source.has("pytorch_model.pt")
    return None if file is None else Source(file)


def read_trained(source: Source, keys: KeyTable, tokens_of: Callable[[int], TokensConfig]) -> dict[str, Any]:
    """Read the trained parts of a checkpoint, as arguments of ``Imported``.

    Args:
        source: file or folder.
        keys: names of the tensors; those of the projector become ``inputs.image.layer.*``.
        tokens_of: function from the width of the LLM to the new tokens.

    Raises:
        ConvertError: a tensor that cannot be converted.
    """
    weights = (checkpoint_file(source) or source).weights
    renamed = keys.rename(weights, source)
    tensors, _ = part_tensors(weights, renamed)
    halves = {name.removeprefix("lora."): tensors.pop(name) for name in list(tensors) if name.startswith("lora.")}
    projector = tensors.get("inputs.image.layer.weight")
    if projector is None or projector.dim() != 2:
        name = keys.theirs("inputs.image.layer.weight")
        raise ConvertError(f"{source}: expected the matrix {name}, which is missing or is no matrix")
    width_out, width_in = projector.shape
    tokens = tokens_of(width_out)
    own = split_matrices(tensors, tokens.strings, source)
    return {
        "inputs": dict.fromkeys(
            ("image", "audio", "video"), ("linear", {"width_in": width_in, "width_out": width_out})
        ),
        "shared": True,
        "tokens": tokens,
        "tensors": tensors,
        "lora": lora_of({f"base_model.model.{name}": t for name, t in halves.items()}, _LORA, source)
        if halves
        else None,
        "frozen": {"llm": own},
        "ignored": renamed.ignored,
    }


def split_matrices(tensors: dict[str, Tensor], strings: Sequence[str], source: Source) -> dict[str, Tensor]:
    """Replace both matrices by the rows of new tokens.

    Args:
        tensors: our name -> tensor; changed in place.
        strings: the new tokens, in the order of their ids, which are the last ones.
        source: the checkpoint; its ``added_tokens.json``, if there is one, must give the tokens these ids.

    Returns:
        The rows of the LLM's own tokens, by their names in the LLM.

    Raises:
        ConvertError: a matrix is missing, has too few rows, or the tokenizer gives the tokens other ids.
    """
    own: dict[str, Tensor] = {}
    for matrix, rows, name in (
        (INPUT, "tokens.input", "model.embed_tokens.weight"),
        (OUTPUT, "tokens.output", "lm_head.weight"),
    ):
        held = tensors.pop(matrix, None)
        if held is None or held.dim() != 2 or len(held) <= len(strings):
            shape = "none" if held is None else list(held.shape)
            raise ConvertError(
                f"{source}: {name}: expected a matrix with rows of {len(strings)} new tokens, got {shape}"
            )
        first = len(held) - len(strings)
        _check_ids(strings, first, source)
        tensors[rows], own[name] = held[first:], held[:first]
    return own


def _check_ids(strings: Sequence[str], first: int, source: Source) -> None:
    ids = source.json("added_tokens.json")
    for index, text in enumerate(strings, first):
        if ids and ids.get(text) != index:
            raise ConvertError(
                f"{source}: added_tokens.json: expected {text!r} with the id {index}, the row of its matrix, got "
                f"{ids.get(text)}"
            )
