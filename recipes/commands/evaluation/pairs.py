"""``inlay pairs``: sample answers to questions, rank them by a reward, and write the best and the worst as pairs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from inlay.recipes.commands.arguments.bundle_argument import (
    add_backbone,
    add_bundle,
    add_trusted,
    check_usable,
    named_models,
)
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.preference_pairs.settings import PairSettings, check_output
from inlay.recipes.rewards.terms import user_function
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.terminal.console import show_json

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["main"]


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Write one file of pairs.

    Args:
        argv: bundle and options.
        backbone: loaded frozen models, instead of those of the run.
    """
    parsed = _parser().parse_args(list(argv))
    settings = _settings(parsed)
    for term in settings.terms:
        if ":" in term.name:
            user_function(term.name)
    check_usable(parsed.bundle)
    # Heavy libraries are imported after the arguments have been checked.
    from inlay.recipes.preference_pairs.make import pairs

    summary = pairs(
        parsed.bundle,
        parsed.data,
        output=parsed.output,
        images=parsed.images,
        annotations=parsed.annotations,
        settings=settings,
        batch_size=parsed.batch_size,
        overwrite=parsed.overwrite,
        trusted=parsed.trusted,
        backbone=backbone or named_models(parsed),
        accelerator=parsed.accelerator,
        links=parsed.links,
        show=partial(print, file=sys.stderr),
    )
    if parsed.json:
        show_json({**asdict(summary), "output": str(summary.output)})
    else:
        print(summary)
    return 0


def _settings(parsed: Any) -> PairSettings:
    return PairSettings(**{field.name: getattr(parsed, field.name) for field in fields(PairSettings)})


def _check_files(parsed: Any) -> None:
    """Check files and folders before anything is loaded."""
    for name in ("data", "annotations", "images"):
        path = getattr(parsed, name)
        if path is not None and not path.exists():
            raise SettingsError(f"--{name}: {path}: no such file or folder")
    if parsed.annotations is not None and parsed.data is None:
        raise SettingsError("--annotations needs its questions: give --data too")
    check_output(parsed.output, parsed.overwrite)


def _parser() -> ArgumentParser:
    parser = command_parser(
        "pairs",
        __doc__,
        "pairs runs/llava --output pairs.jsonl --limit 200",
        "pairs runs/mine --data questions.json --images images --reward exact --temperature 1 --output pairs.jsonl",
    )
    add_bundle(parser)
    parser.add_argument(
        "--data",
        type=Path | None,
        help="questions with answers, in any format of `inlay train`; the run's own training data if not given",
    )
    parser.add_argument("--annotations", type=Path | None, help="VQA v2: file with the annotations of the questions")
    parser.add_argument(
        "--images", type=Path | None, help="folder of the media; the folder of the data file if not given"
    )
    parser.add_argument(
        "--links", type=bool, default=False, help="allow symbolic links that lead out of the media folder"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="JSONL file for the pairs, in TRL's format, with paths of media relative to their folder; a stopped "
        "command continues where it was",
    )
    parser.add_argument("--overwrite", type=bool, default=False, help="replace an existing file")
    parser.add_class_arguments(PairSettings)
    parser.checks += [_settings, _check_files]
    parser.add_argument(
        "--batch_size",
        type=PositiveInt | None,
        help="questions per batch, each with all its answers; if not given, as many as the memory allows, and at most "
        "16",
    )
    parser.add_argument(
        "--accelerator", type=Literal["auto", "cpu", "gpu"], default="auto", help="device for the models"
    )
    add_trusted(parser)
    add_backbone(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
