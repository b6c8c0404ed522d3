"""The implementation of ``inlay evaluate --benchmark``: read, answer, score, compare, write."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.digest import exact_digest
from inlay.adapters.conversation.messages import media_of
from inlay.recipes.commands.arguments.bundle_argument import named_models
from inlay.recipes.commands.evaluation.evaluate_bundle import CACHE, published_decoding
from inlay.recipes.data.cache.features import Caching
from inlay.recipes.data.cache.store import CacheStore
from inlay.recipes.data.rows.sample import Sample, medium_key
from inlay.recipes.distributed.ranks import first, first_shows, is_first, world
from inlay.recipes.evaluation.answering import Answered, Asked, ask
from inlay.recipes.evaluation.benchmarks.answer_store import AnswerStore, StoredAnswer
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark
from inlay.recipes.evaluation.benchmarks.blind_prompts import Prompt
from inlay.recipes.evaluation.benchmarks.bootstrap import paired_bootstrap
from inlay.recipes.evaluation.benchmarks.collect import ADAPTER, collect, columns_of
from inlay.recipes.evaluation.benchmarks.item import Item, limited
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.registry import benchmark_named, files_of
from inlay.recipes.evaluation.benchmarks.report import as_plain, benchmark_table, difference_line, scored_columns
from inlay.recipes.evaluation.benchmarks.results_files import write_json
from inlay.recipes.evaluation.decoding import AnswerSettings, candidates_of
from inlay.recipes.evaluation.errors import BenchmarkError
from inlay.recipes.evaluation.scores import cut_line
from inlay.recipes.runtime.backbone import runtime_backbone
from inlay.recipes.runtime.options import RuntimeOptions
from inlay.recipes.settings.precision import device_of
from inlay.recipes.terminal.console import show_json

__all__ = ["evaluate_benchmark"]

OUTPUT = Path("evaluation")
"""Default folder of all evaluations, in the working folder."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One benchmark with its items, for one or two bundles."""

    benchmark: Benchmark
    files: OfficialFiles
    items: Sequence[Item]
    columns: Mapping[str, Sequence[Prompt]]
    settings: AnswerSettings
    parsed: Any
    runtime: RuntimeOptions
    say: Callable[[str], None]


def evaluate_benchmark(
    parsed: Any, settings: AnswerSettings, backbone: Backbone | None = None, runtime: RuntimeOptions | None = None
) -> None:
    """Evaluate one bundle, or compare two, and print; with several processes, the first one prints.

    Args:
        parsed: the arguments of the command line.
        settings: the generation options among them.
        backbone: loaded frozen models, instead of those of the runs.
        runtime: where the language model runs; in torch if not given.
    """
    say = first_shows(partial(print, file=sys.stderr))
    benchmark = benchmark_named(parsed.benchmark)
    files = files_of(parsed.benchmark, parsed.root, parsed.images, links=parsed.links, downscale=parsed.downscale)
    say(f"{files.published.title}: reading {', '.join(map(str, files.paths))}")
    instruction = benchmark.instruction if parsed.instruction is None else parsed.instruction
    items = limited(benchmark.read(files, instruction), parsed.limit)
    if not items:
        raise BenchmarkError(f"{parsed.root}: the files of {files.published.title} have no question")
    names = [item.name for item in items]
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise BenchmarkError(f"{parsed.root}: expected every question of {benchmark.name} once, got {twice} again")
    files.check_media(items)
    columns = columns_of([settings.phrased(item.prompt) for item in items])
    task = _Task(
        benchmark=benchmark,
        files=files,
        items=items,
        columns=columns,
        settings=settings,
        parsed=parsed,
        runtime=runtime or RuntimeOptions(),
        say=say,
    )
    figures, tables = {"benchmark": benchmark.name, "questions": len(items), "main": benchmark.main}, list[str]()
    scored = []
    for bundle in filter(None, (parsed.bundle, parsed.against)):
        folder, answers = _answers(task, bundle, backbone)
        own = scored_columns(benchmark, items, answers)
        plain = figures | {"bundle": bundle, "columns": as_plain(own)}
        if is_first():
            _write(task, folder, plain, answers[ADAPTER])
        named = f"{files.published.title}, {bundle}"
        if own:
            tables.append(benchmark_table(named, len(items), own))
            scored.append(own[ADAPTER])
        else:
            tables.append(f"{named}: the reference answers are not public; upload the results file")
        tables[-1] += f"\nfiles: {folder}"
        figures |= {"columns" if bundle is parsed.bundle else "against": plain["columns"], "folder": str(folder)}
    if len(scored) == 2:
        difference = paired_bootstrap(items, *scored)
        figures["difference"] = asdict(difference)
        pair = (str(parsed.bundle), str(parsed.against))
        tables.append(difference_line(benchmark.main, difference, better=benchmark.better, bundles=pair))
    if is_first():
        show_json(figures) if parsed.json else print("\n\n".join(tables))


