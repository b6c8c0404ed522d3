"""The P-Former: prompts from text alone, and losses that draw only the side that learns."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from inlay.adapters.inputs import PROJECTORS, ProjectorError
from inlay.adapters.inputs.pretraining.pformer import PFormer, PFormerConfig, alignment_loss, vocabulary_loss

IDS = torch.tensor([[3, 7, 9, 2], [4, 5, 2, 0]])
MASK = (IDS > 0).long()


def make() -> PFormer:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    bert = BertModel(BertConfig(**sizes, vocab_size=40, max_position_embeddings=32), add_pooling_layer=False)
    return PFormer(PFormerConfig(width_out=20, queries=5), bert).eval()


@torch.no_grad()
def test_prompt_is_the_class_token_unfolded() -> None:
    model = make()
    sentence = model.bert(IDS, attention_mask=MASK).last_hidden_state[1, 0]
    vectors = F.linear(sentence, model.expand.weight, model.expand.bias)
    rows = [torch.tanh(model.projection(vectors[16 * q : 16 * (q + 1)])) for q in range(5)]
    torch.testing.assert_close(model(IDS, MASK)[1], torch.stack(rows))


def test_heads_in_closed_form() -> None:
    model = make()
    heads = [*model.expand.parameters(), *model.projection.parameters()]
    assert sum(tensor.numel() for tensor in heads) == 17 * 5 * 16 + 17 * 20


def test_alignment_draws_the_student_and_not_the_teacher() -> None:
    student, teacher = torch.randn(2, 5, 20, requires_grad=True), torch.randn(2, 5, 20, requires_grad=True)
    loss = alignment_loss(student, teacher)
    loss.backward()
    torch.testing.assert_close(student.grad, 2 * (student - teacher).detach() / student.numel())
    assert teacher.grad is None
    assert loss.item() == pytest.approx(((student - teacher) ** 2).mean().item())


def test_prompts_of_another_shape_are_refused_not_broadcast() -> None:
    with pytest.raises(ProjectorError, match=r"student's shape \(2, 5, 20\), got \(2, 1, 20\)"):
        alignment_loss(torch.zeros(2, 5, 20), torch.zeros(2, 1, 20))


def test_vocabulary_loss_is_the_distance_to_the_nearest_word() -> None:
    prompts, words = torch.randn(2, 5, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    loss = vocabulary_loss(prompts, words)
    squared = (prompts.reshape(-1, 1, 8) - words).square().sum(-1)
    assert loss.item() == pytest.approx((squared.amin(dim=1) / 8).mean().item(), rel=1e-5)
    loss.backward()
    assert words.grad is None
    assert prompts.grad.any()


def test_teacher_is_no_projector() -> None:
    assert not any("pformer" in kind for kind in PROJECTORS)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_does_not_change_a_prompt(attention: str) -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    config._attn_implementation = attention
    teacher = PFormer(PFormerConfig(width_out=20, queries=3), BertModel(config)).eval()
    ids, mask = torch.tensor([[2, 7, 9, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    torch.testing.assert_close(teacher(ids, mask), teacher(ids[:, :3], mask[:, :3]), atol=1e-6, rtol=0)


def test_a_training_step_reads_no_value_from_the_device() -> None:
    """On the meta device, reading a value raises an error; on a GPU, it would make the host wait."""
    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    with torch.device("meta"):
        teacher = PFormer(PFormerConfig(width_out=20, queries=3), BertModel(config))
        prompts = teacher(torch.ones(2, 4, dtype=torch.long), torch.ones(2, 4))
        loss = alignment_loss(torch.zeros(2, 3, 20), prompts) + vocabulary_loss(prompts, torch.zeros(40, 20))
        loss.backward()
