"""The blind rows: no medium, and the medium of another question."""

from __future__ import annotations

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart, media_of
from inlay.recipes.evaluation.benchmarks.blind_prompts import with_other_media, without_media


def _prompt(name: str | None, modality: str = "image") -> tuple[Message, ...]:
    media = [MediaPart(modality, name)] if name else []
    return (Message("user", (*media, TextPart("what?"))),)


def test_without_media_only_the_text_stays() -> None:
    assert without_media([_prompt("a"), _prompt(None)]) == [_prompt(None)] * 2


def test_every_medium_is_another_one_of_its_modality() -> None:
    names = "aabbccddee"
    prompts = [_prompt(name) for name in names] + [_prompt("x", "audio"), _prompt("y", "audio"), _prompt(None)]
    others = [media_of(prompt) for prompt in with_other_media(prompts)]
    swapped = [media[0].source for media in others[:10]]
    assert all(own != other for own, other in zip(names, swapped, strict=True))
    assert sorted(swapped) == sorted(names)
    assert [media[0] for media in others[10:12]] == [MediaPart("audio", "y"), MediaPart("audio", "x")]
    assert others[12] == ()


def test_one_medium_has_no_other() -> None:
    assert with_other_media([_prompt("a"), _prompt("a")]) is None
    assert with_other_media([_prompt("a"), _prompt("b"), _prompt("x", "audio")]) is None
