"""Token rows: a few new tokens for a frozen LLM, as rows of its input embedding and of its head.

A system that draws needs words for "here comes a picture". NExT-GPT (Wu et al., 2023, https://arxiv.org/abs/2309.05519)
adds ``[IMG0]`` to ``[IMG3]``, ``[VID0]`` to ``[VID23]`` and ``[AUD0]`` to ``[AUD7]``. Enlarging both matrices would
train and store all of them, 525 MB for 7B; here only the new rows exist, 2 x 36 x 4096 numbers, with the strings that
they are for. On attach the strings get ids of the backbone's own tokenizer, and two calls are put around: the embedding
gives our row for such an id, the head one more score for each. No matrix of the LLM is enlarged, copied or changed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from tokenizers import AddedToken
from torch import Tensor, nn

from inlay.adapters.language.lm_head import RowScores
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.media.modality import Modality
from inlay.adapters.parts.build import build_module
from inlay.adapters.parts.fields import ConfigError, Size, check_number
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
"""Most new tokens."""
SIGNAL_MODALITIES: tuple[Modality, ...] = ("image", "video", "audio")
"""In the order of the published rows."""
_OURS = "_inlay_token_rows"
"""Marks a call that gives or takes rows of an adapter."""
_STEMS = {"image": "IMG", "video": "VID", "audio": "AUD"}


class TokenRowsError(InlayError):
    """New tokens do not fit this language model or its tokenizer."""


@dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """The strings, in the order of the rows: ``other``, ``image``, ``video``, ``audio``."""

    width: Size
    """Values per embedding of the LLM."""
    other: tuple[str, ...] = ()
    """Tokens that stand for nothing but themselves, such as ``<Img>``."""
    image: tuple[str, ...] = ()
    """Signal tokens of a picture, written one after the other; none if the adapter draws none."""
    video: tuple[str, ...] = ()
    """The same for a clip."""
    audio: tuple[str, ...] = ()
    """The same for a sound."""

    def __post_init__(self) -> None:
        if expected := check_number(Size, self.width):
            raise ConfigError(f"width: expected {expected}, got {shown(self.width)}")
        for name in ("other", *SIGNAL_MODALITIES):
            given = getattr(self, name)
            if not isinstance(given, tuple) or not all(_is_token(text) for text in given):
                raise ConfigError(f"{name}: expected texts of 1 to 64 printable characters, got {shown(given)}")
        if not 1 <= len(self.strings) <= MAX_ROWS or len(set(self.strings)) != len(self.strings):
            raise ConfigError(f"expected 1 to {MAX_ROWS} different tokens, got {shown(self.strings)}")

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
        """Of all rows, in their order."""
        return self.other + self.image + self.video + self.audio

    @property
    def signals(self) -> dict[Modality, tuple[str, ...]]:
        """Modality to its signal tokens, where there are any."""
        return {name: getattr(self, name) for name in SIGNAL_MODALITIES if getattr(self, name)}


def _is_token(text: object) -> bool:
    return isinstance(text, str) and 1 <= len(text) <= 64 and not text.isspace() and not forbidden_character(text)


class TokenRows(nn.Module):
    """One row of the embedding and one of the head for every new token.

    Both are what the LLM's own modules give and take: a model that scales its embeddings does so before our rows come
    in, and a head's bias is not ours.

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
        """Rows that begin like any other token's: drawn about the mean of all rows, with their deviation.

        Raises:
            TokenRowsError: this language model cannot have new tokens.
        """
        check_language(llm, config)
        table = llm.model.get_input_embeddings().get_parameter("weight")
        with torch.device("meta" if table.is_meta else "cpu"):
            rows = cls(config)
        if not table.is_meta:
            with torch.no_grad():
                rows.input.copy_(_like(llm.embed(torch.arange(len(table), device=table.device)), len(rows.input)))
                rows.output.copy_(_like(_head(llm).get_parameter("weight"), len(rows.output)))
        return rows

    def attach(self, llm: LanguageModel) -> TokensAttachment:
        """Give the strings ids, and the ids rows.

        Raises:
            TokenRowsError: an encoder-decoder, a head of another width, a tokenizer that splits a string.
        """
        check_language(llm, self.config)
        tokenizer = copy.deepcopy(llm.tokenizer)
        tokenizer.add_tokens([AddedToken(text, normalized=False, special=True) for text in self.config.strings])
        ids = tuple(int(i) for i in tokenizer.convert_tokens_to_ids(list(self.config.strings)))
        for text, index in zip(self.config.strings, ids, strict=True):
            if tokenizer(text, add_special_tokens=False).input_ids != [index]:
                raise TokenRowsError(f"this tokenizer does not read {text!r} as one token; rename it")
        embedding, head = llm.model.get_input_embeddings(), _head(llm)
        places = torch.tensor(ids, device=embedding.get_parameter("weight").device)
        calls = {embedding: embedding.__dict__.get("forward"), head: head.__dict__.get("forward")}
        attachment = TokensAttachment(llm, llm.use_tokenizer(tokenizer), ids, calls)
        _replace_call(embedding, self._embedding(embedding.forward, places))
        _replace_call(head, RowScores(head.forward, self.output, places))
        return attachment

    def _embedding(self, own: Any, places: Tensor) -> Any:
        def embed(ids: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            hits = ids.unsqueeze(-1) == places.to(ids.device)
            new = hits.any(dim=-1)
            known: Tensor = own(ids.masked_fill(new, 0), *args, **kwargs)
            rows = F.embedding(hits.to(torch.uint8).argmax(dim=-1), self.input).to(known.dtype)
            return torch.where(new.unsqueeze(-1), rows, known)

        return embed


@dataclass(frozen=True)
class TokensAttachment:
    """What stands in for the tokenizer and for two calls, and what was there before."""

    llm: LanguageModel
    tokenizer: Any
    """The one from before, unchanged."""
    ids: tuple[int, ...]
    """Of the strings, in the order of the rows."""
    calls: Mapping[nn.Module, Any]
    """Module to what somebody else (offloading, say) had put in the place of its call, or None."""

    def undo(self) -> None:
        """Put both calls and the very same tokenizer back."""
        for module, call in self.calls.items():
            module.__dict__.pop("forward")
            if call is not None:
                module.__dict__["forward"] = call
        self.llm.use_tokenizer(self.tokenizer)


def build_rows(kind: str, config: Mapping[str, Any], *, parameters: int | None = None) -> TokenRows:
    """Rows from plain values, none of which is trusted; as :func:`inlay.adapters.outputs.build_output`."""
    built = build_module(_KINDS, kind, config, unknown="unknown token rows {!r}; known: {}", parameters=parameters)
    return cast(TokenRows, built)


_KINDS: dict[str, tuple[type[nn.Module], type[Any]]] = {TokenRows.kind: (TokenRows, TokensConfig)}


def check_language(llm: LanguageModel, config: TokensConfig) -> None:
    """See whether a language model can have new tokens.

    Raises:
        TokenRowsError: says why not.
    """
    if llm.model.config.is_encoder_decoder:
        raise TokenRowsError(
            "new tokens need a decoder-only language model, whose states stand beside what it reads; "
            f"{llm.family!r} is an encoder-decoder. Use LLaMA, Vicuna, Qwen or OPT"
        )
    head = _head(llm)
    widths = (llm.width, int(head.get_parameter("weight").shape[1]))
    if widths != (config.width, config.width):
        raise TokenRowsError(
            f"expected an embedding and a head of {config.width} values a row, this LLM has {widths[0]} and {widths[1]}"
        )
    for module in (llm.model.get_input_embeddings(), head):
        if getattr(module.__dict__.get("forward"), _OURS, False):
            raise TokenRowsError(f"another adapter's tokens are at this LLM's {type(module).__name__}; detach it first")


def _head(llm: LanguageModel) -> nn.Module:
    model: Any = llm.model
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        raise TokenRowsError(f"{type(llm.model).__name__} has no head of its own, so it cannot write new tokens")
    return head


def _replace_call(module: nn.Module, call: Any) -> None:
    """The module object stays the same, so its name, its weights and whoever shares them do too."""
    setattr(call, _OURS, True)
    module.__dict__["forward"] = call


def _like(table: Tensor, count: int) -> Tensor:
    """``count`` rows drawn about the mean of a table ``[n, width]`` with its deviation in each column."""
    wide = table.float()
    return (wide.mean(dim=0) + wide.std(dim=0) * torch.randn(count, wide.shape[1], device=wide.device)).cpu()
