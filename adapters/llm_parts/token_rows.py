"""Token rows: a few new tokens for a frozen LLM, as rows of its input embedding and of its head.

A system that generates pictures needs tokens that request one. NExT-GPT (Wu et al., 2023,
https://arxiv.org/abs/2309.05519) adds ``[IMG0]`` to ``[IMG3]``, ``[VID0]`` to ``[VID23]`` and ``[AUD0]`` to ``[AUD7]``.
Enlarging both matrices would train and store all of their rows, 525 MB for 7B; here only the new rows exist,
2 x 36 x 4096 numbers, with their strings. On attach the strings get ids in a copy of the tokenizer, and the calls of
two modules are replaced: the embedding returns our row for such an id, the head one more logit for each. No matrix of
the LLM is enlarged, copied or changed, and hooks on both modules run as before.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from tokenizers import AddedToken
from torch import Tensor, nn

from inlay.adapters.language.lm_head import RowScores
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.head_table import columns, head_columns, head_width
from inlay.adapters.llm_parts.row_calls import HeadCall, RowEmbeddings, replace_call
from inlay.adapters.media.modality import Modality
from inlay.adapters.parts.build import build_module
from inlay.adapters.parts.fields import ConfigError, Size, check_number
from inlay.adapters.parts.stored_config import not_storable
from inlay.adapters.parts.undo import Undo
from inlay.hub.errors import InlayError
from inlay.hub.safety.text import forbidden_character, shown

__all__ = [
    "MAX_ROWS",
    "SIGNAL_MODALITIES",
    "TokenRows",
    "TokenRowsError",
    "TokensAttachment",
    "TokensConfig",
    "build_rows",
]

MAX_ROWS = 1024
"""Limit on new tokens: the manifest has four lists of at most 256 strings."""
SIGNAL_MODALITIES: tuple[Modality, ...] = ("image", "video", "audio")
"""Modalities with signal tokens, in the order of the published rows."""
_STEMS = {"image": "IMG", "video": "VID", "audio": "AUD"}


class TokenRowsError(InlayError):
    """New tokens do not fit this language model or its tokenizer."""


@dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """The strings, in the order of the rows: ``other``, ``image``, ``video``, ``audio``."""

    width: Size
    """Values per embedding of the LLM."""
    other: tuple[str, ...] = ()
    """Tokens that are not signal tokens, such as ``<Img>``; at most 256, as in each of the following lists."""
    image: tuple[str, ...] = ()
    """Signal tokens of a picture, in their order; empty if the adapter generates no pictures."""
    video: tuple[str, ...] = ()
    """Signal tokens of a clip."""
    audio: tuple[str, ...] = ()
    """Signal tokens of a sound."""

    def __post_init__(self) -> None:
        if expected := check_number(Size, self.width):
            raise ConfigError(f"width: expected {expected}, got {shown(self.width)}")
        for name in ("other", *SIGNAL_MODALITIES):
            given = getattr(self, name)
            if not isinstance(given, tuple) or not all(_is_token(text) for text in given):
                raise ConfigError(f"{name}: expected texts of 1 to 64 printable characters, got {shown(given)}")
        if not 1 <= len(self.strings) <= MAX_ROWS or len(set(self.strings)) != len(self.strings):
            raise ConfigError(f"expected 1 to {MAX_ROWS} different tokens, got {shown(self.strings)}")
        if problem := not_storable("rows", self):
            raise ConfigError(problem)

    @classmethod
    def numbered(
        cls, width: int, *, image: int = 0, video: int = 0, audio: int = 0, other: tuple[str, ...] = ()
    ) -> TokensConfig:
        """Signal tokens by their published names.

        Example:
            >>> TokensConfig.numbered(4096, image=4, audio=1).strings
            ('[IMG0]', '[IMG1]', '[IMG2]', '[IMG3]', '[AUD0]')
        """
        counts = {"image": image, "video": video, "audio": audio}
        signals = {name: tuple(f"[{_STEMS[name]}{i}]" for i in range(count)) for name, count in counts.items()}
        return cls(width=width, other=other, **signals)

    @property
    def strings(self) -> tuple[str, ...]:
        """The strings of all rows, in their order."""
        return self.other + self.image + self.video + self.audio

    @property
    def signals(self) -> dict[Modality, tuple[str, ...]]:
        """Modality -> its signal tokens, for modalities that have any."""
        return {name: getattr(self, name) for name in SIGNAL_MODALITIES if getattr(self, name)}


def _is_token(text: object) -> bool:
    return isinstance(text, str) and 1 <= len(text) <= 64 and not text.isspace() and not forbidden_character(text)


class TokenRows(nn.Module):
    """One row of the embedding and one of the head for every new token.

    An embedding row is used as the output of the embedding module, after any scaling in it; a head row gives the logit
    without the head's bias.

    Args:
        config: the strings and the width.
    """

    kind = "rows"

    def __init__(self, config: TokensConfig) -> None:
        super().__init__()
        self.config = config
        self.input = nn.Parameter(torch.zeros(len(config.strings), config.width))
        self.output = nn.Parameter(torch.zeros(len(config.strings), config.width))

    @classmethod
    def for_language(cls, llm: LanguageModel, config: TokensConfig) -> TokenRows:
        """New rows, drawn from a normal distribution with the mean and deviation of the LLM's rows.

        Raises:
            TokenRowsError: new tokens are not possible for this language model.
        """
        check_language(llm, config)
        table = llm.model.get_input_embeddings().get_parameter("weight")
        if table.is_meta and llm.device.type != "meta":
            raise TokenRowsError(
                "new rows need the statistics of the LLM's embeddings, which are offloaded; create the adapter "
                "on a backbone without offloading, and attach it to this one"
            )
        with torch.device("meta" if table.is_meta else "cpu"):
            rows = cls(config)
        if not table.is_meta:
            with torch.no_grad():
                embedded = llm.embed(torch.arange(len(table), device=table.device))
                rows.input.copy_(_drawn(*columns(embedded), len(rows.input)))
                rows.output.copy_(_drawn(*head_columns(_head(llm), llm.width, like=table), len(rows.output)))
        return rows

    def attach(self, llm: LanguageModel, undo: Undo | None = None) -> TokensAttachment:
        """Add the strings to the tokenizer and the rows to embedding and head. If this raises, nothing has changed.

        Args:
            llm: the language model.
            undo: receives the undo step of each change.

        Raises:
            TokenRowsError: an encoder-decoder, a head of another width, a tokenizer that splits a string.
        """
        check_language(llm, self.config)
        tokenizer = copy.deepcopy(llm.tokenizer)
        tokenizer.add_tokens([AddedToken(text, normalized=False, special=True) for text in self.config.strings])
        ids = tuple(int(i) for i in tokenizer.convert_tokens_to_ids(list(self.config.strings)))
        for text, index in zip(self.config.strings, ids, strict=True):
            if tokenizer(text, add_special_tokens=False).input_ids != [index]:
                raise TokenRowsError(f"expected a tokenizer that encodes {text!r} as one token; rename the token")
        embedding, head = llm.model.get_input_embeddings(), _head(llm)
        places = torch.tensor(ids, device=llm.device)
        undo = undo or Undo()
        try:
            undo.callback(llm.use_tokenizer, llm.tokenizer)
            llm.use_tokenizer(tokenizer, ids)
            replace_call(embedding, RowEmbeddings(embedding.forward, self.input, places), undo)
            replace_call(head, HeadCall(head.forward, self.output, places), undo)
        except BaseException:
            undo.close()
            raise
        return TokensAttachment(ids, undo)


@dataclass(frozen=True)
class TokensAttachment:
    """Attached rows."""

    ids: tuple[int, ...]
    """The ids of the strings, in the order of the rows."""
    undo: Undo
    """The stack whose ``close()`` restores both calls and the tokenizer object; further calls do nothing."""


def build_rows(kind: str, config: Mapping[str, Any], *, parameters: int | None = None) -> TokenRows:
    """Rows from the plain values of an untrusted manifest; as :func:`inlay.adapters.outputs.build_output`."""
    built = build_module(_KINDS, kind, config, unknown="unknown token rows {!r}; known: {}", parameters=parameters)
    return cast(TokenRows, built)


_KINDS: dict[str, tuple[type[nn.Module], type[Any]]] = {TokenRows.kind: (TokenRows, TokensConfig)}


def check_language(llm: LanguageModel, config: TokensConfig) -> None:
    """Check that new tokens are possible for a language model.

    Raises:
        TokenRowsError: they are not; gives the reason.
    """
    if llm.model.config.is_encoder_decoder:
        raise TokenRowsError(
            "new tokens need a decoder-only language model, which has hidden states at the positions of its input; "
            f"{llm.family!r} is an encoder-decoder. Use LLaMA, Vicuna, Qwen or OPT"
        )
    head = _head(llm)
    for module in (llm.model.get_input_embeddings(), head):
        if isinstance(module.__dict__.get("forward"), (RowEmbeddings, RowScores)):
            raise TokenRowsError(f"another adapter's tokens are on this LLM's {type(module).__name__}; detach it first")
    widths = llm.width, head_width(head, llm.width, like=llm.model.get_input_embeddings().get_parameter("weight"))
    if widths != (config.width, config.width):
        raise TokenRowsError(
            f"expected an embedding and a head of {config.width} values per row, this LLM has {widths[0]} and "
            f"{widths[1] or 'a head that takes another width'}"
        )


def _head(llm: LanguageModel) -> nn.Module:
    model: Any = llm.model
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        raise TokenRowsError(f"{type(llm.model).__name__} has no LM head module, so it cannot get new tokens")
    return head


def _drawn(mean: Tensor, deviation: Tensor, count: int) -> Tensor:
    """``count`` rows drawn about a mean ``[width]`` with a deviation ``[width]``."""
    return (mean + deviation * torch.randn(count, len(mean), device=mean.device)).cpu()
