"""``inlay gallery``: write a page of prompts with generated pictures, spectrograms and film strips."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inlay.recipes.commands.arguments.bundle_argument import add_backbone, add_bundle, check_usable, named_models
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.settings.errors import SettingsError

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["TITLE", "main"]

TITLE = "# What the adapter made"
"""The first line of a page, by which an earlier one is recognised."""


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Write one page.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    parser = command_parser("gallery", __doc__, "gallery runs/nextgpt --output pictures --number 3")
    add_bundle(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder for the page and its pictures")
    parser.add_argument(
        "--prompts", type=list[str], default=[], help="prompts; held-out prompts of the run if not given"
    )
    parser.add_argument("--number", type=int, default=6, help="number of held-out prompts per modality")
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial noise")
    add_backbone(parser)
    parsed = parser.parse_args(list(argv))
    if parsed.number < 1:
        raise SettingsError(f"--number: expected at least 1, got {parsed.number}")
    if parsed.output.is_dir() and any(parsed.output.iterdir()) and not _is_gallery(parsed.output):
        raise SettingsError(f"--output: {parsed.output} contains files that are not a gallery; choose another folder")
    check_usable(parsed.bundle)
    # Heavy libraries are imported after the arguments have been checked.
    from inlay.recipes.commands.gallery_page import held_out_prompts, prompt, write_gallery
    from inlay.recipes.training.load_model import loaded_model

    asked = [prompt(text) for text in parsed.prompts] or held_out_prompts(Path(parsed.bundle), parsed.number)
    with loaded_model(parsed.bundle, backbone or named_models(parsed)) as model:
        print(write_gallery(model, asked, parsed.output, title=TITLE, seed=parsed.seed))
    return 0


def _is_gallery(folder: Path) -> bool:
    page = folder / "index.md"
    return page.is_file() and page.read_text(encoding="utf-8", errors="replace").startswith(TITLE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
