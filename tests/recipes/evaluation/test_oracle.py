"""The oracle: the bare LLM reads the description where the picture's tokens would be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import parse_messages
from inlay.adapters.core.encode import encode
from inlay.recipes.data.rows.records import described
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.evaluation.answering import answer_oracle

SEEN = "a small red circle."


@pytest.fixture
def sample() -> Sample:
    return replace(described("s", Path("1.png"), "which shape?", "circle", "rows"), description=SEEN)


def test_description_stands_behind_the_media_and_in_front_of_bos(
    llm_of: Any, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = llm_of("opt")
    layout = Layout.published("blip2", prompt="Question: {} Answer:")
    read: list[Any] = []
    generate = llm.generate

    def watched(embeddings: torch.Tensor, mask: torch.Tensor, **rest: Any) -> Any:
        read.append(embeddings)
        return generate(embeddings, mask, **rest)

    monkeypatch.setattr(llm, "generate", watched)
    answer_oracle(Backbone(llm, {}), layout, [sample], max_new_tokens=2)
    told = llm.tokenizer(SEEN, add_special_tokens=False).input_ids
    asked = llm.tokenizer("Question: which shape? Answer:", add_special_tokens=False).input_ids
    ids = [*told, llm.tokenizer.bos_token_id, *asked]
    assert read[0].shape[:2] == (1, len(ids))
    assert (read[0][0] == llm.embed(torch.tensor(ids))).all()


def test_in_vicunas_layout_it_reads_as_text_in_the_turn_would(llm_of: Any, sample: Sample) -> None:
    llm, layout = llm_of("llama"), Layout.published("vicuna_v1")
    told = llm.tokenizer(SEEN, add_special_tokens=False).input_ids
    question = parse_messages([{"role": "user", "content": f"{SEEN}\nwhich shape?"}])
    as_text = encode(question, layout, llm, {}, generation=True).ids.tolist()
    row = encode(sample.messages[:1], layout, llm, {"image": len(told)}, generation=True)
    placed = row.ids.clone()
    placed[row.slots] = torch.tensor(told)
    assert llm.tokenizer.decode(placed) == llm.tokenizer.decode(as_text)


def test_a_sample_without_a_medium_or_a_description_is_left_out(llm_of: Any, sample: Sample) -> None:
    bare = Sample("t", parse_messages([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]), "")
    backbone, layout = Backbone(llm_of("llama"), {}), Layout.published("vicuna_v1")
    found = answer_oracle(
        backbone, layout, [replace(bare, description=SEEN), replace(sample, description="")], max_new_tokens=2
    )
    assert found == []
