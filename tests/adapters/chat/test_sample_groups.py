"""Groups of answers: the model's own distribution, one reading of each prompt, the same answers in any batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from random_weights import perturbed

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat import sample_groups as module
from inlay.adapters.chat.reply import ReplyError
from inlay.adapters.chat.sample_groups import Group, sample_groups, unsampled_tokens
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.core.branches import join_branches
from inlay.adapters.inputs import LinearConfig
from inlay.adapters.language.wiring.protocol import LanguageModelError
from inlay.adapters.llm_parts.token_rows import TokensConfig

Make = Callable[..., Any]
FAMILIES = ["llama", "qwen2", "qwen3", "opt", "t5"]
QUESTIONS = ("what colour is it?", "how many squares are there, and where?", "why?")


@pytest.fixture
def model_of(backbone_of: Make, adapter_of: Make) -> Make:
    def make(family: str = "llama", **fields: Any) -> Any:
        backbone = backbone_of(family)
        perturbed(backbone.llm.model, 0.1)
        given = {"r": None} if family == "t5" else {}
        return adapter_of(backbone, **(given | fields)).attach(backbone)

    return make


@pytest.fixture
def asked(image_of: Make) -> list[list[Message]]:
    """Three questions of different lengths, two with a picture."""
    first = [Message("user", (MediaPart("image", image_of(1)), TextPart(QUESTIONS[0])))]
    second = [Message("user", (MediaPart("image", image_of(2)), TextPart(QUESTIONS[1])))]
    return [first, second, [Message("user", (TextPart(QUESTIONS[2]),))]]


def ids_of(groups: list[Group]) -> list[tuple[tuple[int, ...], ...]]:
    return [group.ids for group in groups]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_answer(model_of: Make, asked: Any, family: str) -> None:
    model = model_of(family)
    barred = unsampled_tokens(model, model.backbone.llm.stop_ids)
    with model.inference():
        wanted = model.answer(asked, max_new_tokens=8, suppress_tokens=list(barred))
    groups = sample_groups(model, asked, 1, temperature=0, max_new_tokens=8)
    assert [group.texts[0] for group in groups] == wanted
    assert len(set(wanted)) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_one_reading_of_the_prompt_gives_the_answers_of_many(model_of: Make, asked: Any, family: str) -> None:
    model = model_of(family)
    once = sample_groups(model, asked, 4, max_new_tokens=8, seed=5)
    many = sample_groups(model, asked, 4, max_new_tokens=8, seed=5, plain=True)
    assert ids_of(once) == ids_of(many)
    assert [group.finish_reasons for group in once] == [group.finish_reasons for group in many]
    for one, other in zip(once, many, strict=True):
        torch.testing.assert_close(torch.cat(one.log_probs), torch.cat(other.log_probs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_those_of_the_rows(model_of: Make, asked: Any, family: str) -> None:
    model = model_of(family)
    groups = sample_groups(model, asked, 3, temperature=0.7, top_k=20, max_new_tokens=6)
    rows = [row for group in groups for row in group.rows()]
    with model.inference():
        found = model.log_probs(model.collate(rows))
    own = [values for group in groups for values in group.log_probs]
    torch.testing.assert_close(found.tokens, torch.cat(own), atol=1e-5, rtol=1e-5)
    assert found.counts.tolist() == [len(values) for values in own]


def test_a_group_is_one_row_of_branches(model_of: Make, asked: Any) -> None:
    model = model_of()
    (group,) = sample_groups(model, asked[:1], 4, max_new_tokens=6)
    joined = join_branches(group.rows())
    assert joined is not None
    with model.inference():
        found = model.log_probs(model.collate([joined]))
    torch.testing.assert_close(found.tokens, torch.cat(group.log_probs), atol=1e-5, rtol=1e-5)


def test_shares_of_the_first_token_are_the_models(model_of: Make, asked: Any) -> None:
    model = model_of()
    (group,) = sample_groups(model, asked[:1], 4000, max_new_tokens=1)
    found = torch.tensor([ids[0] for ids in group.ids]).bincount(minlength=400) / 4000
    scores = model.probe(asked[0])
    barred = list(unsampled_tokens(model, [1]))
    wanted = scores.index_fill(0, torch.tensor([t for t in barred if t < len(scores)]), float("-inf")).softmax(0)
    error = (found[: len(wanted)] - wanted).abs()
    assert wanted.max() < 0.5
    assert bool((error <= 4.5 * (wanted * (1 - wanted) / 4000).sqrt() + 1e-9).all())


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_answers_do_not_depend_on_the_batch(model_of: Make, asked: Any, batch_size: int) -> None:
    model = model_of()
    whole = sample_groups(model, asked, 4, max_new_tokens=6, seed=2)
    assert ids_of(sample_groups(model, asked, 4, max_new_tokens=6, seed=2, batch_size=batch_size)) == ids_of(whole)


def test_a_part_of_a_list_has_the_answers_of_the_whole(model_of: Make, asked: Any) -> None:
    model = model_of()
    whole = sample_groups(model, asked, 4, max_new_tokens=6)
    part = sample_groups(model, asked[1:], 4, max_new_tokens=6, numbers=[1, 2])
    assert ids_of(part) == ids_of(whole)[1:]


def test_other_seeds_give_other_answers_and_global_random_numbers_stay(model_of: Make, asked: Any) -> None:
    model = model_of()
    state = torch.random.get_rng_state()
    found = [ids_of(sample_groups(model, asked, 4, max_new_tokens=6, seed=seed)) for seed in (0, 1)]
    sample_groups(model, asked, 2, max_new_tokens=2, plain=True)
    assert found[0] != found[1]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_temperature_0_reads_one_answer_and_repeats_it(model_of: Make, asked: Any) -> None:
    model = model_of()
    rows: list[int] = []
    model.backbone.llm.model.register_forward_pre_hook(
        lambda _, args, given: rows.append(len(given["inputs_embeds"])), with_kwargs=True
    )
    groups = sample_groups(model, asked, 5, temperature=0, max_new_tokens=4)
    assert max(rows[-4:]) <= 3
    assert [len(group.texts) for group in groups] == [len(group.log_probs) for group in groups] == [5, 5, 5]
    assert all(len(set(group.ids)) == 1 for group in groups)


def test_a_picture_is_encoded_once_a_question(model_of: Make, asked: Any) -> None:
    model = model_of()
    seen: list[int] = []
    model.backbone.encoder("image").model.register_forward_hook(
        lambda _, args, given, out: seen.append(len(given.get("pixel_values", args[0] if args else ()))),
        with_kwargs=True,
    )
    sample_groups(model, asked, 6, max_new_tokens=2)
    assert sum(seen) == 2


def test_cached_features_are_used(model_of: Make, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    encoder = model.backbone.encoder("image")
    whole = sample_groups(model, asked, 2, max_new_tokens=3)
    pictures = [asked[0][0].content[0], asked[1][0].content[0]]
    inputs = encoder.preprocess([part.source for part in pictures], model.adapter.layout.geometry_for("image"))
    held = dict(zip(map(id, pictures), encoder.encode(inputs), strict=True))
    monkeypatch.setattr(type(encoder), "encode", lambda *_: pytest.fail("encoded again"))
    found = sample_groups(model, asked, 2, max_new_tokens=3, features=lambda part: held[id(part)])
    assert ids_of(found) == ids_of(whole)


def test_dropout_is_off_and_the_mode_comes_back(model_of: Make, asked: Any) -> None:
    model = model_of(dropout=0.5)
    model.adapter.train()
    assert ids_of(sample_groups(model, asked, 2, max_new_tokens=4)) == ids_of(
        sample_groups(model, asked, 2, max_new_tokens=4)
    )
    assert model.adapter.training


def test_cut_answers_are_marked(model_of: Make, asked: Any) -> None:
    groups = sample_groups(model_of(), asked, 8, max_new_tokens=30)
    reasons: dict[str, list[tuple[int, ...]]] = {"stop": [], "length": []}
    for group in groups:
        for ids, reason in zip(group.ids, group.finish_reasons, strict=True):
            reasons[reason].append(ids)
    assert {len(ids) for ids in reasons["length"]} == {30}
    assert reasons["stop"]
    assert all(ids[-1] == 1 and 1 not in ids[:-1] for ids in reasons["stop"])


def test_special_and_missing_tokens_are_never_drawn(model_of: Make) -> None:
    model = model_of()
    tokenizer = model.backbone.llm.tokenizer
    barred = unsampled_tokens(model, [tokenizer.eos_token_id])
    assert {tokenizer.convert_tokens_to_ids(text) for text in ("<s>", "<pad>", "<image>", "<|im_start|>")} <= {*barred}
    assert tokenizer.eos_token_id not in barred


def test_ids_of_the_head_without_a_token_are_never_drawn(llm_of: Make, clip_of: Make, adapter_of: Make) -> None:
    size = len(llm_of("llama").tokenizer)
    backbone = Backbone(llm_of("llama", vocab_size=size + 7), {"image": clip_of()})
    model = adapter_of(backbone).attach(backbone)
    assert {*range(size, size + 7)} <= {*unsampled_tokens(model)}


def test_added_tokens_that_stand_for_media_are_never_drawn(model_of: Make) -> None:
    model = model_of()
    model.backbone.llm.tokenizer.add_tokens(["<|vision_start|>", "<think>"])  # no special tokens
    token, other = model.backbone.llm.tokenizer.convert_tokens_to_ids(["<|vision_start|>", "<think>"])
    barred = unsampled_tokens(model)
    assert token in barred
    assert other not in barred


@pytest.fixture
def drawing(llm_of: Make, clip_of: Make) -> Any:
    """A model with two signal tokens and one other token, all of which are likely."""
    backbone = Backbone(llm_of("llama"), {"image": clip_of()})
    torch.manual_seed(3)
    adapter = Adapter.for_backbone(
        backbone,
        system="llava",
        name="tiny",
        layout=Layout(template="vicuna_v1"),
        inputs={"image": LinearConfig()},
        tokens=TokensConfig.numbered(32, image=2, other=("<Img>",)),
    )
    model = adapter.attach(backbone)
    with torch.no_grad():
        assert adapter.tokens is not None
        adapter.tokens.output.mul_(30)
    return model


def test_signal_tokens_are_drawn_in_whole_groups_and_only_if_allowed(drawing: Any) -> None:
    question = [Message("user", (TextPart("draw"),))]
    first, second = drawing.adapter.signals.ids["image"]
    (other,) = drawing.backbone.llm.tokenizer.convert_tokens_to_ids(["<Img>"])
    (without,) = sample_groups(drawing, [question], 32, max_new_tokens=12)
    assert not {first, second} & {token for ids in without.ids for token in ids}
    (allowed,) = sample_groups(drawing, [question], 32, max_new_tokens=12, media=True)
    assert {first, second, other} <= {token for ids in allowed.ids for token in ids}
    for ids in allowed.ids:
        places = [place for place, token in enumerate(ids) if token == first and place + 1 < len(ids)]
        assert all(ids[place + 1] == second for place in places)
        assert all(ids[place - 1] == first for place, token in enumerate(ids) if token == second)
    (plain,) = sample_groups(drawing, [question], 32, max_new_tokens=12, media=True, plain=True)
    assert plain.ids == allowed.ids
    torch.testing.assert_close(torch.cat(plain.log_probs), torch.cat(allowed.log_probs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"k": 0}, ReplyError),
        ({"batch_size": 0}, ReplyError),
        ({"seed": -1}, ReplyError),
        ({"numbers": [1]}, ReplyError),
        ({"temperature": -0.1}, LanguageModelError),
        ({"max_new_tokens": 0}, LanguageModelError),
    ],
)
def test_numbers_out_of_range_are_refused(model_of: Make, asked: Any, options: Any, error: Any) -> None:
    with pytest.raises(error, match=next(iter(options))):
        sample_groups(model_of(), asked, **({"k": 2} | options))


def test_a_model_that_cannot_be_prefilled_is_read_plainly(
    model_of: Make, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of()
    wanted = sample_groups(model, asked, 3, max_new_tokens=5)
    monkeypatch.setattr(module, "prefill_way", lambda *_: None)
    monkeypatch.setattr(module, "draw_prefilled", lambda *_, **__: pytest.fail("prefilled"))
    assert ids_of(sample_groups(model, asked, 3, max_new_tokens=5)) == ids_of(wanted)
