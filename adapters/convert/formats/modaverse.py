"""ModaVerse (Wang et al., 2024, https://github.com/xinke-wang/ModaVerse): ``pytorch_model.pt`` of the released weights.

The input projector of all modalities, LoRA on the attention of Vicuna, and both whole embedding matrices, whose last
six rows are the new tokens. There is no output projector, because the answer is a prompt for stock generators.
"""

from __future__ import annotations

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert.formats.token_matrices import checkpoint_file, llm_pairs, read_trained
from inlay.adapters.convert.imported import Imported, Models
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.source import Source
from inlay.adapters.llm_parts.token_rows import TokensConfig

__all__ = ["KEYS", "matches", "read"]

KEYS = KeyTable(
    (("linear_proj.{leaf}", "inputs.image.layer.{leaf}"), *llm_pairs("LLM.base_model.model.")),
    prefixes=("", "module."),
)

TOKENS = ("<Media>", "</Media>", "[TEXT]", "[IMAGE]", "[AUDIO]", "[VIDEO]")
"""The new tokens in the order of their ids."""


def matches(source: Source) -> bool:
    """Whether a file, or a folder with ``pytorch_model.pt``, has ModaVerse's projector."""
    place = checkpoint_file(source)
    return place is not None and any(name.removeprefix("module.").startswith("linear_proj.") for name in place.weights)


def read(source: Source, template: str | None) -> Imported:
    """Read a file or folder.

    Args:
        source: the file or folder.
        template: the template of the conversations; ``modaverse`` if not given.

    Raises:
        ConvertError: a tensor that cannot be converted.
    """
    return Imported(
        system="modaverse",
        layout=Layout.published(template or "modaverse", geometry={"image": "crop"}),
        models=Models(),
        **read_trained(source, KEYS, lambda width: TokensConfig(width=width, other=TOKENS)),
    )
