"""Stage 1 of BLIP-2: scores equal transformers' with the same weights, and nobody sees what they must not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Blip2ForImageTextRetrieval

from inlay.adapters.inputs.pretraining.qformer import QFormerPretrainConfig, QFormerPretrainer, itc_scores

SMALL = {"width_in": 24, "queries": 6, "hidden": 16, "layers": 3, "heads": 2, "ffn": 24}
TEXT = {"vocabulary": 40, "text_positions": 32, "embedding": 12}
IDS = torch.tensor([[3, 7, 9, 2], [4, 5, 2, 0], [8, 2, 0, 0]])
MASK = (IDS > 0).long()


def make(**changes: Any) -> QFormerPretrainer:
    torch.manual_seed(0)
    return QFormerPretrainer(QFormerPretrainConfig(**SMALL | TEXT | changes))


@pytest.fixture
def theirs(blip2_of: Any) -> Any:
    return blip2_of(kind=Blip2ForImageTextRetrieval)


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def ours_of(theirs: Any) -> QFormerPretrainer:
    """Our module with their weights, by the names that both have."""
    ours = make(norm_eps=1e-6)
    tensors = {k: v for k, v in theirs.state_dict().items() if not k.startswith("vision_model.")}
    norm = theirs.vision_model.post_layernorm.state_dict()
    lacking, extra = ours.load_state_dict(tensors | {f"ln_vision.{k}": v for k, v in norm.items()}, strict=False)
    assert extra == []
    assert {name.split(".")[0] for name in lacking} == {"lm_head", "temperature"}
    return ours.eval()


def features_of(theirs: Any, pixels: Tensor) -> Tensor:
    states: Tensor = theirs.vision_model(pixels, output_hidden_states=True).hidden_states[-1]
    return states


@torch.no_grad()
def test_contrastive_scores_equal_those_of_transformers(theirs: Any, pixels: Tensor) -> None:
    ours = ours_of(theirs)
    expected = theirs(pixels, IDS, attention_mask=MASK, use_image_text_matching_head=False).logits_per_image
    scores = itc_scores(ours.image_embeddings(features_of(theirs, pixels)), ours.text_embeddings(IDS, MASK))
    assert scores.shape == (3, 3)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_matching_scores_equal_those_of_transformers(theirs: Any, pixels: Tensor) -> None:
    ours = ours_of(theirs)
    expected = theirs(pixels, IDS, attention_mask=MASK, use_image_text_matching_head=True).logits_per_image
    torch.testing.assert_close(
        ours.matching_logits(features_of(theirs, pixels), IDS, MASK), expected, atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_caption_does_not_see_the_words_to_come() -> None:
    model, features = make().eval(), torch.randn(1, 5, 24)
    ids, mask = torch.tensor([[3, 7, 9, 2, 5]]), torch.ones(1, 5, dtype=torch.long)
    before = model.caption_logits(features, ids, mask)
    for place in range(5):
        other = ids.clone()
        other[0, place] = 11
        changed = (model.caption_logits(features, other, mask) - before).abs().amax(dim=-1)[0] > 1e-6
        assert changed.tolist() == [seen >= place for seen in range(5)]


def test_every_word_of_a_caption_sees_every_query() -> None:
    model, features = make(dropout=0.0), torch.randn(1, 5, 24)
    ids, mask = IDS[:1], MASK[:1]
    for place in range(ids.shape[1]):
        model.zero_grad()
        model.caption_logits(features, ids, mask)[0, place].square().sum().backward()
        assert (model.query_tokens.grad.abs().amax(dim=-1) > 0).all()


@torch.no_grad()
def test_queries_do_not_see_the_caption() -> None:
    model, features = make().eval(), torch.randn(2, 5, 24)
    alone = model.image_states(features)
    held: list[Tensor] = []
    hook = model.qformer.register_forward_hook(lambda *call: held.append(call[2].last_hidden_state))
    for ids in (IDS[:2], IDS[1:]):
        model.caption_logits(features, ids, torch.ones_like(ids))
    hook.remove()
    assert len(held) == 2
    for states in held:
        torch.testing.assert_close(states[:, :6], alone, atol=1e-6, rtol=0)


@torch.no_grad()
def test_padding_of_a_caption_changes_nothing() -> None:
    model, features = make().eval(), torch.randn(1, 5, 24)
    short = model.caption_logits(features, IDS[2:, :2], MASK[2:, :2])
    long = model.caption_logits(features, IDS[2:], MASK[2:])
    torch.testing.assert_close(long[:, :2], short, atol=1e-6, rtol=0)


@torch.no_grad()
def test_matching_queries_do_see_the_text() -> None:
    model, features = make().eval(), torch.randn(1, 5, 24)
    one = model.matching_logits(features, IDS[:1], MASK[:1])
    assert not torch.allclose(one, model.matching_logits(features, IDS[1:2], MASK[:1]), atol=1e-4)


def test_three_uses_together_reach_every_tensor() -> None:
    model, features = make(dropout=0.0), torch.randn(3, 5, 24)
    scores = itc_scores(model.image_embeddings(features), model.text_embeddings(IDS, MASK)) / model.temperature
    total = scores.square().sum() + model.matching_logits(features, IDS, MASK).square().sum()
    (total + model.caption_logits(features, IDS, MASK).square().sum()).backward()
    assert [name for name, tensor in model.named_parameters() if tensor.grad is None or not tensor.grad.any()] == []


@torch.no_grad()
def test_stage_two_projector_starts_where_stage_one_ended() -> None:
    model, features = make().eval(), torch.randn(2, 5, 24)
    projector = model.projector(width_out=20).eval()
    torch.testing.assert_close(projector.qformer(features), model.image_states(features))
    assert projector.config.width_out == 20
    assert not any(".intermediate." in name for name in projector.state_dict())


@torch.no_grad()
def test_instruction_aware_projector_keeps_the_text_branch() -> None:
    model, features = make().eval(), torch.randn(3, 5, 24)
    projector = model.instruct_projector(width_out=20, prompt_tokens=8).eval()
    held: list[Tensor] = []
    hook = model.itm_head.register_forward_pre_hook(lambda module, inputs: held.append(inputs[0]))
    model.matching_logits(features, IDS, MASK)
    hook.remove()
    torch.testing.assert_close(projector(features, IDS, MASK), projector.projection(held[0]), atol=1e-6, rtol=0)


def test_converted_projectors_are_copies() -> None:
    model = make()
    before = model.query_tokens.detach().clone()
    for projector in (model.projector(width_out=20), model.instruct_projector(width_out=20, prompt_tokens=8)):
        with torch.no_grad():
            for tensor in projector.parameters():
                tensor.zero_()
    assert torch.equal(model.query_tokens, before)
    assert model.ln_vision.weight.all()


def test_size_is_the_papers_188_million() -> None:
    with torch.device("meta"):
        model = QFormerPretrainer(QFormerPretrainConfig(width_in=1408))
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    layers = counts["qformer"] - 2 * 768
    text = 30523 * 768 + 512 * 768
    assert counts["embeddings"] + counts["qformer"] == 185_660_160
    assert layers + text + 2 * 768 == 185_660_160
    heads = 2 * (768 * 256 + 256) + 768 * 2 + 2 + (768 * 768 + 768 + 2 * 768 + 30523)
    assert sum(p.numel() for p in model.parameters()) == 185_660_160 + 32 * 768 + 2 * 1408 + heads + 1


def test_a_training_step_reads_no_value_from_the_device() -> None:
    """On the meta device, reading a value raises an error; on a GPU, it would make the host wait."""
    with torch.device("meta"):
        model = QFormerPretrainer(QFormerPretrainConfig(**SMALL, vocabulary=40, embedding=8))
        features, ids, mask = torch.randn(2, 5, 24), torch.ones(2, 6, dtype=torch.long), torch.ones(2, 6)
        scores = itc_scores(model.image_embeddings(features), model.text_embeddings(ids, mask)) / model.temperature
        logits = model.matching_logits(features, ids, mask).sum() + model.caption_logits(features, ids, mask).sum()
        (scores.sum() + logits).backward()
