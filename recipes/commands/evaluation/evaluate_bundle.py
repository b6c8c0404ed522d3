"""The implementation of ``inlay evaluate``: load, answer (adapter, blind, oracle), score, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.recipes.commands.arguments.bundle_argument import named_models
from inlay.recipes.data.cache.features import Caching, FeatureCache
from inlay.recipes.data.cache.store import CacheStore
from inlay.recipes.data.formats.vqa.results import write_vqa_results
from inlay.recipes.distributed.ranks import first_shows, is_first, world
from inlay.recipes.evaluation.answering import Answered, answer_oracle, as_rows, ask, blind
from inlay.recipes.evaluation.decoding import AnswerSettings, candidates_of
from inlay.recipes.evaluation.eval_data import HeldOut, read_held_out
from inlay.recipes.evaluation.generation import MAX_NEW_TOKENS, generation_prompts, generation_table, measure_generation
from inlay.recipes.evaluation.metric_registry import AnswerMetric
from inlay.recipes.evaluation.metrics.selection import choose_metric
from inlay.recipes.evaluation.scores import Column, as_figures, cut_line, no_metric_line, score, table
from inlay.recipes.evaluation.token_limit import token_limit
from inlay.recipes.runs.miniature_data import MEDIA_JUDGE
from inlay.recipes.runtime.backbone import runtime_backbone
from inlay.recipes.runtime.options import RuntimeOptions
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.precision import device_of
from inlay.recipes.systems.generation_options import generation_options
from inlay.recipes.systems.registry import SYSTEMS
from inlay.recipes.terminal.console import show_json

__all__ = ["evaluate_bundle", "published_decoding"]

CACHE = 2 << 30


@dataclass(frozen=True, kw_only=True)
class _Evaluation:
    """One evaluation: questions, decoding and metric."""

    held: HeldOut
    settings: AnswerSettings
    layout: Layout
    metric: AnswerMetric | None
    decoding: Mapping[str, Any]
    """The system's published options; empty if not chosen."""
    batches: Mapping[str, Any]
    """``batch_size``, ``shared`` and ``show`` of the evaluation functions."""
    candidates: tuple[str, ...]


def evaluate_bundle(
    parsed: Any, settings: AnswerSettings, backbone: Backbone | None = None, runtime: RuntimeOptions | None = None
) -> None:
    """Evaluate and print; with several processes, the first one prints.

    Args:
        parsed: the arguments of the command line.
        settings: the generation options among them.
        backbone: loaded frozen models, instead of those of the run.
        runtime: where the language model runs; in torch if not given.
    """
    say = first_shows(partial(print, file=sys.stderr))
    candidates = candidates_of(settings.rank)
    adapter = Adapter.from_pretrained(parsed.bundle, trusted=parsed.trusted)
    held = read_held_out(
        Path(parsed.bundle),
        parsed.test,
        parsed.images,
        make_test=parsed.make_test,
        annotations=parsed.test_annotations,
        answers=parsed.answers,
        pattern=parsed.pattern,
        links=parsed.links,
        format_name=parsed.format_name,
        columns=parsed.columns,
        allow_urls=parsed.allow_urls,
        downscale=parsed.downscale,
    )
    if not held.answered and parsed.results is None:
        raise SettingsError(
            f"{held.path}: these questions have no reference answers; give --data.test_annotations, or --results FILE "
            "to write a file for the evaluation server"
        )
    ids = _question_ids(held) if parsed.results is not None else {}
    questions = [question for question, _, _ in held.asked]
    metric = choose_metric(parsed.metric if held.answered else "none", questions, candidates)
    store = CacheStore(parsed.cache_dir, budget=parsed.cache_disk_mib << 20) if parsed.cache_dir else None
    one = _Evaluation(
        held=held,
        settings=settings,
        layout=settings.layout(adapter.layout),
        metric=metric,
        decoding=published_decoding(adapter, settings),
        batches={"batch_size": parsed.batch_size, "shared": True, "show": say},
        candidates=candidates,
    )
    models = backbone or named_models(parsed)
    with runtime_backbone(parsed.bundle, adapter, runtime or RuntimeOptions(), models, show=say) as frozen:
        figures, tables = _evaluated(one, adapter, frozen.to(device_of(parsed.accelerator)), store, parsed, ids, say)
    if is_first():
        show_json(figures) if parsed.json and figures else print("\n\n".join(tables))


def _evaluated(
    one: _Evaluation,
    adapter: Adapter,
    backbone: Backbone,
    store: CacheStore | None,
    parsed: Any,
    ids: Mapping[str, int],
    say: Callable[[str], None],
) -> tuple[dict[str, Any], list[str]]:
    """Figures by column, and their tables."""
    limit = _limit(one, backbone.llm.tokenizer)
    described = (
        [] if one.candidates or one.metric is None else [sample for sample in one.held.samples if sample.description]
    )
    oracle = answer_oracle(backbone, one.layout, described, max_new_tokens=limit, **one.batches)

    model = adapter.attach(backbone)
    try:
        features = _features(model, one.held, one.layout, store, say)
        answered = _answered(one, model, features, limit, say) | ({"oracle": oracle} if oracle else {})
        figures, tables = _measured(one, answered, parsed, ids)
        if cut := cut_line(answered.get("adapter", ()), limit):
            say(cut)
        if one.held.making:
            count = len(generation_prompts(one.held.making))
            also = ", with the adapter and as references" if one.held.judged else ""
            say(f"generating media for {count} prompts{also}")
            made = _made(one, model, features, parsed.seed)
            figures |= made
            tables.append(generation_table(made))
    finally:
        adapter.detach()
    return figures, tables


