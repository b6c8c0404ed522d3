"""Drawn ids behind their prompt, with labels on the answer alone."""

from __future__ import annotations

from typing import Any

from inlay.adapters.chat.answer_rows import answer_row
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.core.branches import join_branches


def test_answers_to_one_prompt_become_branches_of_one_row(backbone_of: Any, adapter_of: Any, image_of: Any) -> None:
    backbone = backbone_of("llama")
    model = adapter_of(backbone).attach(backbone)
    question = [Message("user", (MediaPart("image", image_of()), TextPart("what?")))]
    prompt = model.encode(question, generation=True)
    joined = join_branches([answer_row(prompt, [80, 81]), answer_row(prompt, [90])])
    assert joined is not None
    assert joined.branches == (len(prompt.ids) - 1, 3, 2)
    assert joined.labels[joined.labels >= 0].tolist() == [80, 81, 90]


def test_an_encoder_decoder_reads_the_answer_in_its_decoder(backbone_of: Any, adapter_of: Any) -> None:
    backbone = backbone_of("t5")
    model = adapter_of(backbone, r=None).attach(backbone)
    prompt = model.encode([Message("user", (TextPart("what?"),))], generation=True)
    row = answer_row(prompt, [80, 1], encoder_decoder=True)
    assert row.target is not None
    assert (row.target.tolist(), row.ids.tolist()) == ([80, 1], prompt.ids.tolist())
