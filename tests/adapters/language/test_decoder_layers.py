"""Decoder layers are found whatever a family calls them; families are in ``test_families.py``."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.language.decoder_layers import decoder_layers, replaced_calls


def test_the_layers_of_a_stack_in_their_order(llm_of: Any) -> None:
    model = llm_of("llama", num_hidden_layers=3).model
    assert list(decoder_layers(model)) == list(model.model.layers)


def test_lists_inside_a_layer_are_not_taken(llm_of: Any) -> None:
    from torch import nn

    model = llm_of("llama").model
    model.model.layers[0].mlp.experts = nn.ModuleList([nn.Identity(), nn.Identity()])
    assert list(decoder_layers(model)) == list(model.model.layers)


def test_an_encoder_decoder_has_none(llm_of: Any) -> None:
    assert not decoder_layers(llm_of("t5").model)


def test_calls_are_put_back(llm_of: Any) -> None:
    first, second = layers = decoder_layers(llm_of("llama").model)
    first.forward = own = lambda: 1
    with replaced_calls(layers, lambda call: lambda: (call, 2)):
        assert first() == (own, 2)
    assert first.forward is own
    assert "forward" not in vars(second)


def test_no_layer_is_changed_if_one_cannot_be(llm_of: Any) -> None:
    first, second = layers = decoder_layers(llm_of("llama").model)

    def refused(call: Any) -> Any:
        if call.__self__ is second:
            raise RuntimeError("no compiler")
        return call

    with pytest.raises(RuntimeError, match="no compiler"), replaced_calls(layers, refused):
        pass
    assert "forward" not in vars(first)
