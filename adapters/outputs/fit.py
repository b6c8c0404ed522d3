"""Checking that output projectors, signal tokens and generator ports of one adapter agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.adapters.compatibility.ports import generator_port
from inlay.hub.format.manifest import PortSpec

__all__ = ["disagreement"]


def disagreement(
    outputs: Mapping[str, Any], signals: Mapping[Any, tuple[str, ...]], interface: Mapping[str, PortSpec]
) -> str | None:
    """A description of the first contradiction, or None.

    Without this check it would become an error about shapes after the LLM has generated an answer.

    Args:
        outputs: modality -> configuration of its output projector.
        signals: modality -> its signal tokens.
        interface: the adapter's ports.
    """
    for modality, config in outputs.items():
        port = interface.get(generator_port(modality))
        wanted = {
            "signals": len(signals.get(modality, ())),
            "tokens": port and port.tokens,
            "width": port and port.width,
        }
        if config.signals != wanted["signals"]:
            return (
                f"outputs.{modality}: it reads {config.signals} signal tokens, the adapter's token rows have "
                f"{wanted['signals']} for {modality}; give both the same number"
            )
        if (config.tokens, config.width_out) != (wanted["tokens"], wanted["width"]):
            return (
                f"outputs.{modality}: it gives {config.tokens} vectors of {config.width_out}, the port "
                f"{generator_port(modality)} takes {wanted['tokens']} of {wanted['width']}"
            )
    return None
