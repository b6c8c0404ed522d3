"""Validation during training: its loss and metric, the best checkpoint, early stopping; training does not notice it."""

from __future__ import annotations

import csv
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_runs import silent_trainer
from two_processes import in_two
from validation_rows import STAGE, nine_samples

from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.evaluation.answering import asked_of
from inlay.recipes.evaluation.metrics import choose_metric
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.systems import llava
from inlay.recipes.training.callbacks import LabelAudit
from inlay.recipes.training.trainer import Fitted, fit
from inlay.recipes.training.validation import AnswerCheck, check_watched

pytestmark = pytest.mark.filterwarnings(
    "ignore:The '(train|val)_dataloader' does not have many workers",
)


@pytest.fixture
def samples(image_of: Any, tmp_path: Path) -> list[Sample]:
    return nine_samples(image_of, tmp_path)


@pytest.fixture
def train(backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path) -> Any:
    """Train in a folder of this name, with dropout; the module, its figures, and the lines that were shown."""

    def run(
        name: str,
        *,
        held_out: bool = True,
        metric: bool = False,
        stop: int | None = None,
        rates: Any = None,
        kind: Any = NextTokenModule,
        **options: Any,
    ) -> tuple[Any, Fitted | None, list[str]]:
        stage = STAGE if rates is None else replace(STAGE, lr=rates)
        torch.manual_seed(11)
        backbone = backbone_of()
        model = adapter_of(backbone, dropout=0.3).attach(backbone)
        torch.manual_seed(12)
        data = StageData(samples[:4], model, stage, seed=7)
        if held_out:
            data.validation = StageData(samples[4:], model, stage, seed=7)
        answers = None
        if metric:
            chosen: Any = choose_metric("exact", ())
            limits = {"max_new_tokens": 4, "layout": stage.layout}
            answers = AnswerCheck(model=model, asked=asked_of(samples[4:]), metric=chosen, options=limits)
        module = (kind if stop is None else _Stopped)(model, stage, data.steps)
        if stop is not None:
            module.stop = stop
        shown: list[str] = []
        fitted = None
        folder = RunFolder(tmp_path / name)
        with pytest.raises(InterruptedError) if stop is not None else nullcontext():
            fitted = fit(
                module,
                data,
                name="only",
                stage=stage,
                run=RunSettings(output=folder.root, accelerator="cpu", **options),
                folder=folder,
                labels=LabelAudit(model.backbone.llm.tokenizer, shown.append),
                show=shown.append,
                answers=answers,
            )
        return module, fitted, shown

    return run


class _Stopped(NextTokenModule):
    """Dies in the first micro-batch behind a step."""

    stop: int

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        if self.trainer.training and self.trainer.global_step == self.stop:
            raise InterruptedError("pulled the plug")
        return super().training_step(batch, number)


