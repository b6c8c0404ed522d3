"""A Q-Former that starts from BERT reads text as BERT does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel

from inlay.adapters.inputs import ProjectorError
from inlay.adapters.inputs.pretraining.bert import load_bert
from inlay.adapters.inputs.pretraining.qformer import QFormerPretrainConfig, QFormerPretrainer

IDS = torch.tensor([[3, 7, 9, 2], [4, 5, 2, 0]])
MASK = (IDS > 0).long()


def make_bert(seed: int = 0, **changes: Any) -> BertForMaskedLM:
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": 39,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 32,
        "initializer_range": 0.2,
    }
    model = BertForMaskedLM(BertConfig(**sizes | changes)).eval()
    with torch.no_grad():
        model.bert.embeddings.token_type_embeddings.weight.zero_()  # the Q-Former has no token types
        model.cls.predictions.bias.normal_()
    return model


def make() -> QFormerPretrainer:
    torch.manual_seed(1)
    sizes = {"width_in": 24, "queries": 6, "hidden": 16, "layers": 3, "heads": 2, "ffn": 24, "embedding": 12}
    return QFormerPretrainer(QFormerPretrainConfig(**sizes, vocabulary=40, text_positions=32)).eval()


@torch.no_grad()
def test_text_alone_gives_berts_own_states() -> None:
    bert, model = make_bert(), make()
    load_bert(model, bert)
    states = model.qformer(query_embeds=model.embeddings(IDS), query_length=0, attention_mask=MASK).last_hidden_state
    expected = bert.bert(IDS, attention_mask=MASK).last_hidden_state
    torch.testing.assert_close(states[MASK.bool()], expected[MASK.bool()], atol=1e-5, rtol=0)


@torch.no_grad()
def test_language_head_is_berts_own() -> None:
    bert, model = make_bert(), make()
    load_bert(model, bert)
    states = torch.randn(2, 4, 16)
    words = model.embeddings.word_embeddings.weight
    torch.testing.assert_close(model.lm_head(states, words)[..., :39], bert.cls(states), atol=1e-5, rtol=0)


def test_queries_start_with_the_feed_forward_blocks_of_text() -> None:
    model = make()
    load_bert(model, make_bert().bert)
    for layer in model.qformer.encoder.layer:
        assert torch.equal(layer.intermediate_query.dense.weight, layer.intermediate.dense.weight)
        assert torch.equal(layer.output_query.LayerNorm.weight, layer.output.LayerNorm.weight)


def test_what_bert_lacks_keeps_its_random_values() -> None:
    model, before = make(), make()
    load_bert(model, BertModel(make_bert().config))
    kept = {n for n, t in model.state_dict().items() if torch.equal(t, before.state_dict()[n])}
    assert {"query_tokens", "itm_head.weight", "qformer.encoder.layer.0.crossattention.attention.key.weight"} <= kept
    row = model.embeddings.word_embeddings.weight[39]
    assert torch.equal(row, before.embeddings.word_embeddings.weight[39])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"intermediate_size": 20}, r"does not fit at qformer\.encoder\.layer\.0\.intermediate\.dense\.weight"),
        ({"num_hidden_layers": 2}, r"too few layers: it has no tensor for qformer\.encoder\.layer\.2"),
        ({"vocab_size": 41}, r"does not fit at embeddings\.word_embeddings\.weight: expected shape \(40, 16\)"),
    ],
    ids=["ffn", "fewer-layers", "vocabulary"],
)
def test_bert_of_other_sizes_is_refused_and_nothing_is_copied(changes: dict[str, int], said: str) -> None:
    model, before = make(), make()
    with pytest.raises(ProjectorError, match=said):
        load_bert(model, make_bert(**changes))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))


def test_of_a_deeper_bert_the_first_layers_are_taken() -> None:
    bert, shallow = make_bert(num_hidden_layers=4), make()
    load_bert(shallow, bert)
    last = shallow.qformer.encoder.layer[-1]
    twin = bert.bert.encoder.layer[len(shallow.qformer.encoder.layer) - 1]
    assert torch.equal(last.output.dense.weight, twin.output.dense.weight)
