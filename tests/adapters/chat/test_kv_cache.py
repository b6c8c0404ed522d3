"""What was read before is not read again, and the answers are those of reading all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from random_weights import perturbed
from torch import Tensor

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.kv_cache import PrefixCache, prefix_cache
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import InstructQFormerConfig
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.digest import media_digest
from inlay.adapters.media.video import Video
from inlay.hub.errors import InlayError

Make = Callable[..., Any]
QUESTIONS = ("what colour is it?", "how many squares are there, and where?", "why?")


pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def model_of(backbone_of: Make, adapter_of: Make) -> Make:
    def make(family: str = "llama", **fields: Any) -> Any:
        backbone = backbone_of(family)
        perturbed(backbone.llm.model, 0.2)
        model = adapter_of(backbone, **fields).eval().attach(backbone)
        model.prefixes = PrefixCache()
        return model

    return make


def converse(model: Any, pictures: list[Any], questions: tuple[str, ...] = QUESTIONS) -> list[tuple[str, int]]:
    """Answers to one question after the other, and how much of each conversation was not read again."""
    turns: list[Message] = []
    told = []
    for index, question in enumerate(questions):
        shown = [MediaPart("image", picture) for picture in pictures] if index == 0 else []
        turns.append(Message("user", (*shown, TextPart(question))))
        reply = model.chat(turns, max_new_tokens=6)
        told.append((reply.text, model.prefixes.reused if model.prefixes is not None else 0))
        turns.append(Message("assistant", (TextPart(reply.text or " "),)))
    return told


def watched(model: Any) -> list[int]:
    """Positions of each call of the LLM, and the encoder's calls as 0."""
    seen: list[int] = []
    model.backbone.llm.model.base_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(
            (kwargs.get("inputs_embeds") if kwargs.get("inputs_embeds") is not None else kwargs["input_ids"]).shape[1]
        ),
        with_kwargs=True,
    )
    model.backbone.encoder("image").model.register_forward_pre_hook(lambda *_: seen.append(0))
    return seen


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "opt"])
@pytest.mark.parametrize("template", ["vicuna_v1", "chat"])
def test_answers_are_those_without_it(model_of: Make, image_of: Make, family: str, template: str) -> None:
    model = model_of(family, template=template)
    pictures = [image_of(1), image_of(2)]
    told = converse(model, pictures)
    model.prefixes = None
    assert [text for text, _ in told] == [text for text, _ in converse(model, pictures)]
    assert told[0][1] == 0
    assert all(reused > 8 for _, reused in told[1:])  # both pictures, and more


def test_a_second_question_reads_only_what_is_new(model_of: Make, image_of: Make) -> None:
    model = model_of()
    seen = watched(model)
    converse(model, [image_of()], QUESTIONS[:1])
    assert seen.count(0) == 1
    whole = max(seen)
    seen.clear()
    model.chat([Message("user", (MediaPart("image", image_of()), TextPart("how many?")))], max_new_tokens=1)
    assert 0 not in seen  # neither encoder nor projector for a picture that was read
    assert 0 < seen[0] < whole - 4
    assert model.prefixes.reused + seen[0] > whole // 2


def test_the_same_question_again_reads_one_position(model_of: Make, image_of: Make) -> None:
    model = model_of()
    seen = watched(model)
    question = [Message("user", (MediaPart("image", image_of()), TextPart("what?")))]
    first = model.chat(question, max_new_tokens=4).text
    seen.clear()
    assert model.chat(question, max_new_tokens=4).text == first
    assert seen[0] == 1


def test_a_picture_is_known_by_its_bytes(model_of: Make, image_of: Make, tmp_path: Path) -> None:
    model = model_of()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        image_of(seed).save(tmp_path / f"{name}.png")

    def reused(source: Any) -> int:
        model.chat([Message("user", (MediaPart("image", source), TextPart("what?")))], max_new_tokens=2)
        return int(model.prefixes.reused)

    assert reused(tmp_path / "a.png") == 0
    whole = reused(tmp_path / "b.png")
    assert whole > 5
    in_front = reused(tmp_path / "c.png")
    assert 0 < in_front < whole - 4  # the words before it
    image_of(3).save(tmp_path / "a.png")
    assert reused(tmp_path / "a.png") == in_front  # another picture under the old name


