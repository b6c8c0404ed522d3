"""Pairs of a run: rows in TRL's format, numbers that do not depend on batches, and a stopped command that continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from registries import forgotten

from inlay.adapters.adapter import Adapter
from inlay.recipes.cli import main
from inlay.recipes.data.formats.read import read_samples
from inlay.recipes.data.rows.sample import DataError, Question, Sample, questions_of
from inlay.recipes.evaluation.metrics.vqa_accuracy import vqa_accuracy
from inlay.recipes.miniature.datasets.pictures import build
from inlay.recipes.preference_pairs import make as module
from inlay.recipes.preference_pairs.make import pairs
from inlay.recipes.preference_pairs.questions import data_of_run
from inlay.recipes.preference_pairs.settings import PairSettings
from inlay.recipes.preference_pairs.summary import PairSummary
from inlay.recipes.rewards.registry import RewardError
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.systems import llava
from inlay.recipes.systems.load_backbone import miniature_backbone

QUICK: dict[str, Any] = {"samples": 3, "max_new_tokens": 6, "temperature": 1.5, "limit": 12, "show": lambda _: None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained adapter on the miniature, in a run folder with training data."""
    root = tmp_path_factory.mktemp("runs") / "llava"
    backbone = miniature_backbone()
    torch.manual_seed(1)
    adapter = llava.recipe("1.5", "miniature").adapter(backbone, "test")
    adapter.attach(backbone)
    adapter.save_pretrained(root / "bundle")
    build(root / "data", 0, scenes=8, test_scenes=7, digits=2, test_digits=2)
    return root


@pytest.fixture(scope="module")
def model(run: Path) -> Any:
    return Adapter.from_pretrained(run).attach(miniature_backbone())


def letters(question: Question, answer: str, sample: Sample) -> float:
    """A reward that hardly ever ties."""
    return len(answer) + ord((answer or " ")[0]) / 1000


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def made(model: Any, run: Path, tmp_path: Path) -> Callable[..., PairSummary]:
    """Pairs of the run's training data."""

    def make(name: str = "pairs.jsonl", **options: Any) -> PairSummary:
        given = {"reward": letters, "batch_size": 5, "images": run / "data" / "images", **QUICK, **options}
        return pairs(model, run / "data" / "train.json", output=tmp_path / name, **given)

    return make


def test_rows_are_in_trls_format_and_their_media_exist(made: Any, run: Path) -> None:
    summary = made()
    rows = rows_of(summary.output)
    assert len(rows) == summary.pairs > 3
    for row in rows:
        assert set(row) == {
            *("id", "images", "prompt", "chosen", "rejected", "score_chosen", "score_rejected", "reward", "samples")
        }
        (image,) = row["images"]
        assert (run / "data" / "images" / image).is_file()
        assert [part["type"] for part in row["prompt"][0]["content"]] == ["image", "text"]
        assert row["prompt"][-1]["role"] == "user"
        assert row["score_chosen"] > row["score_rejected"]
        assert (row["reward"], row["samples"]) == ("function", 3)
    scores = [letters(None, row["chosen"][0]["content"][0]["text"], None) for row in rows]
    assert scores == [row["score_chosen"] for row in rows]


def test_every_question_is_counted_once(made: Any) -> None:
    summary = made(reward=lambda question, answer, sample: float(answer < "m"))
    assert summary.pairs + summary.ties + summary.equal == summary.questions == 12
    assert summary.ties > 0
    assert summary.rejected == 0 < summary.score < summary.chosen == 1


def test_rows_are_in_the_order_of_the_data_and_earlier_turns_are_the_datas(made: Any, run: Path) -> None:
    rows = rows_of(made().output)
    samples = read_samples(run / "data" / "train.json", run / "data" / "images")
    samples_of = {sample.id: questions_of(sample) for sample in samples}
    asked = [(sample.id, [turn.text for turn in q.prompt]) for sample in samples for q in questions_of(sample)]
    asked = [(name if len(samples_of[name]) == 1 else f"{name}/{len(turns) // 2 + 1}", turns) for name, turns in asked]
    assert len({row["id"] for row in rows}) == len(rows)
    found = [(row["id"], [turn["content"][-1]["text"] for turn in row["prompt"]]) for row in rows]
    places = [asked.index(item) for item in found]
    assert places == sorted(places)
    assert max(places) < 12


