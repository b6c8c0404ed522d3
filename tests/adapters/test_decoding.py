"""Decoding: options reach transformers unchanged, stop texts end answers, padding changes nothing; both families."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from random_weights import perturbed

from inlay.adapters.adapter import Adapter
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import LinearConfig
from inlay.adapters.language.generation.generate import Generation

FAMILIES = ["opt", "llama", "t5"]
OPTIONS = [
    {"max_new_tokens": 7},
    {"num_beams": 4, "length_penalty": -1.0, "max_new_tokens": 8},
    {"num_beams": 4, "length_penalty": 2.0, "max_new_tokens": 8},
    {"repetition_penalty": 1.5, "max_new_tokens": 8},
    {"num_beams": 2, "repetition_penalty": 1.5, "min_new_tokens": 6, "max_new_tokens": 8},
]


pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def llm_that_talks(llm_of: Any) -> Any:
    """Weights so large that answers vary."""

    def build(family: str) -> Any:
        llm = llm_of(family)
        perturbed(llm.model, 0.3)
        return llm

    return build


def padded(llm: Any, texts: list[str]) -> tuple[Any, Any]:
    rows = [llm.tokenizer(text).input_ids for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([[llm.pad_id] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


TEXTS = ["what colour is the large circle?", "What?", "how many squares are there?"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
# What it warns of is the rule here: the penalty covers the new tokens.
@pytest.mark.filterwarnings("ignore:Passing `repetition_penalty` with `inputs_embeds`:UserWarning")
def test_options_do_to_a_batch_what_transformers_does_to_each_row(
    llm_that_talks: Any, family: str, options: Any
) -> None:
    llm = llm_that_talks(family)
    ids, mask = padded(llm, TEXTS)
    ours = llm.generate(llm.embed(ids), mask, do_sample=False, **options).rows
    theirs = [
        llm.model.generate(
            inputs_embeds=llm.model.get_input_embeddings()(ids[row : row + 1, mask[row] == 1]),
            do_sample=False,
            eos_token_id=llm.tokenizer.eos_token_id,
            pad_token_id=llm.tokenizer.pad_token_id,
            **options,
        )[0].tolist()
        for row in range(len(ids))
    ]
    rows = [row[1:] for row in theirs] if family == "t5" else theirs
    assert ours == [up_to(row, llm.tokenizer.eos_token_id) for row in rows]


def up_to(row: list[int], end: int) -> list[int]:
    return row[: row.index(end) + 1] if end in row else row


@pytest.mark.parametrize("family", FAMILIES)
def test_each_option_changes_something(llm_that_talks: Any, family: str) -> None:
    llm = llm_that_talks(family)
    ids, mask = padded(llm, TEXTS)
    answers = {str(options): llm.generate(llm.embed(ids), mask, do_sample=False, **options).rows for options in OPTIONS}
    assert len({str(answer) for answer in answers.values()}) >= 4


@pytest.mark.parametrize("family", FAMILIES)
def test_min_new_tokens_forbids_a_stop_text_of_one_token(llm_of: Any, family: str) -> None:
    llm = llm_of(family)
    only(llm, llm.tokenizer.convert_tokens_to_ids("Ċ"))
    ids, mask = padded(llm, TEXTS)
    short = llm.generate(llm.embed(ids), mask, stop=["\n"], do_sample=False, max_new_tokens=6)
    assert [len(row) for row in short.rows] == [1, 1, 1]
    assert short.finish == ["stop"] * 3
    long = llm.generate(llm.embed(ids), mask, stop=["\n"], do_sample=False, max_new_tokens=6, min_new_tokens=4)
    assert all(len(row) >= 5 for row in long.rows)


def only(llm: Any, token: int) -> None:
    """A model that always says one token first: the others' scores are far below."""
    head = llm.model.get_output_embeddings()
    bias = torch.full((head.out_features,), 0.0)
    bias[token] = 1e4
    head.register_forward_hook(lambda module, inputs, output: output + bias)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beams", [1, 3])
def test_a_stop_text_ends_an_answer_however_it_is_spelled(llm_of: Any, family: str, beams: int) -> None:
    llm = llm_of(family)
    mark = llm.tokenizer("#", add_special_tokens=False).input_ids
    assert len(mark) == 1
    assert len(llm.tokenizer("###", add_special_tokens=False).input_ids) == 3
    only(llm, mark[0])
    ids, mask = padded(llm, TEXTS)
    options = {"do_sample": False, "num_beams": beams, "max_new_tokens": 9}
    found = llm.generate(llm.embed(ids), mask, stop=["###"], **options)
    rows = found.rows
    assert found.finish == ["stop"] * 3
    assert [llm.tokenizer.decode(row, skip_special_tokens=True) for row in rows] == ["###"] * 3
    assert [llm.decode(row, stop=["###"]) for row in rows] == [""] * 3


@pytest.mark.parametrize("family", ["opt", "llama"])
def test_padding_behind_the_media_equals_padding_in_front_of_them(llm_of: Any, family: str) -> None:
    llm = llm_of(family)
    media, text = torch.randn(1, 3, 32), llm.embed(torch.tensor([[7, 8, 9, 10]]))
    hole = torch.zeros(1, 2, 32)
    behind, behind_mask = torch.cat([media, hole, text], 1), torch.tensor([[1, 1, 1, 0, 0, 1, 1, 1, 1]])
    front, front_mask = torch.cat([hole, media, text], 1), torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1, 1]])
    one, two = llm.logits(behind, behind_mask), llm.logits(front, front_mask)
    torch.testing.assert_close(one[:, -4:], two[:, -4:], atol=1e-6, rtol=0)
    options = {"do_sample": False, "max_new_tokens": 8, "num_beams": 3}
    assert llm.generate(behind, behind_mask, **options) == llm.generate(front, front_mask, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_of_a_batch_equal_answers_one_by_one(backbone_of: Any, image_of: Any, family: str) -> None:
    backbone = backbone_of(family)
    adapter = Adapter.for_backbone(
        backbone,
        system="blip2",
        name="tiny",
        layout=Layout.published("blip2", prompt="Question: {} Short answer:"),
        inputs={"image": LinearConfig()},
    )
    model = adapter.attach(backbone)
    rows = [(Message("user", (MediaPart("image", image_of(seed)), TextPart(text))),) for seed, text in enumerate(TEXTS)]
    options = {"num_beams": 3, "length_penalty": -1.0, "max_new_tokens": 6}
    assert model.answer(rows, **options) == [model.answer([row], **options)[0] for row in rows]
    assert [model.chat(row, **options).text for row in rows] == model.answer(rows, **options)


def test_the_speaker_that_a_model_writes_itself_is_cut_off(backbone_of: Any, monkeypatch: Any) -> None:
    backbone = backbone_of("llama")
    layout = Layout.published("minigpt4")
    adapter = Adapter.for_backbone(
        backbone, system="minigpt4", name="tiny", layout=layout, inputs={"image": LinearConfig()}
    )
    model = adapter.attach(backbone)
    said = backbone.llm.tokenizer("Assistant: two ###Human: and", add_special_tokens=False).input_ids
    monkeypatch.setattr(backbone.llm, "generate", lambda *_, **__: Generation([said], ["length"]))
    asked = (Message("user", (TextPart("how many?"),)),)
    assert model.chat(asked).text == "two"
    assert model.answer([asked]) == ["two"]
