"""Compatibility: every way in which a backbone can be the wrong one."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.verdict import IncompatibleBackbone


def raised(adapter: Any, backbone: Any) -> IncompatibleBackbone:
    with pytest.raises(IncompatibleBackbone) as caught:
        adapter.attach(backbone)
    assert backbone.attached is None
    assert not adapter.attached
    return caught.value


def fields(error: IncompatibleBackbone) -> set[tuple[str, str]]:
    return {(row.port, row.field) for row in error.report.rows}


def test_wrong_width_is_named_with_both_numbers(backbone_of: Any, adapter_of: Any, llm_of: Any, clip_of: Any) -> None:
    wide = Backbone(llm_of("llama", hidden_size=64), {"image": clip_of()})
    error = raised(adapter_of(backbone_of()), wide)
    assert ("llm", "width") in fields(error)
    assert "llm   width  32        64" in str(error)


def test_wrong_family_is_named(backbone_of: Any, adapter_of: Any) -> None:
    error = raised(adapter_of(backbone_of("llama")), backbone_of("opt"))
    assert ("llm", "family") in fields(error)


def test_wrong_tokenizer_is_named(backbone_of: Any, adapter_of: Any) -> None:
    error = raised(adapter_of(backbone_of("qwen2")), backbone_of("qwen3"))
    assert ("llm", "family") in fields(error)
    other = backbone_of("qwen2")
    other.llm.tokenizer.add_tokens(["<new>"])
    assert fields(raised(adapter_of(backbone_of("qwen2")), other)) == {("llm", "tokenizer")}


def test_wrong_layer_is_named(backbone_of: Any, adapter_of: Any, llm_of: Any, clip_of: Any) -> None:
    last = Backbone(llm_of("llama"), {"image": clip_of(layer=-1)})
    assert fields(raised(adapter_of(backbone_of()), last)) == {("image", "layer")}


def test_wrong_token_count_is_named(backbone_of: Any, adapter_of: Any, llm_of: Any, clip_of: Any) -> None:
    with_class = Backbone(llm_of("llama"), {"image": clip_of(class_token="keep")})
    assert fields(raised(adapter_of(backbone_of()), with_class)) == {("image", "tokens"), ("image", "class_token")}
    larger = Backbone(llm_of("llama"), {"image": clip_of(image_size=32)})
    assert fields(raised(adapter_of(backbone_of()), larger)) == {("image", "tokens"), ("image", "image_size")}


def test_missing_encoder_is_named(backbone_of: Any, adapter_of: Any, llm_of: Any) -> None:
    error = raised(adapter_of(backbone_of()), Backbone(llm_of("llama")))
    assert "image  port   clip_vision_model encoder  none" in str(error)


def test_other_encoder_family_is_named(backbone_of: Any, adapter_of: Any, llm_of: Any, vit_of: Any) -> None:
    error = raised(adapter_of(backbone_of()), Backbone(llm_of("llama"), {"image": vit_of()}))
    assert ("image", "family") in fields(error)


def test_other_depth_is_named(backbone_of: Any, adapter_of: Any, llm_of: Any, clip_of: Any) -> None:
    deep = Backbone(llm_of("llama", num_hidden_layers=3), {"image": clip_of()})
    assert fields(raised(adapter_of(backbone_of()), deep)) == {("llm", "layers")}


def test_inner_width_that_only_lora_sees_is_refused_too(
    backbone_of: Any, adapter_of: Any, llm_of: Any, clip_of: Any
) -> None:
    grouped = llm_of("llama")
    config = grouped.model.config
    assert config.num_key_value_heads == 2
    other = llm_of("llama", num_attention_heads=2)
    error = raised(adapter_of(backbone_of()), Backbone(other, {"image": clip_of()}))
    assert "v_proj: expected a linear of 32 -> 16, found 32 -> 32" in str(error)
