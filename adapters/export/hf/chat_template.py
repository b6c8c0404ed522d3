"""A layout as a chat template in Jinja, as processors of transformers, vLLM and SGLang read it.

Contents are texts, or lists of parts ``{"type": "image"}`` and ``{"type": "text", "text": ...}``. BOS is not in the
template: the tokenizer adds it. Every template is rendered and compared with the adapter's own layout before it is kept
 (:func:`rendering_differences`).
"""

from __future__ import annotations

import json
import re
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from inlay.adapters.conversation.layout import Layout, segments
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.conversation.segments import HOLE, Media
from inlay.adapters.conversation.templates.chat_template import own_template

__all__ = ["IMAGE", "chat_template", "conversations", "plain", "rendering_differences"]

IMAGE = "<image>"

_MACROS = r"""
{%- macro joined(content) -%}
{%- if content is string -%}{{ content }}{%- else -%}
{%- set said = namespace(text='') -%}
{%- for part in content if part['type'] == 'text' and part['text'] -%}
{%- set touch = said.text[-1:] in ' \n\t([{' or part['text'][0] in ' \n\t.,;:!?)]}%' -%}
{%- set said.text = said.text ~ ('' if touch else ' ') ~ part['text'] -%}
{%- endfor -%}
{{ said.text }}{%- endif -%}
{%- endmacro -%}
{%- macro asked(content, lead) -%}
{%- set images = [] if content is string else content | selectattr('type', 'equalto', 'image') | list -%}
{%- set seen = namespace(words=false, mixed=false) -%}
{%- for part in content if images -%}
{%- if part['type'] == 'text' and part['text'] | trim -%}{%- set seen.words = true -%}
{%- elif part['type'] == 'image' and seen.words -%}{%- set seen.mixed = true -%}{%- endif -%}
{%- endfor -%}
{%- if not images -%}{{ BEFORE ~ joined(content) ~ AFTER }}
{%- elif seen.mixed and not (lead and images | length == 1) -%}
{%- set out = namespace(text='', last='') -%}
{%- for part in content -%}
{%- if part['type'] == 'image' -%}
{%- set out.text = out.text ~ (' ' if out.last == 'text' else '\n' if out.last else '') ~ '<image>' -%}
{%- set out.last = 'image' -%}
{%- elif part['type'] == 'text' and part['text'] | trim -%}
{%- set out.text = out.text ~ ('\n' if out.last == 'image' else ' ' if out.last else '') ~ part['text'] | trim -%}
{%- set out.last = 'text' -%}
{%- endif -%}
{%- endfor -%}
{{ out.text }}
{%- else -%}
{%- set words = (BEFORE ~ joined(content) ~ AFTER) | trim -%}
{%- for image in images -%}{{ '<image>' ~ ('\n' if words or not loop.last else '') }}{%- endfor -%}{{ words }}
{%- endif -%}
{%- endmacro -%}
"""
"""``joined``: the words of a message, with a space between parts. ``asked``: a user's turn, with a newline behind each
picture and a space in front of a picture that follows words; ``lead``: the only picture comes first."""

_SYSTEM = r"""
{%- if messages[0]['role'] == 'system' -%}
{%- set system = joined(messages[0]['content']) -%}{%- set messages = messages[1:] -%}
{%- else -%}{%- set system = SYSTEM -%}{%- endif -%}
"""

_VICUNA = r"""
{%- if system -%}{{ system ~ ' ' }}{%- endif -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{{ 'USER: ' ~ asked(message['content'], true) }}
{%- if not loop.last or add_generation_prompt -%}{{ ' ASSISTANT:' }}{%- endif -%}
{%- else -%}{{ ' ' ~ joined(message['content']) ~ EOS }}{%- endif -%}
{%- endfor -%}
"""

_PLAIN = r"""
{%- for message in messages -%}
{%- if message['role'] == 'user' and message['content'] is not string -%}
{%- for part in message['content'] if part['type'] == 'image' -%}{{ '<image>' }}{%- endfor -%}
{%- elif message['role'] == 'assistant' -%}{{ joined(message['content']) ~ '\n' }}{%- endif -%}
{%- endfor -%}
"""

_WORDS = r"""
{%- set before = namespace(words=false) -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{%- set words = (BEFORE ~ joined(message['content']) ~ AFTER) | trim -%}
{%- set before.words = words != '' -%}{{ words }}
{%- elif message['role'] == 'assistant' -%}
{{ (' ' if before.words else '') ~ joined(message['content']) ~ END }}
{%- endif -%}
{%- endfor -%}
"""
"""BLIP's processors put the places of the picture in front by themselves."""

