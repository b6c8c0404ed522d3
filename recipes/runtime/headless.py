"""A language model of which torch has the token embeddings alone; another program computes the rest.

It is a :class:`LanguageModel` like any other: conversations are laid out, media are encoded and projected, answers are
streamed, cut and read by the same code. LoRA layers are not put into it, because the other program has them.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any, NoReturn

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.generation.utils import GenerationMixin

from inlay.adapters.compatibility.ports import PRECISION
from inlay.adapters.language.model import LanguageModel, LanguageModelError
from inlay.adapters.language.occupancy import occupancy_of
from inlay.hub.format.manifest import PortSpec
from inlay.recipes.runtime.embedding_table import EmbeddingTable

__all__ = ["HeadlessLanguage", "HeadlessModel"]


class HeadlessModel(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]  # of a class hook
    """The model of transformers inside: token embeddings, config and generation config.

    Args:
        kept: of the language model.
    """

    main_input_name = "input_ids"

    def __init__(self, kept: EmbeddingTable) -> None:
        config = copy.deepcopy(kept.config)
        config.tie_word_embeddings = False  # there is no head to tie
        config._attn_implementation = "eager"  # there is no attention to choose
        super().__init__(config)
        self.table = kept.table
        self.generation_config = kept.generation

    def get_input_embeddings(self) -> nn.Module:
        """The token embeddings."""
        return self.table

    def get_output_embeddings(self) -> None:
        """None: the other program has the head."""
        return


class HeadlessLanguage(LanguageModel):
    """The port for a language model that another program runs.

    Args:
        model: with the token embeddings.
        tokenizer: of the language model.
        expected: the port that the adapter was trained on. The weights of the other program cannot be read here, so
            the port has these; its logits are compared by the canary.
        source: the Hub id, or another name.
        revision: the commit on the Hub.
    """

    def __init__(
        self,
        model: HeadlessModel,
        tokenizer: Any,
        *,
        expected: PortSpec | None = None,
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__(model, tokenizer, source=source, revision=revision)
        self._expected = expected
        self._reads_padding = True  # rows are handed over without their padding

    @property
    def adapted(self) -> bool:
        """Whether an adapter is attached, whose LoRA the other program has to use."""
        return occupancy_of(self.model).owner is not None

    @cached_property
    def port(self) -> PortSpec:
        """The interface, with the weights that the adapter expects."""
        own: PortSpec = LanguageModel.port.func(self)  # type: ignore[attr-defined]  # a cached property
        if self._expected is None:
            return own
        settings = dict(own.settings)
        if (precision := self._expected.settings.get(PRECISION)) is not None:
            settings[PRECISION] = precision
        return own.model_copy(update={"weights": self._expected.weights, "settings": settings})

    def require_one_beam(self, options: dict[str, Any], program: str) -> None:
        """Check that a generation is one without beams.

        Raises:
            LanguageModelError: it is not.
        """
        configured = getattr(self.model.generation_config, "num_beams", None)
        if (beams := int(options.get("num_beams") or configured or 1)) != 1:
            raise LanguageModelError(
                f"num_beams: expected 1, got {beams}: beams are not run in {program}; use --runtime torch for them"
            )

    def states(self, embeddings: Tensor, mask: Tensor) -> NoReturn:
        """Not available."""
        raise LanguageModelError("hidden states are not read from another program; use --runtime torch")

    def token_losses(self, *_: Any, **__: Any) -> NoReturn:
        """Not available."""
        raise LanguageModelError(
            "losses and rankings need the scores of all positions, which are not read from another program; use "
            "--runtime torch"
        )
