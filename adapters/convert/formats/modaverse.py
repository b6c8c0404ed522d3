"""ModaVerse (Wang et al., 2024, https://github.com/xinke-wang/ModaVerse): ``pytorch_model.pt`` of the released weights.

The input projector of all modalities, LoRA on the attention of Vicuna, and both whole embedding matrices, whose last
six rows are the new tokens. There is no output projector: stock generators read the answer.
"""

from __future__ import annotations

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert.formats.token_matrices import INPUT, OUTPUT, split_matrices
from inlay.adapters.convert.imported import Imported, Models, part_tensors
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.lora_files import lora_of
from inlay.adapters.convert.source import ConvertError, Source
from inlay.adapters.llm_parts.token_rows import TokensConfig

__all__ = ["KEYS", "matches", "read"]

_LLM = "LLM.base_model.model."
KEYS = KeyTable(
    (
        ("linear_proj.{leaf}", "inputs.image.layer.{leaf}"),
        (f"{_LLM}model.embed_tokens.weight", INPUT),
        (f"{_LLM}lm_head.weight", OUTPUT),
        (f"{_LLM}{{module*}}.lora_{{half}}.default.weight", "lora.{module}.lora_{half}.weight"),
        (f"{_LLM}{{module*}}.lora_{{half}}.weight", "lora.{module}.lora_{half}.weight"),
    ),
    prefixes=("", "module."),
)
"""Names with and without PEFT's name of the adapter."""

TOKENS = ("<Media>", "</Media>", "[TEXT]", "[IMAGE]", "[AUDIO]", "[VIDEO]")
"""The new tokens in the order of their ids."""
LORA = {"lora_alpha": 32.0, "lora_dropout": 0.1}
"""Published settings, which the file does not hold (r = alpha = 32)."""


def matches(source: Source) -> bool:
    """Whether a file, or a folder with ``pytorch_model.pt``, has ModaVerse's projector."""
    place = source if source.path.is_file() else _inside(source)
    if place is None or place.path.suffix not in (".pt", ".pth", ".bin"):
        return False
    return any(name.removeprefix("module.").startswith("linear_proj.") for name in place.weights)


def read(source: Source, template: str | None) -> Imported:
    """A file or folder.

    Args:
        source: either.
        template: of the conversations; ``modaverse`` if not given.

    Raises:
        ConvertError: a tensor that cannot be converted.
    """
    weights = (_inside(source) or source).weights
    renamed = KEYS.rename(weights, source)
    tensors, _ = part_tensors(weights, renamed)
    halves = {name.removeprefix("lora."): tensors.pop(name) for name in list(tensors) if name.startswith("lora.")}
    projector = tensors.get("inputs.image.layer.weight")
    if projector is None or projector.dim() != 2:
        raise ConvertError(f"{source}: expected the matrix linear_proj.weight, which is missing or misshapen")
    width_out, width_in = projector.shape
    own = split_matrices(tensors, TOKENS, source)
    return Imported(
        system="modaverse",
        layout=Layout.published(template or "modaverse", geometry={"image": "crop"}),
        models=Models(),
        inputs=dict.fromkeys(("image", "audio", "video"), ("linear", {"width_in": width_in, "width_out": width_out})),
        shared=True,
        tokens=TokensConfig(width=width_out, other=TOKENS),
        tensors=tensors,
        lora=lora_of({f"base_model.model.{name}": t for name, t in halves.items()}, LORA, source) if halves else None,
        frozen={"llm": own},
        ignored=renamed.ignored,
    )


def _inside(source: Source) -> Source | None:
    """The file of a folder."""
    file = source.has("pytorch_model.pt") if source.path.is_dir() else None
    return Source(file) if file is not None else None