def test_media_in_memory_are_told_apart() -> None:
    import numpy as np
    from PIL import Image

    wave = np.zeros(8, np.float32)
    red, blue = (Image.new("RGB", (2, 2), name) for name in ("red", "blue"))
    parts = [
        *(MediaPart("image", Image.new("RGB", size, "red")) for size in ((2, 8), (4, 4))),
        *(MediaPart("audio", Sound(wave, rate)) for rate in (8000, 16000)),
        MediaPart("audio", Sound(wave + 1, 8000)),
        *(
            MediaPart("video", Video(frames, fps))
            for frames, fps in (((red, blue), 2.0), ((blue, red), 2.0), ((red, blue), 4.0))
        ),
    ]
    digests = [media_digest(part.modality, part.source) for part in parts]
    assert len(set(digests)) == len(parts)
    assert digests == [media_digest(part.modality, part.source) for part in parts]


def test_a_change_of_the_weights_throws_it_away(model_of: Make, image_of: Make) -> None:
    model = model_of()
    question = [Message("user", (MediaPart("image", image_of()), TextPart("what?")))]

    def reused() -> int:
        model.chat(question, max_new_tokens=2)
        return int(model.prefixes.reused)

    assert (reused(), reused() > 0) == (0, True)
    model.adapter.inputs["image"].layers[0].weight.mul_(1.5)
    assert reused() == 0
    optimizer = torch.optim.SGD(model.adapter.parameters(), lr=0.1)
    for parameter in model.adapter.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert (reused(), reused() > 0) == (0, True)


def test_a_swap_throws_it_away(model_of: Make, adapter_of: Make, image_of: Make) -> None:
    model = model_of()
    question = [Message("user", (MediaPart("image", image_of()), TextPart("what?")))]
    one, two = model.adapter, adapter_of(model.backbone, seed=4).eval()
    first = [model.chat(question, max_new_tokens=6).text for _ in range(2)][1]
    model.swap(two)
    assert model.prefixes.bytes == 0
    model.chat(question, max_new_tokens=6)
    assert model.prefixes.reused == 0
    assert model.swap(one).chat(question, max_new_tokens=6).text == first
    assert model.prefixes.reused == 0


