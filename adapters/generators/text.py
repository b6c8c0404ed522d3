"""The frozen text encoders of generators, whose output is the training target of output projectors.

Stable Diffusion and the text-to-video models take the last hidden states of CLIP's text tower (77 tokens, Rombach et
al., 2022, https://arxiv.org/abs/2112.10752); AudioLDM takes one pooled vector of CLAP's (Liu et al., 2023,
https://arxiv.org/abs/2301.12503), L2-normalised; CogVideoX takes T5's hidden states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inlay.adapters.generators.denoising.arguments import check_texts
from inlay.adapters.language.freeze import freeze

__all__ = ["ClapText", "ClipText", "T5Text", "TextEncoder"]


class TextEncoder(Protocol):
    """A frozen ``nn.Module`` from texts to conditioning."""

    @property
    def tokens(self) -> int:
        """Vectors per text."""
        ...

    @property
    def width(self) -> int:
        """Values per vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Tensor:
        """``[n, tokens, width]``."""
        ...


class ClipText(nn.Module):
    """CLIP's text model; texts are padded to its full length.

    Args:
        model: a ``CLIPTextModel``.
        tokenizer: its tokenizer; longer texts are truncated.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model = freeze(model)
        self.tokenizer = tokenizer
        self.tokens = min(int(tokenizer.model_max_length), int(model.config.max_position_embeddings))
        self.width = int(model.config.hidden_size)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """``[n, tokens, width]`` in the model's dtype."""
        inputs = _tokenised(self.tokenizer, texts, self.tokens, self.model.device)
        masked = getattr(self.model.config, "use_attention_mask", False)
        states: Tensor = self.model(inputs["input_ids"], attention_mask=inputs["attention_mask"] if masked else None)[0]
        return states


class ClapText(nn.Module):
    """CLAP's text model and its projection, L2-normalised.

    Args:
        model: a ``ClapTextModelWithProjection``.
        tokenizer: its tokenizer; longer texts are truncated.
    """

    tokens = 1

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model = freeze(model)
        self.tokenizer = tokenizer
        self.width = int(model.config.projection_dim)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """``[n, 1, width]`` with an L2 norm of 1, in the model's dtype."""
        inputs = _tokenised(self.tokenizer, texts, int(self.tokenizer.model_max_length), self.model.device)
        pooled: Tensor = self.model(**inputs).text_embeds
        return F.normalize(pooled, dim=-1).unsqueeze(1)


class T5Text(nn.Module):
    """T5's encoder; texts are padded to the generator's length, and the padding is not masked.

    Args:
        model: a ``T5EncoderModel``.
        tokenizer: its tokenizer; longer texts are truncated.
        tokens: the length that the generator was trained with.
    """

    def __init__(self, model: Any, tokenizer: Any, tokens: int) -> None:
        super().__init__()
        self.model = freeze(model)
        self.tokenizer = tokenizer
        self.tokens = tokens
        self.width = int(model.config.d_model)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """``[n, tokens, width]`` in the model's dtype."""
        inputs = _tokenised(self.tokenizer, texts, self.tokens, self.model.device)
        states: Tensor = self.model(inputs["input_ids"])[0]
        return states


def _tokenised(tokenizer: Any, texts: Sequence[str], length: int, device: torch.device) -> dict[str, Tensor]:
    inputs = tokenizer(
        check_texts(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    return {name: inputs[name].to(device) for name in ("input_ids", "attention_mask")}
