"""The LLM's own chat template: ``chat``.

The template of the tokenizer is rendered with numbered placeholders instead of the contents, so that no content passes
through Jinja. The loss covers the text after the generation prompt: the answer, and the template's text up to and
including its next special token (``<|im_end|>``, ``<|eot_id|>``, ``<end_of_turn>``, ...), which ends the turn.

Three properties of published templates need special treatment. A template may contain the date (Llama 3.2, Mistral
Small): it is given a fixed day, so that prompts equal those of the training. A template may have no system role (Gemma
raises an error, Mistral drops or moves it): the system text is then put before the first user's words. A template may
accept content only as a list of parts (SmolVLM, Idefics): it is given one part of text.

Further variables of a template, such as Qwen 3's ``enable_thinking``, are arguments of the layout.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from inlay.adapters.conversation.messages import Message
from inlay.adapters.conversation.segments import LayoutError, Segment, Text
from inlay.adapters.conversation.template import Dialogue, Template, answer, is_empty
from inlay.adapters.conversation.templates.llava import with_newlines

__all__ = ["CHAT_TEMPLATES", "DEFAULT_DATE", "added_token_in", "own_template", "template_variables", "writes_date"]

DEFAULT_DATE = "2024-07-26"
"""The day for layouts without one. Llama 3.1's template falls back to the same day."""

_CLOCK = """{%- macro strftime_now(format) -%}
{%- set parts = format.split("%") -%}
{{ parts[0] }}
{%- for part in parts[1:] -%}
{%- set length = 2 if part[:1] == "-" else 1 -%}
{{ inlay_date[part[:length]] ~ part[length:] }}
{%- endfor -%}
{%- endmacro %}
"""
"""Replaces the function that transformers passes to templates; variables of a template cannot be functions."""

_SET = frozenset(
    [
        "messages",
        "tools",
        "documents",
        "add_generation_prompt",
        "bos_token",
        "eos_token",
        "pad_token",
        "unk_token",
        "sep_token",
        "cls_token",
        "mask_token",
        "raise_exception",
        "strftime_now",
        "date_string",
        "namespace",
        "range",
        "dict",
        "lipsum",
        "cycler",
        "joiner",
    ]
)
"""Variables that transformers, Jinja, or the layout's date set."""

_OPEN, _CLOSE = "\ue000", "\ue001"
_HOLE = re.compile(f"{_OPEN}(\\d+){_CLOSE}")


def chat(dialogue: Dialogue) -> list[Segment]:
    """Render the tokenizer's chat template with placeholders and replace them by the contents."""
    tokenizer = dialogue.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        raise LayoutError(
            "template 'chat': this tokenizer has no chat template; choose 'vicuna_v1' or another template"
        )
    if unknown := sorted(set(dialogue.arguments) - template_variables(tokenizer)):
        raise LayoutError(
            f"arguments: this tokenizer's chat template has no variable {', '.join(unknown)}; it has: "
            f"{', '.join(sorted(template_variables(tokenizer))) or 'none'}"
        )
    render = _Renderer(tokenizer, dialogue.date, dialogue.arguments)
    contents = [_content(dialogue, message) for message in dialogue.turns]
    roles = [message.role for message in dialogue.turns]
    system: list[Segment] = [Text(dialogue.system, literal=False)] if dialogue.system else []
    if system and _takes_system(render):
        contents.insert(0, system)
        roles.insert(0, "system")
    elif system:
        contents[0] = [*system, Text("\n\n"), *contents[0]]
        dialogue.notes.append(
            "this tokenizer's chat template has no system role (or moves it), so the system text is put before "
            "the first user's words"
        )
    learnt = [False] * (len(roles) - len(dialogue.turns)) + [_is_learnt(message) for message in dialogue.turns]
    rendered = render(roles, generation=dialogue.generation)
    if not _in_order(rendered, roles):
        raise LayoutError(
            "template 'chat': this tokenizer's chat template drops, repeats or reorders turns; use another template"
        )
    starts = _answer_starts(rendered, roles, render)
    laid: list[Segment] = []
    cursor, answered, trained = 0, False, False
    for hole in _HOLE.finditer(rendered):
        index = int(hole[1])
        tail = _end_of_turn(rendered[cursor : hole.start()], tokenizer) if answered else 0
        start = max(cursor + tail, starts.get(index, hole.start()))
        laid.append(Text(rendered[cursor : cursor + tail], trained=trained))
        answered, trained = roles[index] == "assistant", learnt[index]
        laid += [Text(rendered[cursor + tail : start]), Text(rendered[start : hole.start()], trained=trained)]
        laid += contents[index]
        cursor = hole.end()
    tail = _end_of_turn(rendered[cursor:], tokenizer) if answered else 0
    laid += [Text(rendered[cursor : cursor + tail], trained=trained), Text(rendered[cursor + tail :])]
    return [segment for segment in laid if not isinstance(segment, Text) or segment.text]


