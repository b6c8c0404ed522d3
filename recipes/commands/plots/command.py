"""``inlay plot``: draw the curves of a run, its figures beside blind and oracle, and held-out answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.runs.files import PLOT
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.errors import SettingsError

__all__ = ["SOFTWARE", "main"]

SOFTWARE = ("inlay plot", "inlay picture")
"""What a plot names as its writer; the second is the former name of the command."""


def main(argv: Sequence[str]) -> int:
    """Draw one run."""
    parser = command_parser(
        "plot",
        f"{__doc__} Of alignment tuning it draws the reward accuracy with the right, a blank and another medium, and "
        "the reward and the KL divergence of GRPO.",
    )
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--output", type=Path | None, help=f"PNG file; {PLOT} in the run folder if not given")
    parsed = parser.parse_args(list(argv))
    target = parsed.output or parsed.run / PLOT
    folder = RunFolder(parsed.run)
    if not folder.metrics.exists():
        raise SettingsError(f"{folder.root}: expected a finished run (with metrics.json); train one with `inlay train`")
    _check_target(target)

    # Imported here: matplotlib and torch take seconds, and a wrong argument is reported without them.
    from inlay.recipes.commands.plots.draw import draw_run

    draw_run(folder, target, software=SOFTWARE[0])
    print(target)
    return 0


def _check_target(target: Path) -> None:
    """Check by its metadata that an existing file is an earlier plot."""
    if not target.exists():
        return
    from PIL import Image

    try:
        with Image.open(target) as image:
            ours = image.info.get("Software") in SOFTWARE
    except OSError:
        ours = False
    if not ours:
        raise SettingsError(f"{target}: exists, and was not written by `inlay plot`; choose another --output")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