_FLAT = r"""
{%- set flat = namespace(turns=[]) -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{%- set text = asked(message['content'], false) -%}
{%- else -%}{%- set text = joined(message['content']) -%}{%- endif -%}
{%- set flat.turns = flat.turns + [dict(role=message['role'], content=text)] -%}
{%- endfor -%}
{%- set messages = flat.turns -%}
"""
"""Lists of parts as texts, for the language model's own template behind it."""

_DEFAULT_SYSTEM = r"""
{%- if messages[0]['role'] != 'system' -%}
{%- set messages = [dict(role='system', content=SYSTEM)] + messages -%}
{%- endif -%}
"""
_NO_SYSTEM = r"""
{%- if messages[0]['role'] == 'system' -%}
{%- set system = messages[0]['content'] -%}{%- set messages = messages[1:] -%}
{%- else -%}{%- set system = SYSTEM -%}{%- endif -%}
{%- if system -%}
{%- set messages = [dict(role='user', content=system ~ '\n\n' ~ messages[0]['content'])] + messages[1:] -%}
{%- endif -%}
"""
"""For a template without a system role: its text in front of the first user's words."""


_BODIES = {"vicuna_v1": _SYSTEM + _VICUNA, "plain": _PLAIN, "blip2": _WORDS, "instructblip": _WORDS}
"""Template of the layout -> what follows the macros."""


def chat_template(layout: Layout, tokenizer: Any) -> str:
    """The Jinja text of a layout.

    Args:
        layout: of the adapter; its prompt has one place for the user's words.
        tokenizer: of the language model; its own template for the layout ``chat``.
    """
    before, after = layout.prompt.split(HOLE)
    eos = str(tokenizer.eos_token or "")
    names = {"BEFORE": before, "AFTER": after, "SYSTEM": layout.system, "EOS": eos}
    names["END"] = "\n" if layout.template == "blip2" else eos
    if (body := _BODIES.get(layout.template)) is not None:
        return _named(_MACROS + body, names)
    own, variables, takes_system = own_template(tokenizer, layout.date, layout.arguments)
    prelude = _MACROS + _FLAT
    if not takes_system or layout.system:
        prelude += _DEFAULT_SYSTEM if takes_system else _NO_SYSTEM
    sets = "".join(f"{{%- set {name} = {_literal(value)} -%}}" for name, value in variables.items())
    return f"{_named(prelude, names)}{sets}{own}"


def rendering_differences(template: str, layout: Layout, tokenizer: Any) -> list[str]:
    """Conversations that the template renders in another way than the adapter's layout; empty if all are equal.

    Args:
        template: Jinja text.
        layout: of the adapter.
        tokenizer: of the language model.

    Returns:
        One text for each difference: what was expected and what came.
    """
    differing = []
    for messages in conversations(layout.template):
        laid = segments(layout, messages, tokenizer, generation=True)
        blip = layout.template in ("blip2", "instructblip")
        expected = "".join(("" if blip else IMAGE) if isinstance(part, Media) else part.text for part in laid)
        run: Any = render_jinja_template
        texts, _ = run(
            conversations=[[plain(message) for message in messages]],
            chat_template=template,
            add_generation_prompt=True,
            bos_token=str(tokenizer.bos_token or ""),
            eos_token=str(tokenizer.eos_token or ""),
        )
        if texts[0] != expected:
            differing.append(f"expected {expected!r}, got {texts[0]!r}")
    return differing


def conversations(template: str) -> list[list[Message]]:
    """Conversations that end with the user's turn, for comparisons: with and without pictures, of several turns."""
    picture, asked, said = MediaPart("image", "picture"), TextPart("What is shown?"), TextPart("Two cats.")
    first = Message("user", (picture, asked))
    found = [
        [first],
        [first, Message("assistant", (said,)), Message("user", (TextPart("How many"), TextPart("dogs?")))],
    ]
    if template not in ("blip2", "instructblip"):
        found.append([Message("user", (picture, picture, asked))])
    if template in ("vicuna_v1", "chat"):
        found.append([Message("user", (asked,))])
        found.append([Message("system", (TextPart("Be brief."),)), first])
    return found


def plain(message: Message) -> dict[str, Any]:
    """A message as transformers takes it; text alone is a string."""
    parts = [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image"}
        for part in message.content
    ]
    alone = len(parts) == 1 and parts[0]["type"] == "text"
    return {"role": message.role, "content": parts[0]["text"] if alone else parts}


def _named(template: str, names: dict[str, str]) -> str:
    """The template with its upper-case names as texts."""
    return re.sub(rf"\b({'|'.join(names)})\b", lambda found: _literal(names[found[1]]), template).strip()


def _literal(value: Any) -> str:
    """A value in Jinja."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return json.dumps(value, ensure_ascii=False)
