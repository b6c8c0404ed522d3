from __future__ import annotations

from functools import partial
from random import Random

import pytest
import torch
from torch.nn.functional import cross_entropy

pytest.importorskip("diffusers")

from inlay.recipes.miniature.clap import ATTRIBUTES, matching, partly, train_clap
from inlay.recipes.miniature.pretrain_audioldm import embed_prompts, make_text_encoder
from inlay.recipes.miniature.senses import TONES
from inlay.recipes.miniature.senses_grammar import caption_of
from inlay.recipes.miniature.text_tokenizers import make_roberta_tokenizer


def test_a_text_with_all_attributes_is_the_caption() -> None:
    assert [partly(tone, ATTRIBUTES) for tone in TONES] == [caption_of(tone) for tone in TONES]


def test_with_one_fit_each_it_is_the_contrastive_loss() -> None:
    logits = torch.randn(5, 5)
    owners = torch.arange(5)
    expected = (cross_entropy(logits, owners) + cross_entropy(logits.T, owners)) / 2
    torch.testing.assert_close(matching(logits, torch.eye(5)), expected)


def test_several_fits_share_the_loss() -> None:
    fits = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    alike = 20 * fits
    assert matching(alike, fits).item() == pytest.approx(torch.tensor([2.0, 2.0, 1.0]).log().mean().item(), abs=1e-4)


def test_the_encoder_learns_and_is_frozen_afterwards() -> None:
    torch.manual_seed(0)
    tokenizer = make_roberta_tokenizer()
    text = make_text_encoder(tokenizer)
    tones = [tone for tone in TONES if tone.split == "train"]
    # Latents in which each attribute stands for itself.
    latents = torch.tensor(
        [[float(getattr(tone, name) == value) for name in ATTRIBUTES for value in _values(name)] for tone in tones]
    )
    embed = partial(embed_prompts, text, tokenizer)
    train_clap(embed, text, tones, 3 * latents, Random(0), steps=60)
    assert not any(parameter.requires_grad for parameter in text.parameters())
    pitch = embed(["low beeps", "high beeps", "two slow low pure beeps", "two slow high pure beeps"])
    alike = pitch @ pitch.T
    assert alike[0, 2] > alike[0, 3]
    assert alike[1, 3] > alike[1, 2]


def _values(name: str) -> list[str]:
    return sorted({getattr(tone, name) for tone in TONES})
