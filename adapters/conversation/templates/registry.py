"""The templates by name, and the registration of user-defined ones."""

from __future__ import annotations

import inspect
import re
from typing import get_args

from inlay.adapters.conversation.segments import Bos, LayoutError
from inlay.adapters.conversation.template import Template
from inlay.adapters.conversation.templates.any_to_any import ANY_TEMPLATES
from inlay.adapters.conversation.templates.blip import BLIP_TEMPLATES
from inlay.adapters.conversation.templates.chat_template import CHAT_TEMPLATES
from inlay.adapters.conversation.templates.llava import LLAVA_TEMPLATES
from inlay.adapters.conversation.templates.prismatic import PRISMATIC_TEMPLATES
from inlay.adapters.parts.registration import IMPORT_OWN, same_definition

__all__ = ["TEMPLATES", "register_template", "template_named"]

TEMPLATES: dict[str, Template] = {
    **LLAVA_TEMPLATES,
    **CHAT_TEMPLATES,
    **BLIP_TEMPLATES,
    **ANY_TEMPLATES,
    **PRISMATIC_TEMPLATES,
}
"""Name -> template."""


def register_template(name: str, template: Template) -> None:
    """Add a template, to use it in layouts and to read bundles that name it.

    Call it in every process, before the first layout or bundle that names the template. Registering the same function
    again is allowed.

    Args:
        name: letters, digits, ``_``, ``.`` and ``-``; a bundle stores it.
        template: its ``lay`` takes one argument, a :class:`~inlay.adapters.conversation.template.Dialogue`.

    Raises:
        LayoutError: a bad name, a bad template, or a name that another template has.

    Example:
        >>> from inlay.adapters.conversation.segments import Media, Text
        >>> from inlay.adapters.conversation.template import Dialogue, answer
        >>> def alpaca(dialogue: Dialogue) -> list[Media | Text]:
        ...     laid: list[Media | Text] = []
        ...     for message in dialogue.turns:
        ...         if message.role == "user":
        ...             for piece in dialogue.pieces(message):
        ...                 laid.append(Text(piece, literal=False) if isinstance(piece, str) else Media(piece))
        ...             laid.append(Text(" Response:"))
        ...         else:
        ...             laid += answer(message, dialogue.eos)
        ...     return laid
        >>> register_template("alpaca", Template(alpaca))
        >>> template_named("alpaca").bos
        'first'
        >>> del TEMPLATES["alpaca"]
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}", name):
        raise LayoutError(f"template: expected a name of letters, digits, '_', '.' and '-', got {name!r}")
    if not isinstance(template, Template):
        raise LayoutError(f"template {name!r}: expected a Template, got {type(template).__name__}: Template({name})")
    if not callable(template.lay) or not _takes_one(template.lay):
        raise LayoutError(f"template {name!r}: lay: expected a function of one argument, a Dialogue")
    if template.bos not in get_args(Bos):
        raise LayoutError(f"template {name!r}: bos: expected {', '.join(get_args(Bos))}, got {template.bos!r}")
    if not isinstance(template.stop, tuple) or not all(isinstance(text, str) and text for text in template.stop):
        raise LayoutError(f"template {name!r}: stop: expected a tuple of texts, none empty, got {template.stop!r}")
    held = TEMPLATES.get(name, template)
    edited = held.lay is not template.lay and same_definition(held.lay, template.lay)
    if held != template and not edited:
        raise LayoutError(f"template {name!r}: another template has this name; choose another name")
    TEMPLATES[name] = template


def template_named(name: str) -> Template:
    """The template with a name.

    Raises:
        LayoutError: there is no such template.
    """
    if not isinstance(name, str) or name not in TEMPLATES:
        raise LayoutError(
            f"template: expected one of {', '.join(TEMPLATES)}, got {name!r}; {IMPORT_OWN}, which calls "
            "register_template(name, template)"
        )
    return TEMPLATES[name]


def _takes_one(function: object) -> bool:
    try:
        inspect.signature(function).bind(None)  # type: ignore[arg-type]  # it is callable
    except (TypeError, ValueError):
        return False
    return True
