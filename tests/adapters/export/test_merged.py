"""The merged language model: LoRA, token rows, tied heads, and what cannot be merged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from export_parts import adapter_on
from transformers import GPT2Config, GPT2LMHeadModel

from inlay.adapters import LanguageModel
from inlay.adapters.export.merged import language_tensors, token_ids
from inlay.adapters.export.target import ExportError


def test_a_linear_has_its_lora_in_it_and_others_are_untouched(backbone_of: Any) -> None:
    backbone = backbone_of()
    before = {name: tensor.clone() for name, tensor in backbone.llm.model.state_dict().items()}
    adapter = adapter_on(backbone)
    merged = language_tensors(adapter.attach(backbone))
    assert set(merged) == set(before)
    for name, tensor in merged.items():
        target = name.removesuffix(".weight")
        if target in adapter.lora.targets:
            down, up = adapter.lora.matrices(target)
            assert torch.equal(tensor, before[name] + 2.0 * (up @ down))
        else:
            assert torch.equal(tensor, before[name])


def test_a_conv1d_gets_the_transposed_change(backbone_of: Any, tokenizer_of: Any) -> None:
    torch.manual_seed(0)
    sizes = GPT2Config(vocab_size=len(tokenizer_of()), n_embd=32, n_layer=1, n_head=4)
    backbone = backbone_of()
    backbone.llm = LanguageModel(GPT2LMHeadModel(sizes), tokenizer_of())
    adapter = adapter_on(backbone)
    model = adapter.attach(backbone)
    ids = torch.arange(3, 12)[None]
    reference = GPT2LMHeadModel(sizes).eval()
    reference.load_state_dict(dict(language_tensors(model)), strict=False)
    with torch.no_grad():
        assert torch.allclose(reference(ids).logits, backbone.llm.model(ids).logits, atol=1e-5)


def test_token_rows_are_in_embedding_and_head_at_their_ids(backbone_of: Any) -> None:
    backbone = backbone_of()
    adapter = adapter_on(backbone, tokens=("<look>", "<point>"))
    model = adapter.attach(backbone)
    merged, ids = language_tensors(model), token_ids(model)
    assert torch.equal(merged["model.embed_tokens.weight"][ids], adapter.tokens.input)
    assert torch.equal(merged["lm_head.weight"][ids], adapter.tokens.output)


def test_rows_that_no_token_has_are_the_mean(backbone_of: Any) -> None:
    backbone = backbone_of()
    table = backbone.llm.model.get_input_embeddings().weight
    merged = language_tensors(adapter_on(backbone).attach(backbone), rows=len(table) + 3)
    for name, own in (("model.embed_tokens.weight", table), ("lm_head.weight", backbone.llm.model.lm_head.weight)):
        assert torch.equal(merged[name][: len(table)], own)
        assert torch.allclose(merged[name][len(table) :], own.mean(dim=0).expand(3, -1))


@pytest.mark.parametrize(("tokens", "tied", "there"), [((), True, False), ((), False, True), (("<look>",), True, True)])
def test_a_tied_head_is_left_out_unless_it_differs(
    backbone_of: Any, tokens: tuple[str, ...], tied: bool, there: bool
) -> None:
    backbone = backbone_of("opt")
    assert backbone.llm.model.lm_head.weight is backbone.llm.model.get_input_embeddings().weight
    merged = language_tensors(adapter_on(backbone, tokens=tokens).attach(backbone), tied=tied)
    assert ("lm_head.weight" in merged) == there


def test_quantised_weights_are_refused(backbone_of: Any) -> None:
    backbone = backbone_of()
    model = adapter_on(backbone).attach(backbone)
    backbone.llm.model.is_loaded_in_4bit = True
    with pytest.raises(ExportError, match=r"loaded in nf4.*--backbone.quantise"):
        language_tensors(model)
