"""The processor files of a transformers folder: the resizing of pictures to squares, and the layout of conversations.

The files have different names in different versions: ``preprocessor_config.json`` or ``processor_config.json``, and
``chat_template.jinja``, ``chat_template.json``, ``processor_config.json`` or ``tokenizer_config.json``.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from transformers.utils.chat_template_utils import render_jinja_template

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.segments import HOLE, LayoutError
from inlay.adapters.convert.source import ConvertError, Source
from inlay.adapters.loading.files.errors import reason_of
from inlay.hub.format.manifest import Geometry, LayoutSpec

__all__ = ["geometry_of", "layout_of"]

_QUESTION = "What is shown?"
_PROBE = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": _QUESTION}]}]
_VICUNA = re.compile(
    rf"(?:<s>)?(?:(?P<system>.+?) )?USER: <image>\n(?P<before>.*){re.escape(_QUESTION)}(?P<after>.*) ASSISTANT:",
    re.DOTALL,
)


def geometry_of(source: Source) -> Geometry:
    """How the image processor of a folder makes a square of a picture; ``squash`` without its file.

    Raises:
        ConvertError: it makes no squares, or of another side than the vision tower takes.
    """
    config = source.json("preprocessor_config.json") or source.json("processor_config.json").get("image_processor", {})
    size = config.get("size")
    by_side = isinstance(size, dict) and "shortest_edge" in size
    if config.get("do_pad") and "crop_size" in config and "image_grid_pinpoints" not in config:
        found: Geometry = "pad"
    else:
        found = "crop" if config.get("do_center_crop", by_side) else "squash"
    if found == "squash" and by_side:
        raise ConvertError(
            f"{source}: the image processor keeps the aspect ratio (size.shortest_edge without do_center_crop), and an "
            "encoder takes squares"
        )
    sides = {*_sides(size if found == "squash" else config.get("crop_size", size))}
    expected = (source.config.get("vision_config") or {}).get("image_size")
    if sides and type(expected) is int and sides != {expected}:
        raise ConvertError(
            f"{source}: expected an image processor for squares of {expected} pixels (vision_config.image_size), got "
            f"{' x '.join(map(str, sorted(sides)))}"
        )
    return found


def _sides(size: Any) -> list[int]:
    """The sides in a ``size`` or ``crop_size``, which is a number in old files."""
    values = size.values() if isinstance(size, dict) else [size]
    return [value for value in values if type(value) is int]


def layout_of(source: Source, template: str | None, **fields: Any) -> Layout:
    """The layout of a folder's chat template, or of the ``EXPORT.json`` that ``inlay export`` wrote.

    Args:
        source: the folder.
        template: instead of it, by the name of one of ours; further fields are those of an export with this template.
        fields: of the layout.

    Raises:
        ConvertError: the chat template corresponds to none of ours.
    """
    recorded = _recorded(source)
    if template is not None and (recorded is None or recorded.template != template):
        return Layout.published(template, **fields)
    found = _chat_template(source)
    text = "" if found is None or template is not None else _rendered(found, source)
    if match := _VICUNA.fullmatch(text):
        prompt = f"{match['before']}{HOLE}{match['after']}"
        return Layout.published("vicuna_v1", system=match["system"] or "", prompt=prompt, **fields)
    if recorded is not None:
        return replace(recorded, **fields)
    what = "it has none" if found is None else f"it gives {text[:160]!r}"
    raise ConvertError(
        f"{source}: inlay has no template equal to this folder's chat template ({what}); name one, such as "
        "--template vicuna_v1, or --template chat for the language model's own"
    )


def _recorded(source: Source) -> Layout | None:
    """The layout in ``EXPORT.json``; None without one."""
    held = source.json("EXPORT.json").get("layout")
    if not isinstance(held, dict):
        return None
    try:
        spec = LayoutSpec.model_validate_json(json.dumps(held))
        values = {name: getattr(spec, name) for name in LayoutSpec.model_fields}
        return Layout(**values | {"system": spec.system or ""})
    except (ValidationError, LayoutError) as error:
        raise ConvertError(f"{source}: EXPORT.json: layout: {reason_of(error)}") from error


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
