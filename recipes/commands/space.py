"""``inlay space``: write a folder that runs as a Hugging Face Space with the page of ``inlay demo``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from inlay.recipes.commands.arguments.bundle_argument import add_backbone, add_bundle, check_usable
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.serve.errors import ServeError

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Write the folder.

    Args:
        argv: arguments of the command line.
    """
    parser = command_parser(
        "space",
        __doc__,
        'space runs/llava --title "Shapes and digits"',
        "space someone/llava-vqa --output llava-space --device cuda",
    )
    add_bundle(parser)
    parser.add_argument("--output", type=Path, default=Path("space"), help="new folder for the Space")
    parser.add_argument("--title", type=str, default="", help="title of the Space; the adapter's name if not given")
    parser.add_argument(
        "--requirement",
        type=str,
        default="",
        help="requirement for pip, such as 'inlay[demo] @ git+https://...'; this version of inlay on PyPI if not given",
    )
    parser.add_argument(
        "--device",
        type=Literal["cpu", "cuda"],
        default="cpu",
        help="hardware of the Space; cpu installs torch without CUDA, which saves gigabytes",
    )
    add_backbone(parser)
    parsed = parser.parse_args(list(argv))
    if parsed.output.exists():
        raise ServeError(f"--output: {parsed.output} already exists; choose another folder")
    for name in ("title", "requirement"):
        if "\n" in getattr(parsed, name):
            raise ServeError(f"--{name}: expected one line")
    check_usable(parsed.bundle)
    # Heavy libraries are imported after the arguments have been checked.
    from inlay.recipes.demo.examples import examples_of
    from inlay.recipes.demo.space import write_space

    named = vars(parsed.backbone).items()
    options = [f"--backbone.{name}={value}" for name, value in named if value != parser.get_default(f"backbone.{name}")]
    folder = write_space(
        parsed.bundle,
        parsed.output,
        examples_of(parsed.bundle),
        title=parsed.title,
        requirement=parsed.requirement,
        device=parsed.device,
        options=options,
    )
    print(f"{folder}: publish it with `hf upload OWNER/SPACE {parsed.output} --repo-type space`")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
