"""The processor files of a transformers folder: the resizing of pictures to squares, and the layout of conversations.

The files have different names in different versions: ``preprocessor_config.json`` or ``processor_config.json``, and
``chat_template.jinja``, ``chat_template.json``, ``processor_config.json`` or ``tokenizer_config.json``.
"""

from __future__ import annotations

import re
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert.source import ConvertError, Source
from inlay.hub.format.manifest import Geometry

__all__ = ["geometry_of", "layout_of"]

_QUESTION = "What is shown?"
_PROBE = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": _QUESTION}]}]
_VICUNA = re.compile(rf"(?:<s>)?(?:(?P<system>.+) )?USER: <image>\n{re.escape(_QUESTION)} ASSISTANT:", re.DOTALL)


def geometry_of(source: Source) -> Geometry:
    """The geometry by which the image processor of a folder resizes a picture to a square."""
    config = source.json("preprocessor_config.json") or source.json("processor_config.json").get("image_processor", {})
    if config.get("do_pad") and "crop_size" in config and "image_grid_pinpoints" not in config:
        return "pad"
    if config.get("do_center_crop", "shortest_edge" in (config.get("size") or {})):
        return "crop"
    return "squash"


def layout_of(source: Source, template: str | None, **fields: Any) -> Layout:
    """The layout of a folder's chat template.

    Args:
        source: the folder.
        template: name of one of our templates, instead of the folder's.
        fields: further fields of the layout.

    Raises:
        ConvertError: the chat template corresponds to none of ours.
    """
    if template is not None:
        return Layout.published(template, **fields)
    found = _chat_template(source)
    text = "" if found is None else _rendered(found, source)
    if match := _VICUNA.fullmatch(text):
        return Layout.published("vicuna_v1", system=match["system"] or "", **fields)
    what = "it has none" if found is None else f"it gives {text[:160]!r}"
    raise ConvertError(
        f"{source}: inlay has no template equal to this folder's chat template ({what}); name one, such as "
        "--template vicuna_v1, or --template chat for the language model's own"
    )


def _chat_template(source: Source) -> str | None:
    if (path := source.has("chat_template.jinja")) is not None:
        return path.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        if isinstance(found := source.json(name).get("chat_template"), str):
            return found
    return None


def _rendered(template: str, source: Source) -> str:
    """Render the template for a question about a picture; transformers runs it in a sandbox."""
    from jinja2 import TemplateError  # needed for chat templates only

    try:
        run: Any = render_jinja_template
        texts, _ = run(
            conversations=[_PROBE], chat_template=template, add_generation_prompt=True, bos_token="", eos_token=""
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise ConvertError(f"{source}: its chat template cannot be run on a question: {error}") from error
    return str(texts[0]).strip()
