"""The longest row of a stage, for its memory plan: the input of the LLM, and further memory beside one training pass.

A row is a conversation, a preference row with all its answers, or a question with its group of answers. Sampled answers
are not known before training, so each is taken to be as long as the limit allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from inlay.adapters.core.batch import Batch
from inlay.adapters.language.generation.prefilled import prefill_way
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.sampling.lengths import lengths_of
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.objectives.policy_gradient.module import PolicyModule
from inlay.recipes.objectives.policy_gradient.questions import QuestionData
from inlay.recipes.objectives.policy_gradient.rollout import Roller, Rollout
from inlay.recipes.objectives.preference.data import PairData
from inlay.recipes.objectives.preference.module import PreferenceModule

__all__ = ["Largest", "Planned", "largest_batch", "vocabulary_size"]

Planned: TypeAlias = StageData | PairData | QuestionData
"""Data of stages that have a memory plan."""

CANDIDATES = 64
"""Samples that are encoded to find the one with the most positions."""
SCORE_COPIES = 4
"""Copies of the scores of a step while a token is drawn: raw, scaled, probabilities, and one in use."""


@dataclass(frozen=True)
class Largest:
    """The longest row of a stage."""

    batch: Batch
    """This row alone."""
    answers: bool = False
    """Whether its answers are compared by their log-probabilities, and not by the mean loss."""
    reference: int = 0
    """Bytes of the copy of the adapter at the start."""
    generation: int = 0
    """Bytes of keys, values and scores while the answers to this row are drawn."""


def largest_batch(module: NextTokenModule, data: Planned) -> Largest:
    """Find the longest row of a stage.

    Args:
        module: training module on its device.
        data: data of the stage.
    """
    if isinstance(data, QuestionData) and isinstance(module, PolicyModule):
        return _group(module, data)
    if isinstance(data, PairData) and isinstance(module, PreferenceModule):
        longest = _longest(_sizes(data), lambda index: sum(len(row.ids) for row in data.read(0, index).rows))
        copied = module.loss.needs_reference and data.stored is None
        reference = _bytes(module.reference.tensors) if copied else 0
        return Largest(data.collate([data.read(0, longest)]).batch, answers=True, reference=reference)
    longest = _longest(_sizes(data), lambda index: len(data.read(0, index).ids))
    batch: Any = data.collate([data.read(0, longest)])
    return Largest(batch)


def vocabulary_size(module: NextTokenModule) -> int:
    """Scores of the language model at one position."""
    return len(module.model.backbone.llm.model.get_input_embeddings().get_parameter("weight"))


def _group(module: PolicyModule, data: QuestionData) -> Largest:
    """The longest question with a whole group of the longest answers."""
    roller = module.roller
    sizes = [sum(len(message.text) for message in question.prompt) for question, _ in data.pairs]
    prompts: dict[int, int] = {}

    def positions(index: int) -> int:
        question = data.asked(index).question
        prompt = module.model.encode(question.prompt, layout=roller.layout, generation=True)
        prompts[index] = len(prompt.ids)
        return len(prompt.ids)

    longest = _longest(sizes, positions)
    asked = data.asked(longest)
    answers = (((module.model.backbone.llm.pad_id,) * roller.max_new_tokens,) * roller.group,)
    nothing = torch.zeros(0)
    rollout = Rollout(
        replaced=(0,), texts=((),), ids=answers, cut=((),), rewards=nothing, log_probs=nothing, sampled=nothing
    )
    batch = module.model.collate(roller.rows([asked], rollout), layout=roller.layout, features=roller.features)
    return Largest(
        batch,
        answers=True,
        reference=_bytes(module.reference.tensors) if module.settings.kl_weight else 0,
        generation=_generation(module, roller, prompts[longest]),
    )


def _generation(module: PolicyModule, roller: Roller, prompt: int) -> int:
    """Keys and values of a prompt and of its answers, and the scores of one step."""
    llm = module.model.backbone.llm
    config: Any = llm.model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    shared = prefill_way(llm.model, llm.wiring, llm.dtype) == "shared"
    positions = prompt * (1 if shared else roller.group) + roller.group * roller.max_new_tokens
    stored = 2 * config.num_hidden_layers * heads * width * positions * llm.dtype.itemsize
    return int(stored + SCORE_COPIES * roller.group * vocabulary_size(module) * 4)


def _sizes(data: Any) -> Sequence[int]:
    sizes: Sequence[int] = list(lengths_of(data.samples)) if data.lengths is None else list(data.lengths)
    return sizes


def _longest(sizes: Sequence[int], positions: Callable[[int], int]) -> int:
    """Index of the row with the most positions among those whose texts and number of media are the largest.

    The size of a tiled picture decides its positions, and reading the header of every picture would take too long.
    """
    largest = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)[:CANDIDATES]
    return max(largest, key=positions)


def _bytes(tensors: Sequence[torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