def published_decoding(adapter: Adapter, settings: AnswerSettings) -> Mapping[str, Any]:
    """The published generation options of the adapter's system; empty for greedy decoding.

    Raises:
        SettingsError: the bundle's system has no recipe here.
    """
    if settings.decoding == "greedy":
        return {}
    if adapter.system not in SYSTEMS:
        raise SettingsError(f"decoding: expected a bundle of {', '.join(SYSTEMS)}, got one of {adapter.system!r}")
    return SYSTEMS[adapter.system].recipe(size="full").decoding


def _question_ids(held: HeldOut) -> dict[str, int]:
    """Sample id -> question id in the results file."""
    names = [name for _, _, name in held.asked]
    if wrong := [name for name in names if not name.isdecimal()]:
        raise SettingsError(f"results: expected numbered questions as in VQA v2, {held.path} has {wrong[0]!r}")
    return {name: int(name) for name in names}


def _limit(one: _Evaluation, tokenizer: Any) -> int:
    """The maximum tokens of an answer; questions without answers are VQA's, with short answers."""
    if not one.held.answered:
        own = choose_metric("vqa", ()).tokens  # type: ignore[union-attr]  # vqa is built in
    else:
        own = token_limit(one.metric, [question for question, _, _ in one.held.asked], tokenizer)
    return int(one.settings.decoded(one.decoding, own)["max_new_tokens"])


def _features(
    model: AttachedModel, held: HeldOut, layout: Layout, store: CacheStore | None, say: Callable[[str], None]
) -> FeatureCache | None:
    caching = Caching(memory=CACHE, store=store, show=say)
    samples = [*held.samples, *held.making]
    # Without a store, each of several processes encodes the media of its own questions on demand.
    seen = samples if store is not None or world() == 1 else None
    return caching.features(model.backbone, layout.geometry_for("image"), seen, tiling=layout.tiling)


def _answered(
    one: _Evaluation, model: AttachedModel, features: FeatureCache | None, limit: int, say: Callable[[str], None]
) -> dict[Column, list[Answered]]:
    """Answers with media, and without media if there is a metric."""
    asked = [(question, one.settings.phrased(prompt), name) for question, prompt, name in one.held.asked]
    if not asked:
        return {}
    say(f"answering {len(asked)} questions of {one.held.path}")
    options: dict[str, Any] = {"candidates": one.candidates, "layout": one.layout, **one.batches}
    if not one.candidates:
        options |= one.settings.decoded(one.decoding, limit)
    found: dict[Column, list[Answered]] = {"adapter": ask(model, asked, features=features, **options)}
    if one.metric is not None:
        found["blind"] = ask(model, blind(asked), **options)
    return found


def _measured(
    one: _Evaluation, answered: Mapping[Column, list[Answered]], parsed: Any, ids: Mapping[str, int]
) -> tuple[dict[str, Any], list[str]]:
    """Figures by column, and their table; the first process writes the files."""
    if not answered:
        return {}, []
    own, metric, tables = answered["adapter"], one.metric, list[str]()
    if parsed.results is not None:
        if is_first():
            write_vqa_results(parsed.results, {ids[item.name]: item.said for item in own}, ids.values())
        tables.append(f"{len(own)} answers: {parsed.results}")
    file = parsed.save_answers
    if file is None and metric is None and one.held.answered:
        file = _new_file(Path(f"{one.held.path.stem}-answers.jsonl"))
    if file is not None and is_first():
        rows = as_rows(own, (parsed.images or one.held.path.parent).absolute())
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    if metric is None:
        if file is not None:
            tables.append(no_metric_line(parsed.metric, str(file)))
        return {}, tables
    scores = {name: score(metric, rows) for name, rows in answered.items()}
    figures: dict[str, Any] = {name: as_figures(held) for name, held in scores.items()}
    figures |= {"metric": metric.name, "cut": sum(item.finish_reason == "length" for item in own)}
    return figures, [table(metric, scores, one.held.path.name), *tables]


def _new_file(path: Path) -> Path:
    """A file name that does not exist yet."""
    number, found = 2, path
    while found.exists():
        found, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return found


def _made(one: _Evaluation, model: AttachedModel, features: FeatureCache | None, seed: int | None) -> dict[str, Any]:
    """Figures of generated media, with the seed of the run unless another one is given."""
    facts = model.adapter.training_facts
    asked = [
        (q._replace(prompt=one.settings.phrased(q.prompt)), name) for q, name in generation_prompts(one.held.making)
    ]
    _, figures = measure_generation(
        model,
        asked,
        MEDIA_JUDGE if one.held.judged else None,
        features=features,
        media=generation_options(model.adapter, model.backbone),
        seed=seed if seed is not None else facts.seed if facts is not None else 0,
        layout=one.layout,
        **one.batches,
        **one.settings.decoded(one.decoding, MAX_NEW_TOKENS),
    )
    return figures
