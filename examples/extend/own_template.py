"""A conversation template: Alpaca's (https://github.com/tatsu-lab/stanford_alpaca), with media in the instruction.

    inlay train llava --import own_template.py --stages.instruct.template alpaca

A template converts a checked dialogue to segments. The loss covers text with ``trained=True``; generation stops at the
end of an answer, which is determined from the same segments.
"""

from __future__ import annotations

from inlay.adapters import Dialogue, Template, register_template
from inlay.adapters.conversation.segments import Media, Segment, Text
from inlay.adapters.conversation.template import answer


def alpaca(dialogue: Dialogue) -> list[Segment]:
    """Segments of a dialogue."""
    laid: list[Segment] = [Text(dialogue.system, literal=False)] if dialogue.system else []
    for message in dialogue.turns:
        if message.role == "user":
            laid.append(Text("\n### Instruction:\n"))
            pieces = dialogue.pieces(message)
            laid += [Text(piece, literal=False) if isinstance(piece, str) else Media(piece) for piece in pieces]
            laid.append(Text("\n### Response:\n"))
        else:
            laid += answer(message, dialogue.eos)
    return laid


register_template("alpaca", Template(alpaca))
