"""How other programs read the names of an exported folder: the rules of their loaders as tables, without the programs.

Read in vLLM 0.33, SGLang 0.5.23 and mlx-vlm 0.7.10 (November 2026). Each renames beginnings, and then expects every
name inside of the modules that it builds; a tensor elsewhere is an error there, or is dropped without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from inlay.adapters.export.hf.expressible import Kind
from inlay.adapters.export.report import Check

__all__ = ["LOADERS", "Loader", "name_checks"]


@dataclass(frozen=True)
class Loader:
    """The names that one program takes for one class."""

    modules: tuple[str, ...]
    """Beginnings of the names of its own modules."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """Beginning in the file -> beginning in the program; the first that fits is taken."""

    def place(self, name: str) -> str | None:
        """The name inside of the program; None if it has no such module.

        Example:
            >>> LOADERS["vLLM 0.33"]["llava"].place("model.language_model.norm.weight")
            'language_model.model.norm.weight'
        """
        for start, target in self.renames.items():
            if name.startswith(start):
                name = target + name.removeprefix(start)
                break
        return name if name.startswith(self.modules) else None


_LLAVA = (
    "vision_tower.vision_model.",
    "multi_modal_projector.linear_1.",
    "multi_modal_projector.linear_2.",
    "language_model.model.",
    "language_model.lm_head.",
)
_LATER = {
    "model.language_model.": "language_model.model.",
    "model.vision_tower.": "vision_tower.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "model.image_newline": "image_newline",
    "lm_head.": "language_model.lm_head.",
}
"""vLLM's names of transformers 4.52 and later; the tower's own ``vision_model`` is not added."""
_BLIP2 = ("vision_model.", "query_tokens", "qformer.", "language_projection.", "language_model.model.decoder.")

LOADERS: dict[str, dict[Kind, Loader]] = {
    "vLLM 0.33": {
        "llava": Loader(_LLAVA, _LATER),
        "llava_next": Loader((*_LLAVA, "image_newline"), _LATER),
        "blip2": Loader((*_BLIP2, "language_model.lm_head.")),
    },
    "SGLang 0.5.23": {"llava": Loader(_LLAVA)},
    "mlx-vlm 0.7.10": {"llava": Loader(_LLAVA)},
}
"""Program -> class -> names. vLLM's Blip2 has OPT alone, and no program here has InstructBLIP."""


def name_checks(kind: Kind, names: Iterable[str]) -> tuple[list[Check], list[str]]:
    """One check for each program that loads the folder by its table, and one note for each that does not.

    Args:
        kind: class of the exported model.
        names: of the written tensors.
    """
    held, checks, notes = list(names), [], []
    for program, loaders in LOADERS.items():
        if (loader := loaders.get(kind)) is None:
            notes.append(f"{program} has no {kind}")
        elif strange := [name for name in held if loader.place(name) is None]:
            notes.append(f"{program} does not load this folder: its {kind} has no module for {strange[0]}")
        else:
            detail = "by its table of names; the program was not run"
            checks.append(Check(name=f"names in {program}", passed=True, compared=len(held), detail=detail))
    return checks, notes
