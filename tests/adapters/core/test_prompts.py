"""Prompts for projectors that read: whose words, and padding."""

from __future__ import annotations

import torch

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.core.prompts import collate_prompts, prompt_texts


def test_each_medium_has_the_words_of_its_own_turn() -> None:
    first, second, sound = MediaPart("image", "1.png"), MediaPart("image", "2.png"), MediaPart("audio", "3.wav")
    messages = (
        Message("user", (first, TextPart("what"), sound, TextPart("is it?"))),
        Message("assistant", (TextPart("red"),)),
        Message("user", (TextPart("and here?"), second)),
    )
    found = prompt_texts("Q: {} A:", messages, "image", [first, sound, second])
    assert found == ["Q: what is it? A:", "Q: and here? A:"]


def test_no_prompts_are_an_empty_batch() -> None:
    assert collate_prompts([], 0).ids.shape == (0, 1)


def test_prompts_are_padded_on_the_right() -> None:
    prompts = collate_prompts([torch.tensor([2, 9, 3]), torch.tensor([2, 3])], 0)
    assert prompts.ids.tolist() == [[2, 9, 3], [2, 3, 0]]
    assert prompts.mask.tolist() == [[1, 1, 1], [1, 1, 0]]
