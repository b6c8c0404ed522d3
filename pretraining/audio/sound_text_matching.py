"""How the miniature CLAP learns: sounds and what is said about them, matched in one space.

Learnt from the denoiser alone, a single pooled vector tells all prompts alike; so, as for AudioLDM, it learns from
sounds first (CLAP, https://arxiv.org/abs/2211.06687). What is said names one, two or all three attributes of a sound,
and then fits many: that is what makes the vector of a new combination the sum of known parts.
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
BATCH = 64  # sounds of a step, and as many texts
NOISE = 0.1  # deviation of what is added to latents of about deviation 1
SCALE = 14.0  # what cosines are multiplied with
WHOLE = 0.4  # texts that are whole prompts
LEARNING_RATE = 1e-3
WARM_UP = 50  # steps


def partly(tone: Tone, names: Sequence[str]) -> str:
    """A text that names some attributes only.

    Example:
        >>> partly(Tone("two slow", "high", "pure"), ["rhythm", "timbre"])
        'two slow pure beeps'
        >>> partly(Tone("two slow", "high", "pure"), ["pitch"])
        'high beeps'
    """
    said = [getattr(tone, name) for name in ATTRIBUTES if name in names]
    return f"{' '.join(said)} beep{'' if tone.rhythm.startswith('one') else 's'}"


def some_names(rng: Random, whole: float = WHOLE) -> Sequence[str]:
    """All attributes, with the chance `whole`, or one or two of them."""
    return ATTRIBUTES if rng.random() < whole else rng.sample(ATTRIBUTES, rng.randint(1, 2))


def text_of(tone: Tone, names: Sequence[str], rng: Random) -> str:
    """A whole prompt in one of its wordings, or a text that names some attributes."""
    return prompt_of(tone, rng) if len(names) == len(ATTRIBUTES) else partly(tone, names)


def matching(logits: Tensor, fits: Tensor) -> Tensor:
    """The contrastive loss where several may fit.

    Args:
        logits: Sounds by texts, (n, m).
        fits: True where a text fits a sound, (n, m); every row and column has one that does.
    """
    one = (log_softmax(logits, dim=1) * fits).sum(1) / fits.sum(1)
    two = (log_softmax(logits, dim=0) * fits).sum(0) / fits.sum(0)
    return -(one.mean() + two.mean()) / 2


def _fits(tone: Tone, other: Tone, names: Sequence[str]) -> bool:
    """Whether what is said of the other by these attributes is true of a tone too."""
    number = tone.rhythm.startswith("one") == other.rhythm.startswith("one")  # a beep is not beeps
    return number and all(getattr(tone, name) == getattr(other, name) for name in names)


def match_loss(
    sounds: Tensor,
    tones: list[Tone],
    embed: Callable[[list[str]], Tensor],
    rng: Random,
    said: Sequence[str] | None = None,
) -> Tensor:
    """The loss of a batch of sounds beside texts that name some attributes of each.

    Args:
        sounds: Unit vectors (n, width).
        tones: What was played, n.
        embed: Texts to unit vectors (texts, width).
        rng: Chooses what is said.
        said: Attributes that every text names; chosen anew for each if not given.
    """
    named = [said or some_names(rng) for _ in tones]
    wording = [text_of(tone, names, rng) for tone, names in zip(tones, named, strict=True)]
    texts = list(zip(tones, named, strict=True))
    fits = torch.tensor([[_fits(tone, other, names) for other, names in texts] for tone in tones])
    return matching(SCALE * sounds @ embed(wording).T, fits.float())


def train_clap(
    embed: Callable[[list[str]], Tensor], text: Any, tones: list[Tone], latents: Tensor, rng: Random, *, steps: int
) -> None:
    """Train a text encoder in place, with a small tower for the sounds that nobody keeps.

    Args:
        embed: Texts to unit vectors (texts, width), by the encoder.
        text: The encoder; frozen afterwards.
        tones: What was played, n.
        latents: Of the spectrograms, (n, ...).
        rng: The source of chance, beside torch's own.
        steps: All steps.
    """
    flat = latents.flatten(1)
    tower = nn.Sequential(nn.Linear(flat.shape[1], 256), nn.GELU(), nn.Linear(256, text.config.projection_dim))
    both = nn.ModuleList([text, tower]).train()
    optimizer = torch.optim.AdamW(both.parameters(), LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)

    def losses(step: int) -> dict[str, Tensor]:
        del step  # all are alike
        chosen = torch.randint(len(flat), (BATCH,))
        heard = flat[chosen]
        sounds = normalize(tower(heard + NOISE * torch.randn_like(heard)), dim=-1)
        return {"match": match_loss(sounds, [tones[int(number)] for number in chosen], embed, rng)}

    training_loop.train(
        both, losses, [scheduled(optimizer, steps=steps, warm_up=WARM_UP, decay=0.5)], steps=steps, report=lambda: None
    )
    text.eval().requires_grad_(False)