def _answers(task: _Task, bundle: str, backbone: Backbone | None) -> tuple[Path, dict[str, list[StoredAnswer]]]:
    """The folder of one bundle, and its answers by column; stored answers need no model."""
    parsed, settings = task.parsed, task.settings
    adapter = Adapter.from_pretrained(bundle, trusted=parsed.trusted)
    layout = settings.layout(adapter.layout)
    limit = int(settings.decoded(published_decoding(adapter, settings), task.benchmark.tokens)["max_new_tokens"])
    options: dict[str, Any] = {"candidates": candidates_of(settings.rank), "layout": layout}
    if settings.rank is None:
        options |= settings.decoded(published_decoding(adapter, settings), limit)
    models = named_models(parsed)
    facts = {
        "benchmark": task.benchmark.name,
        "bundle": hashlib.sha256(f"{exact_digest(adapter)} {adapter.interface} {layout}".encode()).hexdigest(),
        "models": {name: str(value) for name, value in asdict(models).items() if value is not None},
        "runtime": {name: str(value) for name, value in asdict(task.runtime).items() if value is not None},
        "options": {name: value for name, value in options.items() if name != "layout"},
        "questions": _digest(task.columns),
    }
    named = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
    store = AnswerStore((parsed.output or OUTPUT / task.benchmark.name) / f"{Path(bundle).resolve().name}-{named}")
    names = [item.name for item in task.items]
    loaded = ExitStack()

    @cache
    def model() -> Callable[[list[Asked]], list[Answered]]:
        opened = runtime_backbone(bundle, adapter, task.runtime, backbone or models, show=task.say)
        own = loaded.enter_context(opened)
        own.to(device_of(parsed.accelerator))
        attached = adapter.attach(own)
        loaded.callback(adapter.detach)
        samples = [Sample(item.name, item.prompt, item.name) for item in task.items if media_of(item.prompt)]
        store = CacheStore(parsed.cache_dir, budget=parsed.cache_disk_mib << 20) if parsed.cache_dir else None
        caching = Caching(memory=CACHE, store=store, show=task.say)
        # Without a folder of features, each of several processes encodes the media of its own questions on demand.
        seen = samples if store is not None or world() == 1 else None
        features = caching.features(own, layout.geometry_for("image"), seen, tiling=layout.tiling)
        batches = {"batch_size": parsed.batch_size, "shared": True, "show": task.say}
        return partial(ask, attached, features=features, **options, **batches)

    with ExitStack() as opened, loaded:
        first(lambda: opened.enter_context(store.opened(facts)))
        task.say(f"{task.files.published.title}: {len(names)} questions, {bundle}")
        answers = collect(names, task.columns, store, lambda asked: model()(asked), task.say)
    if cut := cut_line(answers[ADAPTER], limit):
        task.say(cut)
    return store.folder, answers


def _digest(columns: Mapping[str, Sequence[Prompt]]) -> str:
    """Identifies the questions: all texts and media, in their order."""
    found = hashlib.sha256()
    for prompts in columns.values():
        for prompt in prompts:
            media = [medium_key(part)[1] for part in media_of(prompt)]
            found.update(json.dumps([[turn.text for turn in prompt], media]).encode())
    return found.hexdigest()


def _write(task: _Task, folder: Path, figures: Mapping[str, Any], answers: Sequence[StoredAnswer]) -> None:
    """Write the figures and the results file."""
    write_json(folder / "figures.json", dict(figures))
    if (results := task.benchmark.results) is not None:
        results.write(folder / results.name, task.items, [row.answer for row in answers], task.files)
