"""What a language model reads about drawings, sounds and clips: dialogues about one that is described, or asked for.

The wordings and rules are those of `media_questions` and `media_dialogues`; the description stands where the medium
goes. What is said of something made ("here are two slow high pure beeps.") is all that the text has of it: signal
tokens are an adapter's business.
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
ASKED = 0.4  # texts that are questions about one thing; the others are dialogues in which it changes


def media_text(rng: Random, split: Split, *, system: float = 0.0) -> tuple[Piece, ...]:
    """One text.

    Args:
        rng: The only source of chance.
        split: Of what is described or asked for.
        system: Share of texts in Vicuna's layout that open with its system sentence; and that ask for a short answer.
    """
    layout = rng.choice(LAYOUTS)
    if rng.random() < ASKED:
        value = sample_any(rng, split)
        seen = prompt_of(value, rng)
        turns = [("senses", question.text, question.answer) for question in questions_of(value, rng)]
        told = description(value, rng)
        turns.insert(rng.randrange(len(turns) + 1), ("instruction", told.asked, told.said))
        return dialogue(layout, seen, turns, rng, system=system, wordings=("{}",))
    changes = changing(rng, split)
    shown = changes[0].shown
    turns = [("made" if turn.generated else "senses", turn.asked, turn.said) for turn in changes]
    return dialogue(layout, caption_of(shown) if shown else "", turns, rng, system=system, wordings=("{}",))
