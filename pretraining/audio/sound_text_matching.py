"""Contrastive training of sounds and texts, for CLAP and for the text encoder of AudioLDM.

Trained with the denoiser alone, the pooled vectors of all prompts become almost equal. So, as for AudioLDM, the text
encoder first learns from sounds (CLAP, https://arxiv.org/abs/2211.06687). A text names one, two or all three
attributes of a sound and can fit many sounds; this makes the vector of a new combination a sum of known parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize

from inlay.recipes.miniature.media.captions import prompt_of
from inlay.recipes.miniature.media.specs import Tone
from pretraining import training_loop
from pretraining.optimizers import scheduled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

ATTRIBUTES = ("rhythm", "pitch", "timbre")
BATCH = 64  # sounds of a step, and number of texts
NOISE = 0.1  # deviation of the noise on latents, which have a deviation of about 1
SCALE = 14.0  # factor of the cosines
WHOLE = 0.4  # share of texts that are complete prompts
LEARNING_RATE = 1e-3
WARM_UP = 50  # steps


def partly(tone: Tone, names: Sequence[str]) -> str:
    """A text that names only some attributes.

    Example:
        >>> partly(Tone("two slow", "high", "pure"), ["rhythm", "timbre"])
        'two slow pure beeps'
        >>> partly(Tone("two slow", "high", "pure"), ["pitch"])
        'high beeps'
    """
    said = [getattr(tone, name) for name in ATTRIBUTES if name in names]
    return f"{' '.join(said)} beep{'' if tone.rhythm.startswith('one') else 's'}"


def some_names(rng: Random, whole: float = WHOLE) -> Sequence[str]:
    """All attributes, with probability `whole`, or one or two of them."""
    return ATTRIBUTES if rng.random() < whole else rng.sample(ATTRIBUTES, rng.randint(1, 2))


def text_of(tone: Tone, names: Sequence[str], rng: Random) -> str:
    """A complete prompt, or a text that names some attributes."""
    return prompt_of(tone, rng) if len(names) == len(ATTRIBUTES) else partly(tone, names)


def matching(logits: Tensor, fits: Tensor) -> Tensor:
    """The contrastive loss if several texts may fit a sound.

    Args:
        logits: Sounds by texts, (n, m).
        fits: Whether a text fits a sound, (n, m); every row and every column has a fit.
    """
    one = (log_softmax(logits, dim=1) * fits).sum(1) / fits.sum(1)
    two = (log_softmax(logits, dim=0) * fits).sum(0) / fits.sum(0)
    return -(one.mean() + two.mean()) / 2


def _fits(tone: Tone, other: Tone, names: Sequence[str]) -> bool:
    """Whether a text with these attributes of the other tone is true of a tone too."""
    number = tone.rhythm.startswith("one") == other.rhythm.startswith("one")  # singular or plural
    return number and all(getattr(tone, name) == getattr(other, name) for name in names)


def match_loss(
    sounds: Tensor,
    tones: list[Tone],
    embed: Callable[[list[str]], Tensor],
    rng: Random,
    said: Sequence[str] | None = None,
) -> Tensor:
    """The loss between a batch of sounds and texts that name some of their attributes.

    Args:
        sounds: Unit vectors (n, width).
        tones: The specifications of the n sounds.
        embed: Texts -> unit vectors (texts, width).
        rng: Chooses attributes and wordings.
        said: The attributes that all texts name; random for each text if not given.
    """
    named = [said or some_names(rng) for _ in tones]
    wording = [text_of(tone, names, rng) for tone, names in zip(tones, named, strict=True)]
    texts = list(zip(tones, named, strict=True))
    fits = torch.tensor([[_fits(tone, other, names) for other, names in texts] for tone in tones])
    return matching(SCALE * sounds @ embed(wording).T, fits.float())


def train_clap(
    embed: Callable[[list[str]], Tensor], text: Any, tones: list[Tone], latents: Tensor, rng: Random, *, steps: int
) -> None:
    """Train a text encoder in place, with a small audio tower that is discarded.

    Args:
        embed: The encoder as texts -> unit vectors (texts, width).
        text: The encoder; frozen afterwards.
        tones: The specifications of n sounds.
        latents: The latents of their spectrograms, (n, ...).
        rng: A source of randomness, besides torch's.
        steps: All steps.
    """
    flat = latents.flatten(1)
    tower = nn.Sequential(nn.Linear(flat.shape[1], 256), nn.GELU(), nn.Linear(256, text.config.projection_dim))
    both = nn.ModuleList([text, tower]).train()
    optimizer = torch.optim.AdamW(both.parameters(), LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)

    def losses(step: int) -> dict[str, Tensor]:
        del step  # all steps are the same
        chosen = torch.randint(len(flat), (BATCH,))
        heard = flat[chosen]
        sounds = normalize(tower(heard + NOISE * torch.randn_like(heard)), dim=-1)
        return {"match": match_loss(sounds, [tones[int(number)] for number in chosen], embed, rng)}

    training_loop.train(
        both, losses, [scheduled(optimizer, steps=steps, warm_up=WARM_UP, decay=0.5)], steps=steps, report=lambda: None
    )
    text.eval().requires_grad_(False)