def test_it_is_bounded_in_bytes_and_the_oldest_goes_first(model_of: Make, image_of: Make) -> None:
    model = model_of()

    def ask(seed: int) -> int:
        model.chat([Message("user", (MediaPart("image", image_of(seed)), TextPart("what?")))], max_new_tokens=2)
        return int(model.prefixes.reused)

    ask(0)
    one = model.prefixes.bytes
    layers, heads, width = 2, 2, 8
    positions = one // (2 * layers * heads * width * 4)
    assert one == positions * 2 * layers * heads * width * 4
    model.prefixes = PrefixCache(2 * one + one // 2)
    assert [ask(seed) > 8 for seed in (0, 1, 2, 1, 0)] == [False, False, False, True, False]
    assert model.prefixes.bytes <= model.prefixes.max_bytes
    model.prefixes = PrefixCache(one // 2)
    assert [ask(0), ask(0), model.prefixes.bytes] == [0, 0, 0]


def test_a_longer_conversation_takes_the_place_of_its_beginning(model_of: Make, image_of: Make) -> None:
    model = model_of()
    converse(model, [image_of()])
    one = model.prefixes.bytes
    converse(model, [image_of()])
    assert model.prefixes.bytes == pytest.approx(one, rel=0.2)


def test_an_answer_that_is_broken_off_leaves_what_was_kept(model_of: Make, image_of: Make) -> None:
    model = model_of()
    question = [Message("user", (MediaPart("image", image_of()), TextPart("what?")))]
    first = model.chat(question, max_new_tokens=6).text
    before = model.prefixes.bytes

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.chat(question, max_new_tokens=6, on_text=stop)
    assert model.prefixes.bytes == before
    assert model.chat(question, max_new_tokens=6).text == first


@pytest.mark.parametrize(
    "options", [{"num_beams": 2}, {"use_cache": False}, {"num_beams": 2, "num_return_sequences": 1}], ids=str
)
def test_what_it_cannot_do_takes_the_plain_way(model_of: Make, image_of: Make, options: Any) -> None:
    model = model_of()
    question = [Message("user", (MediaPart("image", image_of()), TextPart("what?")))]
    for _ in range(2):
        model.chat(question, max_new_tokens=2, **options)
    assert (model.prefixes.bytes, model.prefixes.reused) == (0, 0)
    model.adapter.train()
    model.chat(question, max_new_tokens=2)
    assert model.prefixes.bytes == 0


def test_an_encoder_decoder_takes_the_plain_way(model_of: Make, image_of: Make) -> None:
    model = model_of("t5", r=None)
    told = converse(model, [image_of()], QUESTIONS[:1])
    assert model.prefixes.bytes == 0
    model.prefixes = None
    assert told == converse(model, [image_of()], QUESTIONS[:1])


def test_a_projector_that_reads_the_question_reads_again_for_another(
    llm_of: Make, clip_of: Make, prompt_tokenizer_of: Make, image_of: Make
) -> None:
    """InstructBLIP's query tokens see the words of the picture's own turn, so those are part of what was read."""
    backbone = Backbone(llm_of("llama"), {"image": clip_of()}, prompt_tokenizer_of())
    perturbed(backbone.llm.model, 0.2)
    sizes: Any = {"queries": 4, "hidden": 16, "layers": 1, "heads": 2, "ffn": 24, "prompt_tokens": 16}
    torch.manual_seed(1)
    adapter = Adapter.for_backbone(
        backbone,
        system="instructblip",
        name="x",
        layout=Layout.published("instructblip"),
        inputs={"image": InstructQFormerConfig(**sizes, vocabulary=backbone.prompter().vocabulary)},
    ).eval()
    model = adapter.attach(backbone)
    model.prefixes = PrefixCache()

    def ask(words: str) -> tuple[str, int]:
        reply = model.chat([Message("user", (MediaPart("image", image_of()), TextPart(words)))], max_new_tokens=4)
        return reply.text, int(model.prefixes.reused)

    assert ask("what is shown?")[1] == 0
    again, reused = ask("what is shown?")
    assert reused > 4
    other, reused = ask("how many squares are there?")
    assert reused < 4
    model.prefixes = None
    plain = [
        model.chat([Message("user", (MediaPart("image", image_of()), TextPart(words)))], max_new_tokens=4).text
        for words in ("what is shown?", "how many squares are there?")
    ]
    assert plain == [again, other]


def test_no_memory_is_no_cache() -> None:
    assert prefix_cache(0) is None
    assert prefix_cache(3).max_bytes == 3 << 20
    with pytest.raises(InlayError, match=r"max_bytes: expected a number of bytes from 1 on, got 0"):
        PrefixCache(0)


def test_first_scores_agree(model_of: Make, image_of: Make) -> None:
    """Not only the answer: the scores of its first token, to float32's rounding."""
    model = model_of()
    scores: list[Tensor] = []

    def keep(ids: Tensor, values: Tensor) -> Tensor:
        scores.append(values.clone())
        return values

    question = [Message("user", (MediaPart("image", image_of()), TextPart("what?")))]
    for _ in range(2):
        model.chat(question, max_new_tokens=1, logits_processor=[keep])
    torch.testing.assert_close(scores[1], scores[0], rtol=1e-5, atol=1e-5)


def test_another_backbone_does_not_use_what_was_kept_on_the_first(
    model_of: Make, backbone_of: Make, image_of: Make
) -> None:
    model = model_of()
    converse(model, [image_of()])
    kept, adapter = model.prefixes, model.adapter
    adapter.detach()
    other = backbone_of(seed=5)
    perturbed(other.llm.model, 0.2)
    model = adapter.attach(other)
    wanted = [text for text, _ in converse(model, [image_of()])]
    model.prefixes = kept
    found = converse(model, [image_of()])
    assert [text for text, _ in found] == wanted
    assert found[0][1] == 0