def writes_date(tokenizer: Any) -> bool:
    """Whether the tokenizer's chat template writes the current date by ``strftime_now``."""
    if not getattr(tokenizer, "chat_template", None):
        return False
    if "strftime_now" not in tokenizer.get_chat_template():
        return False
    first, second = (_Renderer(tokenizer, day, {})(["user"], generation=True) for day in ("2001-02-03", "2014-10-25"))
    return first != second


def added_token_in(text: str, tokenizer: Any) -> re.Match[str] | None:
    """The first of the tokenizer's added tokens in a text, tokens of white space excepted."""
    tokens = sorted((token for token in tokenizer.get_added_vocab() if token.strip()), key=len, reverse=True)
    return re.search("|".join(map(re.escape, tokens)), text) if tokens else None


def _content(dialogue: Dialogue, message: Message) -> list[Segment]:
    if message.role == "assistant":
        return answer(message, space=False)
    return with_newlines(dialogue.pieces(message))


def _is_learnt(message: Message) -> bool:
    return message.role == "assistant" and not is_empty(message)


@dataclass(frozen=True)
class _Renderer:
    """A tokenizer's chat template with placeholders for the contents."""

    tokenizer: Any
    date: str | None
    arguments: Mapping[str, Any]

    def __call__(self, roles: Sequence[str], *, generation: bool) -> str:
        """Render turns of these roles.

        Raises:
            LayoutError: the template refuses them.
        """
        from jinja2 import TemplateError  # needed for chat templates only, which transformers renders with it

        refused = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
        try:
            text = self._rendered(roles, generation, parts=False)
            if all(f"{_OPEN}{index}{_CLOSE}" in text for index in range(len(roles))):
                return text
        except refused as error:
            first: Exception | None = error
        else:
            first = None
        try:
            in_parts = self._rendered(roles, generation, parts=True)
        except refused as error:
            if first is None:
                return text
            raise LayoutError(
                f"template 'chat': this tokenizer's chat template refuses turns of {', '.join(roles)}: {first}; choose "
                "'vicuna_v1' or another template, or give the tokenizer another chat template"
            ) from error
        # A template that drops a turn does so in both forms, so the form that renders more of them is the right one.
        return text if first is None and len(_HOLE.findall(in_parts)) <= len(_HOLE.findall(text)) else in_parts

    def _rendered(self, roles: Sequence[str], generation: bool, *, parts: bool) -> str:
        contents: list[Any] = [f"{_OPEN}{index}{_CLOSE}" for index in range(len(roles))]
        if parts:
            contents = [[{"type": "text", "text": content}] for content in contents]
        turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        template, variables = _with_date(self.tokenizer.get_chat_template(), self.date)
        return str(
            self.tokenizer.apply_chat_template(
                turns,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=generation,
                **{**variables, **self.arguments},
            )
        )


