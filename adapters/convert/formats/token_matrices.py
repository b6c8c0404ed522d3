"""New tokens inside whole embedding matrices -> rows of an adapter, and the rows of the LLM's own tokens.

NExT-GPT and ModaVerse save both resized matrices, of which only the last rows are new. The other rows have to be the
LLM's: an adapter does not hold them, so a checkpoint that trained them gives other answers on the LLM.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from inlay.adapters.convert.source import ConvertError, Source

__all__ = ["INPUT", "OUTPUT", "split_matrices"]

INPUT, OUTPUT = "matrix.input", "matrix.output"
"""Our names of the two matrices before they are split."""


def split_matrices(tensors: dict[str, Tensor], strings: Sequence[str], source: Source) -> dict[str, Tensor]:
    """Replace both matrices by the rows of new tokens.

    Args:
        tensors: our name -> tensor; changed in place.
        strings: the new tokens, in the order of their ids, which are the last ones.
        source: its ``added_tokens.json``, if there is one, has to agree.

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