def weights(module: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def assert_equal(one: Any, two: Any) -> None:
    assert all(torch.equal(tensor, weights(two)[name]) for name, tensor in weights(one).items())


def logged(folder: Path, column: str) -> list[tuple[int, float]]:
    rows: list[dict[str, str]] = []
    for path in sorted(folder.rglob("metrics.csv")):
        with path.open() as file:
            rows += csv.DictReader(file)
    return [(int(row["step"]), float(row[column])) for row in rows if row.get(column)]


def test_training_is_the_same_bit_for_bit_with_and_without_validation(train: Any, tmp_path: Path) -> None:
    without, _, _ = train("without", held_out=False)
    validated, fitted, _ = train("with", validate_every=1, metric=True)
    assert len(fitted.validation) == 6
    assert_equal(without, validated)
    assert logged(tmp_path / "with", "loss") == logged(tmp_path / "without", "loss")


class _Drawing(NextTokenModule):
    """Its held-out loss needs random numbers, like the false pairs of a matching loss."""

    def validation_step(self, batch: Any, number: int) -> None:
        super().validation_step(batch, number)
        torch.rand(3)


def test_random_numbers_of_validation_do_not_reach_training(train: Any) -> None:
    without, _, _ = train("without", held_out=False)
    drawing, _, _ = train("with", kind=_Drawing, validate_every=1)
    assert_equal(without, drawing)


def test_the_loss_is_the_sum_over_labelled_tokens_by_their_number(train: Any, samples: list[Sample]) -> None:
    module, fitted, _ = train("run", validate_every=0)
    total, count = 0.0, 0
    module.eval()
    for sample in samples[4:]:
        model = module.model
        batch = model.collate([model.encode(sample.messages, layout=STAGE.layout)], layout=STAGE.layout)
        labels = int((batch.labels[:, 1:] != -100).sum())
        with torch.no_grad():
            total += float(model(batch, logits="none").loss) * labels
        count += labels
    assert [figures["step"] for figures in fitted.validation] == [6]
    assert fitted.validation[0]["loss"] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize(("every", "steps"), [(0, [6]), (0.5, [3, 6]), (4, [4, 6]), (1, [1, 2, 3, 4, 5, 6])])
def test_validation_follows_optimizer_steps_and_always_the_last(train: Any, every: float, steps: list[int]) -> None:
    _, fitted, shown = train("run", validate_every=every)
    assert [figures["step"] for figures in fitted.validation] == steps
    assert sum("validation at step" in line for line in shown) == len(steps)


def test_loss_and_metric_are_in_the_logs(train: Any, tmp_path: Path) -> None:
    _, fitted, shown = train("run", validate_every=3, metric=True)
    assert [value for _, value in logged(tmp_path, "val/loss")] == [figures["loss"] for figures in fitted.validation]
    for name in ("exact", "exact_blind"):
        assert [value for _, value in logged(tmp_path, f"val/{name}")] == [own[name] for own in fitted.validation]
    assert re.search(
        r"validation at step 3 of 6: loss \d\.\d{4}, exact \d\.\d{4}, exact_blind \d\.\d{4}", "\n".join(shown)
    )


def test_two_processes_share_the_validation(train: Any) -> None:
    def work() -> Any:
        _, fitted, _ = train("two", validate_every=0, rates={"inputs.image": 1e-9}, metric=True)
        return fitted.validation

    _, alone, _ = train("one", validate_every=0, rates={"inputs.image": 1e-9}, metric=True)
    first, second = in_two(work)
    assert first == second
    (one,), (both,) = alone.validation, first
    assert both["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert both["exact"] == one["exact"]


@pytest.mark.parametrize("every", [1, 2])
def test_a_resumed_run_has_the_validations_of_one_that_never_stopped(train: Any, tmp_path: Path, every: int) -> None:
    options: dict[str, Any] = {"validate_every": every, "checkpoint_every": 2, "metric": True}
    whole, uninterrupted, _ = train("whole", **options)
    train("parts", stop=3, **options)
    resumed, fitted, _ = train("parts", resume=True, **options)
    assert_equal(whole, resumed)
    assert fitted.validation == uninterrupted.validation
    assert dict(logged(tmp_path / "parts", "val/loss")) == dict(logged(tmp_path / "whole", "val/loss"))
    assert dict(logged(tmp_path / "parts", "loss")).items() <= dict(logged(tmp_path / "whole", "loss")).items()


class _Rising(NextTokenModule):
    """The loss of validation rises from the third on, whatever is trained."""

    def validation_step(self, batch: Any, number: int) -> None:
        super().validation_step(batch, number)
        step = self.trainer.global_step
        added: Any = self._held_out
        self._held_out = {name: part._replace(total=part.terms * abs(step - 2.0)) for name, part in added.items()}


def test_steps_in_front_of_a_validation_that_fails_are_kept(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, _ = train("whole", metric=True, validate_every=0, checkpoint_every=1000)

    def fail(_: AnswerCheck) -> dict[str, float]:
        raise RuntimeError("a metric failed")

    with monkeypatch.context() as patch:
        patch.setattr(AnswerCheck, "__call__", fail)
        with pytest.raises(RuntimeError, match="a metric failed"):
            train("parts", metric=True, validate_every=0, checkpoint_every=1000)
    assert torch.load(tmp_path / "parts/checkpoints/only/last.ckpt", weights_only=True)["global_step"] == 6
    resumed, _, _ = train("parts", metric=True, validate_every=0, checkpoint_every=1000, resume=True)
    assert_equal(whole, resumed)


def test_best_and_last_checkpoints_are_kept(train: Any, tmp_path: Path) -> None:
    module, _, _ = train("run", kind=_Rising, validate_every=1)
    folder = RunFolder(tmp_path / "run").checkpoint("only").parent
    best, last = (torch.load(folder / f"{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert (best["global_step"], last["global_step"]) == (2, 6)
    assert all(torch.equal(tensor, last["state_dict"][name]) for name, tensor in weights(module).items())


def test_best_takes_the_weights_of_the_best_validation(train: Any, tmp_path: Path) -> None:
    module, _, shown = train("run", kind=_Rising, validate_every=1, best=True)
    best = torch.load(RunFolder(tmp_path / "run").checkpoint("only").parent / "best.ckpt", weights_only=True)
    assert all(torch.equal(tensor, best["state_dict"][name]) for name, tensor in weights(module).items())
    assert "weights of step 2, the best validation" in shown


def test_patience_ends_the_stage_with_the_best_weights(train: Any) -> None:
    module, fitted, shown = train("run", kind=_Rising, validate_every=1, patience=2)
    assert [figures["step"] for figures in fitted.validation] == [1, 2, 3, 4]
    assert any(
        line.startswith("stopped early at step 4: no new minimum of the loss in 2 validations") for line in shown
    )
    again, later, _ = train("run", kind=_Rising, validate_every=1, patience=2, resume=True)
    assert_equal(module, again)
    assert later.validation == fitted.validation


def test_without_held_out_data_patience_says_that_it_does_nothing(train: Any) -> None:
    _, fitted, shown = train("run", held_out=False, patience=2)
    assert fitted.validation == []
    assert any("no held-out data" in line for line in shown)


def test_patience_without_any_held_out_data_is_an_error(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    recipe = llava.recipe()
    for fields in ({"patience": 2}, {"best": True}):
        run = RunSettings(output=tmp_path / "run", **fields)
        job = Job(recipe=recipe, run=run, backbone=BackboneSettings(), data=DataSettings())
        with pytest.raises(SettingsError, match="no stage has held-out data"):
            check_watched(job, {"train": samples, "align": samples}, model)
        check_watched(job, {"train": samples, "align": samples, "test": samples}, model)


def test_best_weights_keep_no_copy_of_those_before(train: Any, tmp_path: Path) -> None:
    train("run", validate_every=1, checkpoint_every=2)
    folder = RunFolder(tmp_path / "run").checkpoint("only").parent
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt", "last.ckpt.previous"}


def test_validation_is_not_counted_as_time_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from inlay.recipes.training.callbacks import meters

    now = iter([10.0, 12.0, 112.0, 114.0])
    monkeypatch.setattr(meters.time, "perf_counter", lambda: next(now))
    clock: Any = meters.Meters()
    clock.on_train_batch_start(None, None, None, 0)
    clock.on_validation_start(None, None)
    clock.on_validation_end(None, None)
    assert clock.seconds == 4.0


def test_a_plain_trainer_validates_too(backbone_of: Any, adapter_of: Any, samples: list[Sample]) -> None:
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    data = StageData(samples[:4], model, STAGE, seed=7)
    data.validation = StageData(samples[4:], model, STAGE, seed=7)
    trainer = silent_trainer(
        max_steps=2,
        accumulate_grad_batches=2,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        log_every_n_steps=1,
    )
    trainer.fit(NextTokenModule(model, STAGE, 2), datamodule=data)
    assert trainer.callback_metrics["val/loss"] > 0


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"validate_every": -1.0}, "expected at least 0"),
        ({"validate_every": 2.5}, "or whole steps"),
        ({"patience": 2, "validate_samples": 0}, "need validations"),
        ({"best": True, "validate_samples": 0}, "need validations"),
        ({"eval_batch_size": 0}, "at least 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        RunSettings(output=Path("run"), **fields)
