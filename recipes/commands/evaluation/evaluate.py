"""``inlay evaluate``: evaluate a bundle on held-out data (answers, captions, generated media) or a public benchmark."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from inlay.hub.remote.address import locate
from inlay.recipes.commands.arguments.bundle_argument import add_backbone, add_trusted_bundle, check_bundle
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.evaluation.benchmarks.registry import benchmark_names, files_of
from inlay.recipes.evaluation.decoding import AnswerSettings, candidates_of
from inlay.recipes.evaluation.metric_registry import AUTO, check_metric_name
from inlay.recipes.runs.begin import manifest_of
from inlay.recipes.runtime.options import RuntimeOptions, add_runtime, runtime_options
from inlay.recipes.settings.errors import SettingsError

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["main"]


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Evaluate one bundle on one file.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    parsed = _parser().parse_args(list(argv))
    settings = AnswerSettings(**{field.name: getattr(parsed, field.name) for field in fields(AnswerSettings)})
    candidates_of(settings.rank)
    check_metric_name(parsed.metric)
    runtime = runtime_options(parsed)
    _check_runtime(runtime, settings, parsed.devices)
    _check_files(parsed)
    _check_benchmark(parsed)
    for bundle in filter(None, (parsed.bundle, parsed.against)):
        if isinstance(place := locate(bundle), Path):
            manifest_of(place)  # of a run that was interrupted there is none

    # Imported here: torch takes seconds, and a wrong argument is reported without it.
    if parsed.test is not None and parsed.test_annotations is None:
        from inlay.recipes.data.formats.read import check_beginning
        from inlay.recipes.data.rows.columns import parse_columns

        if parsed.test.is_file():
            check_beginning(parsed.test, parsed.format_name, parse_columns(parsed.columns or ""))
    from inlay.recipes.commands.evaluation.evaluate_benchmark import evaluate_benchmark
    from inlay.recipes.commands.evaluation.evaluate_bundle import evaluate_bundle
    from inlay.recipes.distributed.launch import start_again
    from inlay.recipes.distributed.ranks import joined, started_with

    if parsed.devices > 1 and started_with() == 1:
        start_again(parsed.devices)
    with joined(parsed.accelerator):
        (evaluate_bundle if parsed.benchmark is None else evaluate_benchmark)(parsed, settings, backbone, runtime)
    return 0


def _check_runtime(runtime: RuntimeOptions, settings: AnswerSettings, devices: int) -> None:
    """Check options that need the scores of all positions, or several processes."""
    if runtime.name == "torch":
        return
    if settings.rank:
        raise SettingsError(
            f"--rank: expected --runtime torch, which gives the scores of all answers, got {runtime.name}"
        )
    if devices > 1:
        raise SettingsError(f"--devices: expected 1 with --runtime {runtime.name}, got {devices}")


def _check_files(parsed: Any) -> None:
    """Check that the bundles and all files can be read or written, before anything is loaded."""
    if parsed.against is not None:
        check_bundle(parsed.against)
    for name in ("results", "save_answers"):
        path = getattr(parsed, name)
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise SettingsError(f"--{name}: expected a file in a folder that exists, got {path}")
    options = {"data.test": parsed.test, "data.test_annotations": parsed.test_annotations, "data.images": parsed.images}
    for name, path in [*options.items(), *(("data.make_test", path) for path in parsed.make_test)]:
        if path is not None and not path.exists():
            raise SettingsError(f"--{name}: {path}: no such file or folder")
    if parsed.images is not None and not parsed.images.is_dir():
        raise SettingsError(f"--data.images: {parsed.images}: expected a folder, got a file")


def _check_benchmark(parsed: Any) -> None:
    """Check the options of ``--benchmark`` and find its official files, before anything is loaded."""
    own = ("root", "against", "limit", "output", "instruction")
    if parsed.benchmark is None:
        if given := [name for name in own if getattr(parsed, name) is not None]:
            advice = "; without it, evaluate each bundle on the same file" if given[0] == "against" else ""
            raise SettingsError(f"--{given[0]}: expected together with --benchmark NAME{advice}")
        return
    others = ("test", "test_annotations", "format_name", "columns", "pattern", "results", "save_answers")
    options = {"format_name": "data.format", "results": "results", "save_answers": "save_answers"}
    if given := [name for name in others if getattr(parsed, name) is not None]:
        raise SettingsError(
            f"--{options.get(given[0], f'data.{given[0]}')}: not with --benchmark, which reads the official files "
            "below --root and writes its files into --output"
        )
    if parsed.metric != AUTO or parsed.make_test or parsed.seed is not None or parsed.allow_urls:
        raise SettingsError(
            "--metric, --data.make_test, --data.allow_urls, --seed: not with --benchmark, which has its own figures "
            "and reads local files"
        )
    if parsed.root is None:
        raise SettingsError("--root: expected the folder with the official files of the benchmark")
    files_of(parsed.benchmark, parsed.root, parsed.images)


def _parser() -> ArgumentParser:
    parser = command_parser("evaluate", __doc__)
    add_trusted_bundle(parser)
    parser.add_argument(
        "--benchmark",
        type=str | None,
        help=f"a public benchmark from its official files: {', '.join(benchmark_names())}",
    )
    parser.add_argument("--root", type=Path | None, help="folder with the official files of the benchmark")
    parser.add_argument(
        "--limit", type=PositiveInt | None, help="only the first questions of each part of the benchmark"
    )
    parser.add_argument(
        "--against",
        type=str | None,
        help="only with --benchmark: another bundle, and an interval for the difference of the two",
    )
    parser.add_argument(
        "--output", type=Path | None, help="folder for answers, figures and results files; evaluation/NAME if not given"
    )
    parser.add_argument(
        "--instruction",
        type=str | None,
        help="text after each question of the benchmark, instead of its own; may be empty",
    )
    parser.add_argument(
        "--data.test",
        dest="test",
        type=Path | None,
        help="LLaVA JSON, JSONL, triples, COCO captions, POPE, or the questions of VQA v2; the run's own if not given",
    )
    parser.add_argument(
        "--data.test_annotations", dest="test_annotations", type=Path | None, help="VQA v2: the annotations"
    )
    parser.add_argument(
        "--data.make_test",
        dest="make_test",
        type=list[Path],
        default=[],
        help="conversations with generated media; with the run's own test set, the run's own",
    )
    parser.add_argument(
        "--data.images",
        dest="images",
        type=Path | None,
        help="folder of the media; the folder of each file if not given",
    )
    parser.add_argument(
        "--data.links",
        dest="links",
        type=bool,
        default=False,
        help="allow absolute paths and symbolic links that lead out of the media folder",
    )
    parser.add_argument(
        "--data.format",
        dest="format_name",
        type=str | None,
        help='format of the questions; the page "Data" of the documentation lists the names',
    )
    parser.add_argument(
        "--data.columns", dest="columns", type=str | None, help="names of columns, such as question=query,answer=label"
    )
    parser.add_argument(
        "--data.allow_urls",
        dest="allow_urls",
        type=bool,
        default=False,
        help="fetch media from http(s) URLs of public hosts",
    )
    parser.add_argument(
        "--data.downscale",
        dest="downscale",
        type=bool,
        default=False,
        help="downscale pictures and clips that are too large",
    )
    parser.add_argument(
        "--data.answers", dest="answers", type=int, default=10, help="VQA v2: number of human answers per question"
    )
    parser.add_argument(
        "--data.pattern", dest="pattern", type=str | None, help="VQA v2: file name of an image by its number"
    )
    parser.add_argument(
        "--data.cache_dir", dest="cache_dir", type=Path | None, help="folder of cached features, as in `inlay train`"
    )
    parser.add_argument(
        "--data.cache_disk_mib",
        dest="cache_disk_mib",
        type=PositiveInt,
        default=65536,
        help="size limit of cache_dir in MiB",
    )
    parser.add_argument(
        "--metric",
        type=str,
        default="auto",
        help="auto (chosen by the data), vqa (several human answers per question), exact (one short answer), "
        "captions, pope (yes or no), choice (options in the question, or --rank), none, or a registered one",
    )
    parser.add_class_arguments(AnswerSettings)
    parser.add_argument(
        "--batch_size",
        type=PositiveInt | None,
        help="questions per batch; if not given, as many as the memory allows, and at most 64",
    )
    parser.add_argument(
        "--devices", type=PositiveInt, default=1, help="processes that share the questions, one per GPU"
    )
    parser.add_argument(
        "--accelerator", type=Literal["auto", "cpu", "gpu"], default="auto", help="device for the models"
    )
    parser.add_argument("--seed", type=int | None, help="seed of the initial noise of media; the run's if not given")
    parser.add_argument("--results", type=Path | None, help="write VQA v2's results file: question ids and answers")
    parser.add_argument(
        "--save_answers",
        type=Path | None,
        help="JSONL file for all questions and answers; if not given, only written if no metric fits, into the "
        "working folder",
    )
    add_runtime(parser)
    add_backbone(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
