"""``inlay evaluate``: the held-out tables of a bundle: answers, captions, objects that are there or not, media made."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.conversation.layout import Layout
from inlay.recipes.commands.arguments.bundle_argument import add_trusted_bundle
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.data.cache.features import Caching, FeatureCache
from inlay.recipes.data.cache.store import CacheStore
from inlay.recipes.data.formats.vqa.results import write_vqa_results
from inlay.recipes.evaluation.answering import Answered, Scores, answer_oracle, ask, blind, score, score_table
from inlay.recipes.evaluation.caption_scores import caption_figures, figure_table, pope_figures
from inlay.recipes.evaluation.decoding import AnswerSettings, candidates_of
from inlay.recipes.evaluation.eval_data import HeldOut, read_held_out
from inlay.recipes.evaluation.generation import MAX_NEW_TOKENS, asked_to_make, made_table, measure_made
from inlay.recipes.miniature.judges.generated_media import judge_generated
from inlay.recipes.runs.backbone import backbone_settings
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems.generation_options import making_of
from inlay.recipes.systems.load_backbone import backbone_for
from inlay.recipes.systems.registry import SYSTEMS

__all__ = ["main"]

Metric: TypeAlias = Literal["auto", "vqa", "captions", "pope"]

CACHE = 2 << 30
LONGEST = {"vqa": 16, "pope": 16, "captions": 50}
"""Tokens of an answer where nothing says how many."""
TITLES = {
    "vqa": "VQA accuracy on {}, in percent",
    "pope": "POPE on {}, in percent",
    "captions": "captions of {}, times 100",
}


def main(argv: Sequence[str]) -> int:
    """Evaluate one bundle on one file."""
    parsed = _parser().parse_args(list(argv))
    settings = AnswerSettings(**{field.name: getattr(parsed, field.name) for field in fields(AnswerSettings)})
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
    )
    if not held.answered and parsed.results is None:
        raise SettingsError(
            f"{held.path}: these questions have no answers to compare with; give --data.test_annotations, or --results "
            "FILE for what the evaluation server takes"
        )
    ids = _question_ids(held) if parsed.results is not None else {}
    metric = _metric(parsed.metric, held)
    store = CacheStore(parsed.cache_dir, budget=parsed.cache_disk_mib << 20) if parsed.cache_dir else None
    backbone = backbone_for(adapter, backbone_settings(parsed.bundle, adapter, vars(parsed.backbone)))
    layout, published = settings.layout(adapter.layout), _published(adapter, settings)
    options: dict[str, Any] = {"candidates": candidates, "layout": layout}
    if not candidates:
        options |= settings.decoded(published, LONGEST[metric])
    described = [sample for sample in held.samples if sample.description] if metric == "vqa" and not candidates else []
    oracle = answer_oracle(backbone, layout, described, max_new_tokens=options["max_new_tokens"]) if described else []

    asked = [(question, settings.phrased(prompt), name) for question, prompt, name in held.asked]
    if asked:
        print(f"answering {len(asked)} questions of {held.path}", file=sys.stderr)
    model = adapter.attach(backbone)
    features = _features(model, held, layout, store)
    answered = {"adapter": ask(model, asked, features=features, **options)}
    if parsed.results is not None:
        write_vqa_results(parsed.results, {ids[item.name]: item.said for item in answered["adapter"]}, ids.values())
    figures: dict[str, Any] = {}
    tables: list[str] = []
    if not held.answered:
        tables.append(f"{len(asked)} answers: {parsed.results}")
    elif asked:
        answered |= {"blind": ask(model, blind(asked), **options)} | ({"oracle": oracle} if oracle else {})
        figures, table = _measured(metric, held, answered)
        tables.append(table)
    if held.making:
        print(f"making the media of {len(held.making)} prompts, with and without the adapter", file=sys.stderr)
        decoded = settings.decoded(published, MAX_NEW_TOKENS)
        made = _made(model, held, settings, features=features, seed=parsed.seed, layout=layout, **decoded)
        figures |= made
        tables.append(made_table(made))
    print(json.dumps(figures, indent=2) if parsed.json and figures else "\n\n".join(tables))
    return 0


def _parser() -> ArgumentParser:
    parser = command_parser("evaluate", __doc__)
    add_trusted_bundle(parser)
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
        help="conversations in which something is made; of the run's own test set, the run's own",
    )
    parser.add_argument(
        "--data.images", dest="images", type=Path | None, help="folder of the media; each file's own if not given"
    )
    parser.add_argument(
        "--data.links", dest="links", type=bool, default=False, help="links may lead out of the folder of the media"
    )
    parser.add_argument(
        "--data.answers", dest="answers", type=int, default=10, help="VQA v2: people who answered each question"
    )
    parser.add_argument(
        "--data.pattern", dest="pattern", type=str | None, help="VQA v2: file name of an image by its number"
    )
    parser.add_argument(
        "--data.cache_dir", dest="cache_dir", type=Path | None, help="folder of cached features, as of `inlay train`"
    )
    parser.add_argument(
        "--data.cache_disk_mib", dest="cache_disk_mib", type=PositiveInt, default=65536, help="budget of that folder"
    )
    parser.add_argument(
        "--metric", type=Metric, default="auto", help="auto: captions where nothing is asked, otherwise VQA accuracy"
    )
    parser.add_class_arguments(AnswerSettings)
    parser.add_argument("--seed", type=int | None, help="of the noise that media begin with; the run's if not given")
    parser.add_argument("--results", type=Path | None, help="write VQA v2's results file: question ids and answers")
    parser.add_class_arguments(BackboneSettings, "backbone")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _metric(wanted: Metric, held: HeldOut) -> str:
    if wanted == "auto" and held.asked:
        wordless = not any(prompt[-1].text.strip() for _, prompt, _ in held.asked)
        return "captions" if wordless else "vqa"
    if wanted == "pope" and held.answered:
        for question, _, name in held.asked:
            if question.reference not in ("yes", "no"):
                raise SettingsError(
                    f"{held.path}, {name}: POPE asks what is answered by yes or no, got {question.reference!r}"
                )
    return "vqa" if wanted == "auto" else wanted


def _published(adapter: Adapter, settings: AnswerSettings) -> Mapping[str, Any]:
    if settings.decoding == "greedy":
        return {}
    if adapter.system not in SYSTEMS:
        raise SettingsError(f"decoding: expected a bundle of {', '.join(SYSTEMS)}, got one of {adapter.system!r}")
    return SYSTEMS[adapter.system].recipe(size="full").decoding


def _question_ids(held: HeldOut) -> dict[str, int]:
    """Sample id -> question id, as the results file has it."""
    names = [name for _, _, name in held.asked]
    if wrong := [name for name in names if not name.isdecimal()]:
        raise SettingsError(f"results: VQA v2's questions are numbered, and {held.path} has one called {wrong[0]!r}")
    return {name: int(name) for name in names}


def _features(model: AttachedModel, held: HeldOut, layout: Layout, store: CacheStore | None) -> FeatureCache | None:
    caching = Caching(memory=CACHE, store=store, show=partial(print, file=sys.stderr))
    return caching.features(model.backbone, layout.geometry_for("image"), [*held.samples, *held.making])


def _measured(metric: str, held: HeldOut, answered: Mapping[str, Sequence[Answered]]) -> tuple[dict[str, Any], str]:
    """Figures by column, and their table."""
    title = TITLES[metric].format(held.path.name)
    if metric == "vqa":
        scores: dict[Any, Scores] = {name: score(rows) for name, rows in answered.items()}
        return {name: vars(own) for name, own in scores.items()}, f"{title}\n{score_table(scores)}"
    figures = {name: _figures(metric, rows) for name, rows in answered.items()}
    return figures, f"{title}\n{figure_table(figures)}"


def _made(
    model: AttachedModel, held: HeldOut, settings: AnswerSettings, *, seed: int | None, **options: Any
) -> dict[str, Any]:
    """Figures of what is made, by the run's own noise unless another is asked for."""
    facts = model.adapter.training_facts
    asked = [(q._replace(prompt=settings.phrased(q.prompt)), name) for q, name in asked_to_make(held.making)]
    _, figures = measure_made(
        model,
        asked,
        judge_generated if held.judged else None,
        media=making_of(model.adapter, model.backbone),
        seed=seed if seed is not None else facts.seed if facts is not None else 0,
        **options,
    )
    return figures


def _figures(metric: str, rows: Sequence[Answered]) -> dict[str, float]:
    said = [row.said for row in rows]
    if metric == "captions":
        return caption_figures(said, [row.question.answers for row in rows])
    return pope_figures(said, [row.question.reference for row in rows])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
