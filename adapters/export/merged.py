"""The language model's tensors with LoRA and token rows in them, computed one at a time.

``W + (alpha / r) B A`` in float32, rounded once to the model's data type. Rows of new tokens are written into the
embedding and the head; a row that no token has (the place of ``<image>``, say) is the mean of all rows, so its score is
never the highest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from inlay.adapters.adapter import Adapter
from inlay.adapters.export.target import ExportError
from inlay.adapters.language.precision import precision_of
from inlay.adapters.model import MultimodalModel

__all__ = ["LazyTensors", "language_tensors", "token_ids"]

_WRAPPED = ".base_layer."
"""Part of a tensor's name that an attached LoRA adds."""


class LazyTensors(Mapping[str, Tensor]):
    """Name -> tensor, computed when it is asked for and not kept.

    Args:
        makers: name -> function.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._makers = dict(makers)

    def __getitem__(self, name: str) -> Tensor:
        with torch.no_grad():
            return self._makers[name]().detach().cpu().contiguous()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def token_ids(model: MultimodalModel[Adapter]) -> list[int]:
    """The ids that the adapter's token rows have in the attached tokenizer, in the order of the rows."""
    tokens = model.adapter.tokens
    strings = [] if tokens is None else list(tokens.config.strings)
    return [int(i) for i in model.backbone.llm.tokenizer.convert_tokens_to_ids(strings)] if strings else []


def language_tensors(model: MultimodalModel[Adapter], *, rows: int = 0, tied: bool = True) -> LazyTensors:
    """All tensors of the merged language model under the names of the bare one, tied ones once.

    Args:
        model: the attached model.
        rows: the fewest rows of embedding and head; new token rows are added in any case.
        tied: leave out a head that is the embedding; one with rows of new tokens is never left out.

    Raises:
        ExportError: quantised or offloaded weights, or new tokens on an embedding that scales its rows.
    """
    llm: Any = model.backbone.llm.model
    if (precision := precision_of(llm)) is not None:
        raise ExportError(
            f"the language model is loaded in {precision}, whose weights cannot be merged exactly; load it without "
            "--backbone.quantise"
        )
    ids = token_ids(model)
    wanted = max([rows, *(index + 1 for index in ids)])
    embedding, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    tables = {id(module) for module in (embedding, head) if module is not None}
    homes = {f"{name}.": module for name, module in llm.named_modules()}
    loras = set(() if model.adapter.lora is None else model.adapter.lora.targets)
    makers: dict[str, Callable[[], Tensor]] = {}
    seen: set[int] = set()
    for raw, tensor in llm.state_dict(keep_vars=True).items():
        if tensor.is_meta:
            raise ExportError(f"{raw} is offloaded; load the language model without offloading to export it")
        start, _, leaf = raw.rpartition(".")
        module, name = homes[f"{start}."], raw.replace(_WRAPPED, ".")
        is_head = module is head
        if id(tensor) in seen and not (is_head and leaf == "weight" and (ids or not tied)):
            continue
        seen.add(id(tensor))
        if id(module) in tables and leaf == "weight":
            makers[name] = partial(_table, tensor, wanted, ids, partial(_own_rows, model, is_head))
        elif is_head and leaf == "bias":
            makers[name] = partial(_bias, tensor, wanted, ids)
        elif leaf == "weight" and name.removesuffix(".weight") in loras:
            makers[name] = partial(_merged, model, name.removesuffix(".weight"), tensor)
        else:
            makers[name] = partial(_same, tensor)
    return LazyTensors(makers)


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _table(tensor: Tensor, rows: int, ids: list[int], own: Callable[[], Tensor]) -> Tensor:
    """``[vocabulary, width]`` -> at least ``rows`` of them, with the adapter's at their ids."""
    if not ids and rows <= len(tensor):
        return tensor
    mean = tensor.float().mean(dim=0, keepdim=True).to(tensor.dtype)
    table = torch.cat([tensor, mean.expand(max(0, rows - len(tensor)), -1)])
    if ids:
        table[torch.tensor(ids, device=table.device)] = own().to(table.device, table.dtype)
    return table


def _bias(tensor: Tensor, rows: int, ids: list[int]) -> Tensor:
    """A head's bias ``[vocabulary]``; scores of the adapter's rows have none."""
    bias = torch.cat([tensor, tensor.float().mean().to(tensor.dtype).expand(max(0, rows - len(tensor)))])
    bias[torch.tensor(ids, dtype=torch.long, device=bias.device)] = 0
    return bias


def _merged(model: MultimodalModel[Adapter], target: str, weight: Tensor) -> Tensor:
    lora: Any = model.adapter.lora  # the caller found the target in it
    down, up = (matrix.to(weight.device).float() for matrix in lora.matrices(target))
    change: Tensor = lora.config.scale * (up @ down)
    linear = model.backbone.llm.model.get_submodule(target)
    if isinstance(getattr(linear, "base_layer", linear), Conv1D):
        change = change.T  # its weight is [in, out]
    return (weight.float() + change).to(weight.dtype)


def _own_rows(model: MultimodalModel[Adapter], head: bool) -> Tensor:
    """The adapter's rows as the table stores rows: an embedding may scale what it looks up (Gemma)."""
    tokens: Any = model.adapter.tokens  # the caller has ids of its rows
    llm = model.backbone.llm
    if head:
        return cast(Tensor, tokens.output)
    table = llm.model.get_input_embeddings().get_parameter("weight")
    ids = torch.arange(1, 5, device=table.device)
    ratio = llm.embed(ids[None])[0].float() / table[ids].float()
    ratio = ratio[~ratio.isnan()]
    if not torch.allclose(ratio, ratio.median(), rtol=0.02):
        raise ExportError(
            "this language model's embedding is not a plain table, so rows of new tokens cannot be written into it"
        )
    rows: Tensor = tokens.input if bool((ratio == 1).all()) else tokens.input.float() / ratio.median()
    return rows