def test_the_result_does_not_depend_on_the_batch_size(made: Any) -> None:
    texts = [made(f"{size}.jsonl", batch_size=size).output.read_text() for size in (1, 4, 12)]
    assert texts[0] == texts[1] == texts[2]


def test_another_seed_gives_other_answers(made: Any) -> None:
    assert made("a.jsonl").output.read_text() != made("b.jsonl", seed=1).output.read_text()


@pytest.mark.parametrize("after", [1, 16, 30])
def test_a_stopped_call_continues_and_gives_the_same_file(made: Any, monkeypatch: Any, after: int) -> None:
    whole = made("whole.jsonl").output.read_bytes()
    calls: list[str] = []

    def stops(question: Question, answer: str, sample: Sample) -> float:
        calls.append(answer)
        if len(calls) == after:
            raise KeyboardInterrupt
        return letters(question, answer, sample)

    with pytest.raises(KeyboardInterrupt):
        made(reward=stops)
    answered: list[int] = []
    sampled = module.sample_groups
    monkeypatch.setattr(
        module,
        "sample_groups",
        lambda model, asked, *a, **k: answered.append(len(asked)) or sampled(model, asked, *a, **k),
    )
    summary = made(batch_size=2)  # the batch size of the first start counts
    assert summary.output.read_bytes() == whole
    assert sum(answered) == 12 - (after - 1) // 15 * 5
    assert not summary.output.with_name("pairs.jsonl.part").exists()


