"""Method cards: what a projector, an encoder or an objective is, written from its module, class and settings.

The paper and the formula are the docstring of the module, the shapes that of the class, the settings those of the
configuration. Parameters are counted on torch's meta device for the sizes of LLaVA 1.5 at 7B.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any

import torch

from inlay_docs.markdown import field_texts, prose, summary, table

__all__ = ["KINDS", "cards", "markdown", "parameters"]

KINDS = ("input", "output", "encoder", "objective")
WIDTHS = {"width_in": 1024, "width_out": 4096}
"""CLIP ViT-L/14 and Vicuna 7B."""
OUTPUT_SIZES = {"width_in": 4096, "signals": 4, "tokens": 77, "width_out": 768}
"""Vicuna 7B and Stable Diffusion 1.5."""


def cards(kind: str) -> dict[str, Any]:
    """Name -> module, class and settings class of every method of a kind."""
    if kind == "input":
        from inlay.adapters.inputs import PROJECTORS

        return dict(PROJECTORS)
    if kind == "output":
        from inlay.adapters.outputs import OUTPUTS

        return dict(OUTPUTS)
    if kind == "objective":
        from inlay.recipes.settings.objective import objective_names, objective_type

        return {name: (objective_type(name), objective_type(name)) for name in objective_names()}
    from inlay.adapters import encoders

    found = [getattr(encoders, name) for name in encoders.__all__ if name.endswith("Encoder")]
    return {one.__name__: (one, None) for one in found if not getattr(one, "_is_protocol", False)}


def parameters(kind: str, name: str) -> int:
    """Trainable parameters at 7B, counted without memory."""
    module, config = cards(kind)[name]
    sizes = WIDTHS if kind == "input" else OUTPUT_SIZES
    with torch.device("meta"):
        built = module(config(**sizes))
    return sum(parameter.numel() for parameter in built.parameters())


def markdown(kind: str, name: str) -> str:
    """The generated part of one card."""
    module, config = cards(kind)[name]
    lines = [prose(import_module(module.__module__).__doc__), ""]
    about = summary(module.__doc__)
    if kind != "objective" and about:
        lines += [f"**Shapes.** {about}" if "->" in about else about, ""]
    if kind in ("input", "output"):
        count = parameters(kind, name)
        sizes = WIDTHS if kind == "input" else OUTPUT_SIZES
        at = ", ".join(f"`{key}` {value:,}" for key, value in sizes.items())
        lines += [
            f"**Parameters at 7B**: {count:,} ({count * 2 / 1e6:,.1f} MB in bfloat16), computed with {at} and the "
            "defaults below.",
            "",
        ]
    if config is not None:
        lines += ["**Settings**", "", table(("field", "default", "meaning"), _settings(config))]
    lines += ["", f"Source: `{module.__module__}.{module.__qualname__}`."]
    return "\n".join(lines)


def _settings(config: Any) -> list[tuple[str, str, str]]:
    meanings = field_texts(config)
    rows = []
    for field in fields(config):
        default = field.default if field.default is not MISSING else None
        if default is None and field.default_factory is not MISSING:
            default = field.default_factory()
        shown = "" if field.default is MISSING and field.default_factory is MISSING else f"`{default!r}`"
        rows.append((f"`{field.name}`", shown.replace("|", "\\|"), meanings.get(field.name, "")))
    return rows
