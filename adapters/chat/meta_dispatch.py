"""ModaVerse's output side: the generated text is the prompt of stock generators, which have their own text encoders.

Wang et al., 2024, https://arxiv.org/abs/2401.06395. The flags of the meta response are tokens of the adapter, so they
are kept when ids are decoded; :mod:`inlay.adapters.conversation.meta_response` parses the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.reply import Reply, finish_reason
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MadePart, Part, TextPart
from inlay.adapters.conversation.meta_response import FLAGS, MetaResponse
from inlay.adapters.generators import Made
from inlay.adapters.language.generation.generate import Generation
from inlay.adapters.language.generation.stopping import FinishReason
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.media.modality import Modality

__all__ = ["dispatch", "spelled"]


def dispatch(
    written: Generation,
    layout: Layout,
    backbone: Backbone,
    media: Mapping[Modality, Mapping[str, Any]],
) -> list[Reply]:
    """Turn the new ids of each conversation into replies.

    Args:
        written: the new token ids of each row.
        layout: a layout whose answers are meta responses.
        backbone: the backbone with the generators; a reply names those that are missing.
        media: how each modality is generated, see :meth:`inlay.adapters.generators.Generator.generate`.
    """
    read = [layout.read(spelled(row, backbone.llm)) for row in written.rows]
    made: dict[Modality, list[Made]] = {}
    missing: dict[Modality, str] = {}
    for modality in dict.fromkeys(name for response in read for name in response.media):
        prompts = [response.prompt for response in read if modality in response.media]
        try:
            generator = backbone.generator(modality)
        except BackboneError as error:
            missing[modality] = str(error)
            continue
        made[modality] = generator.generate(generator.encode_text(prompts), **media.get(modality, {}))
    supplies = {modality: iter(own) for modality, own in made.items()}
    rows = zip(read, written.rows, written.finish, strict=True)
    return [_reply(response, supplies, missing, len(row), ended) for response, row, ended in rows]


def spelled(ids: Sequence[int], llm: LanguageModel) -> str:
    """Decode ids to text, keeping the flags and no other special token."""
    known = dict(zip(llm.tokenizer.convert_tokens_to_ids(list(FLAGS.values())), FLAGS.values(), strict=True))
    text = ""
    for flag, run in groupby(ids, key=known.get):
        if flag is None:
            text += llm.tokenizer.decode(list(run), skip_special_tokens=True)
        else:
            text += flag * len(list(run))
    return text


def _reply(
    response: MetaResponse,
    supplies: Mapping[Modality, Any],
    missing: Mapping[Modality, str],
    tokens: int,
    ended: FinishReason,
) -> Reply:
    parts: list[Part] = [TextPart(response.text)] if response.text else []
    for modality in response.media:
        source = next(supplies[modality]) if modality in supplies else None
        parts.append(MadePart(modality, response.prompt, source))
    return Reply(
        text=response.text,
        media=tuple(part.source for part in parts if isinstance(part, MadePart) and part.source is not None),
        tokens=tokens,
        parts=tuple(parts),
        missing=tuple(missing[modality] for modality in response.media if modality in missing),
        finish_reason=finish_reason(ended, bool(response.media)),
    )