def template_variables(tokenizer: Any) -> frozenset[str]:
    """The variables that the tokenizer's chat template reads, besides those that transformers sets."""
    text = getattr(tokenizer, "chat_template", None) and tokenizer.get_chat_template()
    return _variables(text) if text else frozenset()


@lru_cache(maxsize=64)
def _variables(template: str) -> frozenset[str]:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.meta import find_undeclared_variables
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The block tag by which transformers marks answers; its content is parsed as usual."""

        tags = {"generation"}  # noqa: RUF012 - declared by jinja2

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    try:
        parsed = ImmutableSandboxedEnvironment(extensions=[loopcontrols, Generation]).parse(template)
    except TemplateError:
        return frozenset()
    # A template also assigns variables inside loops, and sets defaults for undefined arguments.
    assigned = {name.name for name in parsed.find_all(nodes.Name) if name.ctx == "store"}
    tests = (test for test in parsed.find_all(nodes.Test) if test.name in ("defined", "undefined", "none"))
    asked = {test.node.name for test in tests if isinstance(test.node, nodes.Name)}
    return frozenset(find_undeclared_variables(parsed)) - (assigned - asked) - _SET


def _with_date(template: str, date: str | None) -> tuple[str, dict[str, Any]]:
    """A chat template with a fixed date, and the variables for it."""
    day = datetime.datetime.fromisoformat(date or DEFAULT_DATE)
    if "strftime_now" in template:
        directives = {name: day.strftime(f"%{name}") for name in "aAbBcdHIjmMpSUwWxXyY"}
        directives |= {f"-{name}": str(int(directives[name])) for name in "dHIjmMS"}
        return _CLOCK + template, {"inlay_date": directives}
    # Llama 3.1 does not call strftime_now; it has a default date, unless it is given one in this form.
    return template, {} if date is None else {"date_string": day.strftime("%d %b %Y")}


def own_template(tokenizer: Any, date: str | None, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any], bool]:
    """The tokenizer's chat template in the form in which the layout ``chat`` renders it.

    Args:
        tokenizer: the tokenizer of the language model.
        date: the date of the layout.
        arguments: the arguments of the layout.

    Returns:
        The Jinja text, its variables, and whether it supports a system text.
    """
    template, variables = _with_date(tokenizer.get_chat_template(), date)
    return template, {**variables, **arguments}, _takes_system(_Renderer(tokenizer, date, arguments))


def _takes_system(render: _Renderer) -> bool:
    """Whether the system text comes first, exactly once, in training and in generation, for any number of turns."""
    for roles in (["system", "user"], ["system", "user", "assistant"], ["system", "user", "assistant", "user"]):
        try:
            rendered = render(roles, generation=roles[-1] == "user")
        except LayoutError:
            return False
        if not _in_order(rendered, roles):
            return False
    return True


def _in_order(rendered: str, roles: Sequence[str]) -> bool:
    return [int(hole[1]) for hole in _HOLE.finditer(rendered)] == list(range(len(roles)))


def _answer_starts(rendered: str, roles: Sequence[str], render: _Renderer) -> dict[int, int]:
    """Start of each assistant's turn in the rendered text: the end of the generation prompt."""
    starts = {}
    for index, role in enumerate(roles):
        if role == "assistant":
            prompt = render(roles[:index], generation=True)
            position = rendered.index(f"{_OPEN}{index}{_CLOSE}")
            starts[index] = len(prompt) if rendered.startswith(prompt) and len(prompt) <= position else position
    return starts


def _end_of_turn(text: str, tokenizer: Any) -> int:
    """Length of the text up to and with the special token that ends the turn before it."""
    found = added_token_in(text, tokenizer)
    if found is None:
        raise LayoutError(
            "template 'chat': this chat template ends an answer without a special token, so where generation should "
            "stop is unknown; use another template"
        )
    return found.end()


CHAT_TEMPLATES = {"chat": Template(chat, dated=writes_date, arguments=True)}
"""The template by name."""