def test_a_killed_command_continues_and_gives_the_same_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "own_kill.py").write_text(
        "import os, signal\n"
        "from inlay.recipes import register_reward\n"
        "calls = []\n"
        "def score(question, answer, sample):\n"
        "    calls.append(answer)\n"
        "    if os.environ.get('KILL_AT') == str(len(calls)):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return len(answer)\n"
        "register_reward('letters', score)\n"
    )

    options = "--reward letters --samples 3 --max_new_tokens 6 --temperature 1.5 --limit 9 --batch_size 2"
    given = ["pairs", str(run), *options.split(), "--accelerator", "cpu", "--import", str(tmp_path / "own_kill.py")]
    output = tmp_path / "one.jsonl"
    killed = subprocess.run(
        [sys.executable, "-m", "inlay.recipes.cli", *given, "--output", str(output)],
        env=os.environ | {"KILL_AT": "20"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not output.exists()
    assert len((tmp_path / "one.jsonl.part").read_text().splitlines()) == 1 + 3
    with forgotten():
        assert main([*given, "--output", str(output)]) == 0
        assert main([*given, "--output", str(tmp_path / "two.jsonl")]) == 0
    assert output.read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_an_unfinished_file_of_other_settings_data_or_weights_is_refused(
    made: Any, model: Any, run: Path, tmp_path: Path
) -> None:
    calls: list[str] = []

    def stops(question: Question, answer: str, sample: Sample) -> float:
        calls.append(answer)
        if len(calls) > 15:  # after the first batch
            raise KeyboardInterrupt
        return letters(question, answer, sample)

    with pytest.raises(KeyboardInterrupt):
        made(reward=stops)
    with pytest.raises(SettingsError, match=r"other settings \(samples\)"):
        made(samples=4)
    items = json.loads((run / "data" / "train.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps(items[1:]))
    options = {"reward": letters, "images": run / "data" / "images", **QUICK}
    with pytest.raises(SettingsError, match=r"other settings \(data\)"):
        pairs(model, tmp_path / "other.json", output=tmp_path / "pairs.jsonl", **options)
    weight = next(iter(model.adapter.parameters()))
    with torch.no_grad():
        before = weight.clone()
        weight.add_(1)
        with pytest.raises(SettingsError, match=r"other settings \(adapter\)"):
            made()
        weight.copy_(before)
    assert made().pairs > 3


def test_a_reward_that_fails_names_the_row_and_writes_nothing(made: Any, tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=r"train\.json, item \d+ .*expected a finite number, got nan"):
        made(reward=lambda question, answer, sample: float("nan"))
    assert not (tmp_path / "pairs.jsonl").exists()


def test_questions_that_the_reward_cannot_score_are_counted(model: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "objects.txt").write_text("circle\nsquare\ntriangle\nstar\ncross\nring\n")
    settings = PairSettings(reward="objects", objects=tmp_path / "objects.txt", samples=2, max_new_tokens=4)
    data, images = run / "data" / "train.json", run / "data" / "images"
    summary = pairs(model, data, images=images, output=tmp_path / "p.jsonl", settings=settings, show=lambda _: None)
    assert summary.unscored > 0 < summary.questions
    assert summary.questions + summary.unscored == sum(
        len(questions_of(sample)) for sample in read_samples(data, images)
    )
    assert "cannot be scored by this reward" in str(summary)


def test_a_file_without_a_question_that_can_be_scored_is_refused(model: Any, run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"no question can be scored: .*train\.json, item 0: reward choice: the question lists no options",
    ):
        pairs(
            model,
            run / "data" / "train.json",
            images=run / "data" / "images",
            output=tmp_path / "p.jsonl",
            settings=PairSettings(reward="choice"),
        )


def test_a_run_is_asked_about_its_own_training_data(run: Path, tmp_path: Path) -> None:
    settings = PairSettings(reward="objects", samples=2, max_new_tokens=4, limit=3)  # the miniature's own classes
    summary = pairs(run, output=tmp_path / "p.jsonl", settings=settings, show=lambda _: None)
    assert summary.questions == 3
    assert data_of_run(run).train == run / "data" / "train.json"


def test_the_training_files_of_a_run_on_other_data_are_found_again(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    (tmp_path / "train.json").write_text("[]")
    (root / "config.yaml").write_text(f"data:\n  train: {tmp_path / 'train.json'}\n  images: {tmp_path}\n")
    found = data_of_run(root)
    assert (found.train, found.images, found.test) == (tmp_path / "train.json", tmp_path, None)
    (tmp_path / "train.json").unlink()
    with pytest.raises(SettingsError, match="which does not exist; give --data"):
        data_of_run(root)


def test_a_bundle_without_recorded_data_asks_for_a_file(run: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no training data are recorded for this run; give --data FILE"):
        pairs(run / "bundle", output=tmp_path / "p.jsonl", limit=1)


def test_an_attached_model_needs_a_file(model: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected a file of questions"):
        pairs(model, output=tmp_path / "p.jsonl")


def test_an_existing_file_is_replaced_only_on_demand(made: Any) -> None:
    first = made()
    with pytest.raises(SettingsError, match="exists already"):
        made()
    before = first.output.read_text()
    assert made(seed=3, overwrite=True).output.read_text() != before


def test_human_answers_are_scored_by_the_metric(model: Any, run: Path, tmp_path: Path) -> None:
    images = run / "data" / "images"
    samples = {sample.id: sample for sample in read_samples(run / "data" / "test.json", images)}
    summary = pairs(
        model, run / "data" / "test.json", images=images, output=tmp_path / "p.jsonl", **(QUICK | {"samples": 8})
    )
    for row in rows_of(summary.output):
        (question,) = questions_of(samples[row["id"]])
        for side in ("chosen", "rejected"):
            said = row[side][0]["content"][0]["text"]
            assert row[f"score_{side}"] == vqa_accuracy(said, question.answers)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"samples": 1}, "samples: expected a whole number from 2 on"),
        ({"temperature": 0.0}, "temperature: expected a number above 0"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_k": 0}, "top_k"),
        ({"seed": -1}, "seed"),
        ({"limit": 0}, "limit"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        PairSettings(**options)
