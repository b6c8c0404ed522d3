"""Decoder layers are found whatever a family calls them; families are in ``test_families.py``."""

from __future__ import annotations

from typing import Any

from inlay.adapters.language.decoder_layers import decoder_layers


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
