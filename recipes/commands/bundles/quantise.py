"""``inlay quantise``: write a bundle in int8, if its loss on held-out conversations hardly rises."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from inlay.recipes.commands.arguments.bundle_argument import add_backbone, add_bundle, check_usable, named_models
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.terminal.console import show_json

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["main"]


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Compare the loss before and after rounding, and write the bundle if the check passes.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    parser = command_parser(
        "quantise", f"{__doc__} Projectors get one scale per row; LoRA stays in bfloat16.", "quantise runs/llava small"
    )
    add_bundle(parser)
    parser.add_argument("output", type=Path, help="folder for the new bundle, for `inlay push`")
    parser.add_argument(
        "--data.test",
        dest="test",
        type=Path | None,
        help="held-out conversations with answers, in any format; the run's own if not given",
    )
    parser.add_argument(
        "--data.images",
        dest="images",
        type=Path | None,
        help="folder of the media; the folder of the file if not given",
    )
    parser.add_argument("--limit", type=float | None, help="allowed relative increase of the loss; 0.001 if not given")
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle in the output folder")
    add_backbone(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(list(argv))
    if parsed.limit is not None and not 0 <= parsed.limit < inf:
        raise SettingsError(f"--limit: expected a number of at least 0, such as 0.001, got {parsed.limit}")
    if parsed.output.exists() and not parsed.overwrite:
        raise SettingsError(f"{parsed.output}: already exists; choose another folder, or use --overwrite")
    for name in ("test", "images"):
        path = getattr(parsed, name)
        if path is not None and not path.exists():
            raise SettingsError(f"--data.{name}: {path}: no such file or folder")
    check_usable(parsed.bundle)
    # Heavy libraries are imported after the arguments have been checked.
    from inlay.adapters.bundles.bundle_io import open_bundle
    from inlay.adapters.bundles.int8_gate import LIMIT, quantise
    from inlay.recipes.evaluation.eval_data import read_held_out
    from inlay.recipes.evaluation.quantization_gate import HeldOutBatches
    from inlay.recipes.training.load_model import loaded_model

    limit = LIMIT if parsed.limit is None else parsed.limit
    held = read_held_out(Path(parsed.bundle), parsed.test, parsed.images)
    samples = [*held.samples, *held.making]
    if not held.answered or not samples:
        raise SettingsError(f"{held.path}: expected questions with answers, which the loss needs")
    before = open_bundle(parsed.bundle).bytes
    with loaded_model(parsed.bundle, backbone or named_models(parsed)) as model:
        found = quantise(model, HeldOutBatches(model, samples), limit=limit)
        model.adapter.save_pretrained(parsed.output, dtype="int8", overwrite=parsed.overwrite)
    after = open_bundle(parsed.output).bytes
    if parsed.json:
        show_json({"before": found.before, "after": found.after, "bytes_before": before, "bytes_after": after})
        return 0
    print(f"{found}, allowed {limit:+.3%}\n{parsed.output}: {before:,} -> {after:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
