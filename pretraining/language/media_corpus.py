"""Texts about drawings, sounds and clips: dialogues about a described or requested medium.

Wordings and rules are those of `inlay.recipes.miniature.media`; the description has the place of the medium. Of a
generated medium the text has only the reply ("here are two slow high pure beeps."); signal tokens belong to adapters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inlay.recipes.miniature.media.captions import caption_of, prompt_of
from inlay.recipes.miniature.media.dialogues import description
from inlay.recipes.miniature.media.dialogues import dialogue as changing
from inlay.recipes.miniature.media.questions import questions_of
from inlay.recipes.miniature.media.specs import sample_any
from pretraining.language.corpus_layout import LayoutName, Piece, dialogue

if TYPE_CHECKING:
    from random import Random

    from inlay.recipes.miniature.world.scenes import Split

LAYOUTS: tuple[LayoutName, ...] = ("vicuna", "vicuna_v0", "vicuna_v0")
ASKED = 0.4  # share of texts with questions about one medium; in the others the medium changes


def media_text(rng: Random, split: Split, *, system: float = 0.0) -> tuple[Piece, ...]:
    """One text.

    Args:
        rng: The only source of randomness.
        split: The split of the described or requested media.
        system: Share of texts in Vicuna's layout with its system sentence, and share that ask for a short answer.
    """
    layout = rng.choice(LAYOUTS)
    if rng.random() < ASKED:
        value = sample_any(rng, split)
        seen = prompt_of(value, rng)
        turns = [("media", question.text, question.answer) for question in questions_of(value, rng)]
        told = description(value, rng)
        turns.insert(rng.randrange(len(turns) + 1), ("instruction", told.asked, told.said))
        return dialogue(layout, seen, turns, rng, system=system, wordings=("{}",))
    changes = changing(rng, split)
    shown = changes[0].shown
    turns = [("generated" if turn.generated else "media", turn.asked, turn.said) for turn in changes]
    return dialogue(layout, caption_of(shown) if shown else "", turns, rng, system=system, wordings=("{}",))
