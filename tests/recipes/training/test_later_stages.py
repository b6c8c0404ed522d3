"""Nothing is lost: later stages are checked before the first, and a resumed run keeps what is finished."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from inlay.hub.errors import InlayError
from inlay.recipes import DataSettings, RunSettings, finetune, llava
from inlay.recipes.objectives.pformer.settings import PFormerStudent
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.recipe import Recipe
from inlay.recipes.training import run as run_module
from inlay.recipes.training.final_table import FinalTable


@pytest.fixture
def data(image_of: Any, tmp_path: Path) -> dict[str, Path]:
    """Eight questions to train on and three held-out ones."""
    for name, numbers in (("train", range(8)), ("test", range(8, 11))):
        rows = []
        for number in numbers:
            image_of(number).save(tmp_path / f"{number}.png")
            turns = [{"from": "human", "value": "<image>\nwhat is it?"}, {"from": "gpt", "value": "red"}]
            rows.append({"id": str(number), "image": f"{number}.png", "conversations": turns})
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    return {name: tmp_path / f"{name}.json" for name in ("train", "test")}


def recipe(**instruct: Any) -> Recipe:
    """Two stages of two steps."""
    held = llava.recipe("1.0")
    short = {name: replace(stage, max_steps=2, batch_size=2, accumulate=1) for name, stage in held.stages.items()}
    return replace(held, stages={**short, "instruct": replace(short["instruct"], **instruct)})


class Trained(Callback):
    """Counts the batches of each fit."""

    def __init__(self, batches: list[int]) -> None:
        self.batches = batches

    def on_fit_start(self, *_: Any) -> None:
        self.batches.append(0)

    def on_train_batch_end(self, *_: Any) -> None:
        self.batches[-1] += 1


@pytest.fixture
def run(data: dict[str, Path], eva_backbone_of: Any, tmp_path: Path) -> Any:
    """Trains into one folder; returns the lines for the user and the batches of each stage."""

    def make(
        chosen: Recipe, *, batches: list[int] | None = None, callbacks: tuple[Callback, ...] = (), **options: Any
    ) -> tuple[list[str], list[int]]:
        lines: list[str] = []
        trained = Trained([] if batches is None else batches)
        settings = {"output": tmp_path / "run", "accelerator": "cpu", "show": lines.append, **data, **options}
        finetune(chosen, backbone=eva_backbone_of("llama"), callbacks=[trained, *callbacks], **settings)
        return lines, trained.batches

    return make


def test_the_bundle_is_written_before_the_questions_and_a_crash_among_them_is_resumed(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(FinalTable, "answers", crash)
        with pytest.raises(RuntimeError, match="out of memory"):
            run(recipe())
    assert (tmp_path / "run" / "bundle" / "adapter.safetensors").exists()
    assert not (tmp_path / "run" / "metrics.json").exists()
    weights = (tmp_path / "run" / "bundle" / "adapter.safetensors").read_bytes()
    lines, batches = run(recipe(), resume=True)
    assert batches == [0, 0]
    assert "exact match" in "\n".join(lines)
    assert (tmp_path / "run" / "bundle" / "adapter.safetensors").read_bytes() == weights
    assert json.loads((tmp_path / "run" / "bundle" / "inlay.json").read_text())["training"]["metrics"]


def test_a_run_that_crashed_among_its_questions_is_finished_without_them(
    data: dict[str, Path], eva_backbone_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise RuntimeError("out of memory")

    def train(**options: Any) -> dict[str, Any]:
        return dict(
            finetune(
                recipe(),
                backbone=eva_backbone_of("llama"),
                data=DataSettings(**data),
                settings=RunSettings(output=tmp_path / "run", accelerator="cpu", **options),
                show=lambda _: None,
            ).metrics
        )

    with monkeypatch.context() as patch:
        patch.setattr(FinalTable, "answers", crash)
        with pytest.raises(RuntimeError, match="out of memory"):
            train()
    assert "accuracy" not in train(resume=True, evaluate=False)


def test_a_changed_later_stage_is_trained_again_and_the_finished_one_is_kept(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_save", stop)
    with pytest.raises(KeyboardInterrupt):
        run(recipe(), test=None)
    monkeypatch.undo()
    first = torch.load(tmp_path / "run" / "checkpoints" / "align" / "last.ckpt", weights_only=True)
    lines, batches = run(recipe(max_steps=3), test=None, resume=True)
    assert batches == [0, 3]
    told = [line for line in lines if "training again" in line]
    assert told == ["stages.instruct.max_steps was 2 and is 3: training again instruct, keeping align"]
    assert (tmp_path / "run" / "checkpoints" / "instruct.replaced" / "last.ckpt").exists()
    again = torch.load(tmp_path / "run" / "checkpoints" / "align" / "last.ckpt", weights_only=True)
    assert all(torch.equal(first["state_dict"][name], again["state_dict"][name]) for name in first["state_dict"])
    assert "max_steps: 3" in (tmp_path / "run" / "config.yaml").read_text()


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_with_other_settings_than_those_of_later_stages_is_still_refused(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_save", stop)
    with pytest.raises(KeyboardInterrupt):
        run(recipe(), test=None)
    for changed, named in (
        ({"chosen": recipe(), "seed": 3}, "seed was 0 and is 3"),
        ({"chosen": replace(recipe(), stages={**recipe().stages, "align": first_stage()})}, "stages.align.max_steps"),
    ):
        with pytest.raises(SettingsError, match=named):
            run(**changed, test=None, resume=True)


def first_stage() -> Any:
    return replace(recipe().stages["align"], max_steps=1)


@pytest.mark.parametrize(
    ("instruct", "said"),
    [
        ({"objective": PFormerStudent()}, "there is no teacher"),
        ({"lr": {"outputs.image": 1e-3}}, "outputs"),
    ],
    ids=["objective", "parts"],
)
def test_a_later_stage_that_cannot_train_stops_the_run_before_the_first(
    run: Any, instruct: dict[str, Any], said: str
) -> None:
    seen: list[int] = []
    with pytest.raises(InlayError, match=said):
        run(recipe(**instruct), batches=seen)
    assert seen == []


def test_the_rehearsal_leaves_the_weights_as_they_were(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    run(recipe(), output=tmp_path / "one", test=None)
    monkeypatch.setattr(run_module, "rehearse", lambda *_: None)
    run(recipe(), output=tmp_path / "two", test=None)
    files = [tmp_path / name / "bundle" / "adapter.safetensors" for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_progress_bar_counts_optimizer_steps(run: Any) -> None:
    seen: list[tuple[int, int]] = []

    class Bar(Callback):
        def on_train_end(self, trainer: Any, module: Any) -> None:
            progress = trainer.progress_bar_callback._progress
            seen.append((progress._done, progress.total))

    run(recipe(batch_size=4, accumulate=4), test=None, callbacks=[Bar()])
    assert seen == [(2, 2), (2, 2)]
