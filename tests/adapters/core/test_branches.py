"""Two answers to one prompt as branches of one row: log-probabilities and gradients are those of two plain rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.core.branches import join_branches, last_answer
from inlay.adapters.core.encode import Encoded
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.language.model import LanguageModelError

ANSWERS = ("a small blue star.", "two red discs on a green field, I think.", "no.")


@pytest.fixture(params=["llama", "qwen2", "opt"])
def model(request: pytest.FixtureRequest, backbone_of: Any, adapter_of: Any) -> Any:
    backbone = backbone_of(request.param)
    return adapter_of(backbone).eval().attach(backbone)


def rows_of(model: Any, prompt: tuple[Message, ...], answers: tuple[str, ...] = ANSWERS) -> list[Encoded]:
    asked = model.encode(prompt, generation=True)
    return [last_answer(model.encode((*prompt, Message("assistant", (TextPart(text),)))), asked) for text in answers]


def sight(image_of: Any, question: str = "what is shown?") -> tuple[Message, ...]:
    return (Message("user", (MediaPart("image", image_of()), TextPart(question))),)


def measured(model: Any, rows: list[Encoded]) -> tuple[Tensor, list[Tensor]]:
    """Log-probabilities of all sequences, and the gradients of a sum with unequal weights."""
    found = model.log_probs(model.collate(rows)).sums()
    weights = torch.linspace(1.0, -2.0, len(found))
    trained = [parameter for parameter in model.adapter.parameters() if parameter.requires_grad]
    return found.detach(), list(torch.autograd.grad((found * weights).sum(), trained, allow_unused=True))


def close(found: Any, wanted: Any) -> None:
    for value, expected in zip(found, wanted, strict=True):
        if expected is not None:
            assert float((value - expected).norm()) <= 1e-5 * float(expected.norm()) + 1e-7


def test_branches_give_the_values_and_gradients_of_plain_rows(model: Any, image_of: Any) -> None:
    first, second = rows_of(model, sight(image_of)), rows_of(model, sight(image_of, "how many?"), ANSWERS[:2])
    joined = [join_branches(first), join_branches(second)]
    assert all(joined)
    plain, branched = measured(model, first + second), measured(model, joined)
    close([branched[0]], [plain[0]])
    close(branched[1], plain[1])


def test_a_row_longer_than_the_limit_is_not_joined(model: Any, image_of: Any) -> None:
    rows = rows_of(model, sight(image_of))
    joined = join_branches(rows)
    assert joined is not None
    assert join_branches(rows, len(joined.ids)) is not None
    assert join_branches(rows, len(joined.ids) - 1) is None


def test_plain_rows_and_rows_with_branches_share_a_batch(model: Any, image_of: Any) -> None:
    first, second = rows_of(model, sight(image_of)), rows_of(model, sight(image_of, "how many?"), ANSWERS[:1])
    joined = join_branches(first)
    assert joined is not None
    plain, branched = measured(model, first + second), measured(model, [joined, *second])
    close([branched[0]], [plain[0]])
    close(branched[1], plain[1])


def test_a_row_with_branches_reads_its_picture_once(model: Any, image_of: Any) -> None:
    joined = join_branches(rows_of(model, sight(image_of)))
    assert joined is not None
    assert len(model.collate([joined]).order) == 1


def test_log_probabilities_are_those_of_the_whole_softmax(model: Any, image_of: Any) -> None:
    batch = model.collate(rows_of(model, sight(image_of)))
    scores = model(batch, logits="all").logits.float().log_softmax(dim=-1)
    following = batch.labels[:, 1:]
    picked = scores[:, :-1].gather(2, following.clamp(min=0)[..., None])[..., 0].masked_fill(following == IGNORE, 0.0)
    found = model.log_probs(batch)
    torch.testing.assert_close(found.sums(), picked.sum(dim=1), rtol=1e-5, atol=1e-5)
    assert found.counts.tolist() == (following != IGNORE).sum(dim=1).tolist()


def test_answers_of_earlier_turns_have_no_labels(model: Any, image_of: Any) -> None:
    earlier = (*sight(image_of), Message("assistant", (TextPart("a star."),)), Message("user", (TextPart("sure?"),)))
    long, short = rows_of(model, earlier), rows_of(model, sight(image_of))
    for row, alone in zip(long, short, strict=True):
        assert int((row.labels != IGNORE).sum()) == int((alone.labels != IGNORE).sum())


def test_other_pictures_are_not_joined(model: Any, image_of: Any) -> None:
    turned = sight(lambda: image_of().rotate(180))
    rows = rows_of(model, sight(image_of), ANSWERS[:1]) + rows_of(model, turned, ANSWERS[1:])
    assert rows[0].media != rows[1].media
    assert join_branches(rows) is None


def test_a_picture_at_the_end_of_the_prompt_is_not_joined(model: Any, image_of: Any) -> None:
    row = rows_of(model, sight(image_of))[0]
    place = int((row.labels != IGNORE).nonzero()[0]) - 1
    slots = row.slots.clone()
    slots[place] = True
    assert join_branches([replace(row, slots=slots), replace(row, slots=slots)]) is None


def test_a_model_that_reads_no_branches_says_so(backbone_of: Any, adapter_of: Any, image_of: Any) -> None:
    backbone = backbone_of("llama")
    model = adapter_of(backbone).eval().attach(backbone)
    joined = join_branches(rows_of(model, sight(image_of)))
    assert joined is not None
    config = backbone.llm.model.config
    config.sliding_window, config.use_sliding_window = 4, True
    with pytest.raises(LanguageModelError, match="a row of its own"):
        model.log_probs(model.collate([joined]))


def test_an_encoder_decoder_keeps_its_rows(backbone_of: Any, adapter_of: Any, image_of: Any) -> None:
    backbone = backbone_of("t5")
    model = adapter_of(backbone, r=None).eval().attach(backbone)
    rows = rows_of(model, sight(image_of))
    assert join_branches(rows) is None
    assert model.log_probs(model.collate(rows)).counts.tolist() == [
        int((row.target != IGNORE).sum()) for row in rows if row.target is not None
    ]
