"""Batches of an evaluation: as large as the memory allows, divided among processes, halved if memory runs out.

The KV cache grows with the batch: LLaVA-1.5 7B in bfloat16 needs 0.5 MiB per position, so 64 questions of 700
positions need 22 GiB. The size is planned from the configuration of the language model and the longest question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from inlay.adapters.language.model import LanguageModel
from inlay.hub.errors import InlayError
from inlay.recipes.distributed.ranks import all_of, local_world, rank, stop_together, world
from inlay.recipes.evaluation.errors import EvaluationError
from inlay.recipes.settings.free_memory import free_memory

__all__ = ["LARGEST", "bytes_per_question", "in_batches", "planned_size"]

T = TypeVar("T")
LARGEST = 64
"""Largest planned batch; larger ones are hardly faster."""
USED = 0.7
"""Planned share of the free memory; encoders, and copies of the growing KV cache, need the rest."""
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def bytes_per_question(config: Any, prompt: int, new: int, *, beams: int = 1, itemsize: int = 2) -> int:
    """Memory of one question: KV cache, logits, and the activations of the prompt in one layer.

    Args:
        config: the LLM's config from transformers.
        prompt: positions of the prompt, including media.
        new: maximum new tokens.
        beams: number of beams.
        itemsize: bytes per number.

    Example:
        >>> from transformers import LlamaConfig
        >>> seven_billion = LlamaConfig()  # 32 layers of 32 heads of 128
        >>> bytes_per_question(seven_billion, 624, 16) >> 20
        366
    """
    text = config.get_text_config(decoder=True)
    heads = _first(text, "num_attention_heads", "n_head", "num_heads", "decoder_attention_heads")
    width = _first(text, "hidden_size", "d_model", "n_embd", "dim")
    kept = getattr(text, "num_key_value_heads", None) or heads
    size = getattr(text, "head_dim", None) or getattr(text, "d_kv", None) or width // heads
    layers = getattr(text, "num_decoder_layers", None) or _first(text, "num_hidden_layers", "n_layer", "num_layers")
    inner = _first(text, "intermediate_size", "ffn_dim", "d_ff", "n_inner", default=4 * width)
    # An encoder-decoder also caches keys and values of the prompt, for cross-attention.
    cache = 2 * layers * kept * size * (prompt + new) * beams * itemsize
    passing = prompt * (4 * width + 2 * inner) * itemsize
    logits = 3 * 4 * int(text.vocab_size) * beams
    return cache + passing + logits


def _first(config: Any, *names: str, default: int = 0) -> int:
    """The first of these fields in the config; families use different names."""
    found = next((value for name in names if isinstance(value := getattr(config, name, None), int)), default)
    return max(1, found)


def planned_size(llm: LanguageModel, prompt: int, new: int, *, beams: int = 1) -> int:
    """The largest batch size that fits into the free memory, from 1 to 64.

    Args:
        llm: the LLM on its device.
        prompt: positions of the longest prompt.
        new: maximum new tokens.
        beams: number of beams.
    """
    free = free_memory(llm.device)
    if llm.device.type != "cuda":
        free //= local_world()  # The processes of a machine share its memory.
    itemsize = next(llm.model.parameters()).element_size()
    each = bytes_per_question(llm.model.config, prompt, new, beams=beams, itemsize=max(2, itemsize))
    return LARGEST if not free else max(1, min(LARGEST, int(USED * free) // each))


def in_batches(
    order: Sequence[int],
    size: int,
    work: Callable[[Sequence[int], int], Sequence[T]],
    *,
    shared: bool = False,
    show: Callable[[str], None] = print,
) -> list[T]:
    """Process numbered items in batches; if memory runs out, the batch size is halved for the remaining items.

    Args:
        order: the numbers ``0 .. n - 1``, in processing order.
        size: items per batch.
        work: ``(numbers, batch size)`` -> one result per number.
        shared: divide the batches among the processes, all of which call this; each gets all results. Batches are the
            same as in a single process.
        show: prints a line if memory runs out.

    Returns:
        Results by number.

    Raises:
        EvaluationError: out of memory with a single item.
    """
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    found: dict[int, T] = {}
    failed: InlayError | None = None
    try:
        for batch in batches[rank() :: world()] if shared else batches:
            done = 0
            while done < len(batch):
                part = batch[done : done + size]
                results = _tried(work, part, size)
                if results is None:
                    size = _halved(len(part))
                    show(f"out of memory with {len(part)} questions in a batch; continuing with {size}")
                    continue
                found.update(zip(part, results, strict=True))
                done += len(part)
    except InlayError as error:
        if not shared:
            raise
        failed = error
    if shared:
        stop_together(failed)
        found = {number: result for own in all_of(found) for number, result in own.items()}
    return [found[number] for number in range(len(order))]


def _tried(work: Callable[[Sequence[int], int], Sequence[T]], part: Sequence[int], size: int) -> Sequence[T] | None:
    """The results; None if memory ran out. The error is dropped, because its traceback references the tensors."""
    try:
        return work(part, size)
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:  # torch has no special error for CPU memory
        if not any(text in str(error) for text in _NO_MEMORY):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _halved(size: int) -> int:
    if size == 1:
        raise EvaluationError(
            "out of memory with one question in a batch: use fewer --max_new_tokens or --num_beams, smaller media, "
            "--backbone.quantise nf4, or a device with more memory"
        )
    return size // 2
