"""Two processes that train one model: the numbers of one, no process that hangs, and one that writes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import validation_rows
from picture_rows import circle_rows
from two_processes import in_two

from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.distributed.ranks import all_of, first, first_ahead, is_first, rank, stop_together
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.objectives.plan import Task
from inlay.recipes.objectives.qformer_contrastive.caption_batch import captioned
from inlay.recipes.objectives.qformer_contrastive.settings import QFormerContrastive
from inlay.recipes.objectives.signals.settings import Signals
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.run import RunSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.training.callbacks import LabelAudit
from inlay.recipes.training.trainer import fit

STAGE = replace(validation_rows.STAGE, accumulate=1)
ROUNDING = 1e-5
"""Relative: the same sums in float32, in another order."""


@pytest.fixture
def samples(image_of: Any, tmp_path: Path) -> list[Sample]:
    """Seven, of different lengths; two of them have no picture."""
    answers = ("red", "green and blue", "blue", "a small yellow star", "red", "two", "two circles")
    return circle_rows(image_of, tmp_path, answers, without_picture=(2, 5))


class Watched:
    """Keeps the loss of every step, as one process would have it."""

    curve: list[float]
    media: list[int]
    stop: int | None

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        if len(self.curve) == self.stop:
            raise InterruptedError("pulled the plug")
        loss: torch.Tensor = super().training_step(batch, number)  # the class beside it has one
        mean = torch.tensor(all_of(float(loss.detach()))).mean()
        self.curve.append(float(mean))
        self.media.append(len(batch.order) if hasattr(batch, "order") else 0)
        return loss


def watch(module: Any, stop: int | None) -> None:
    module.__class__ = type("Watched", (Watched, type(module)), {})
    module.curve, module.media, module.stop = [], [], stop


def run(
    module: Any, data: Any, stage: Stage, folder: Path, tokenizer: Any, *, stop: int | None = None, resume: bool = False
) -> dict[str, Any]:
    """Losses, and the weights after them; with ``stop``, the run dies after so many steps."""
    shown: list[str] = []
    settings = RunSettings(output=folder, accelerator="cpu", resume=resume, checkpoint_every=2)
    audit = LabelAudit(tokenizer, shown.append)
    watch(module, stop)
    with pytest.raises(InterruptedError) if stop else nullcontext():
        fit(
            module,
            data,
            name="only",
            stage=stage,
            run=settings,
            folder=RunFolder(folder),
            labels=audit,
            show=shown.append,
        )
    weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    return {"losses": module.curve, "weights": weights, "media": module.media}


def conversations(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], folder: Path, stage: Stage, dropout: float, **options: Any
) -> dict[str, Any]:
    torch.manual_seed(11)
    backbone = backbone_of()
    model = adapter_of(backbone, dropout=dropout).attach(backbone)
    torch.manual_seed(12)
    data = StageData(samples, model, stage, seed=7)
    module = NextTokenModule(model, stage, data.steps)
    return run(module, data, stage, folder, backbone.llm.tokenizer, **options)


def assert_same(one: dict[str, Any], both: list[Any]) -> None:
    for own in both:
        assert isinstance(own, dict), own
        assert own["losses"] == pytest.approx(one["losses"], rel=ROUNDING)
    assert all(torch.equal(both[0]["weights"][name], both[1]["weights"][name]) for name in both[0]["weights"])
    for name, tensor in one["weights"].items():
        # Adam's first steps divide by the gradient, so what is nearly zero may move either way.
        assert (both[0]["weights"][name] - tensor).abs().max() < 2e-3 * max(1.0, float(tensor.abs().max())), name


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_have_the_loss_curve_of_one_also_where_one_sees_text_alone(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path, accumulate: int
) -> None:
    stage = replace(STAGE, accumulate=accumulate)
    train = partial(conversations, backbone_of, adapter_of, samples, stage=stage, dropout=0.0)
    one = train(tmp_path / "one")
    both = in_two(lambda: train(tmp_path / "two"))
    assert_same(one, both)
    pictures = [own["media"] for own in both]
    assert any(
        0 in pair and any(pair) for pair in zip(*pictures, strict=True)
    )  # one has text alone, the other does not


def test_resumed_processes_equal_those_that_never_stopped(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    train = partial(conversations, backbone_of, adapter_of, samples, stage=STAGE, dropout=0.3)

    whole = in_two(lambda: train(tmp_path / "whole"))
    in_two(lambda: train(tmp_path / "parts", stop=4))
    parts = in_two(lambda: train(tmp_path / "parts", resume=True))
    assert all(isinstance(own, dict) for own in [*whole, *parts]), [*whole, *parts]
    assert whole[0]["losses"][4:] == parts[0]["losses"]
    assert all(torch.equal(parts[0]["weights"][name], tensor) for name, tensor in whole[0]["weights"].items())


def test_every_process_has_a_random_state_of_its_own_in_the_checkpoint(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    in_two(lambda: conversations(backbone_of, adapter_of, samples, tmp_path / "run", STAGE, 0.3))
    saved = torch.load(RunFolder(tmp_path / "run").checkpoint("only"), weights_only=True)
    states = saved["inlay_random_states"]
    assert len(states) == 2
    assert not torch.equal(states[0]["cpu"], states[1]["cpu"])


def test_a_checkpoint_of_two_processes_is_refused_by_one(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    train = partial(conversations, backbone_of, adapter_of, samples, tmp_path / "run", STAGE, 0.3)
    in_two(lambda: train(stop=4))
    with pytest.raises(Exception, match="other data or settings"):
        train(resume=True)


def of_objective(make: Any, stage: Stage, folder: Path) -> dict[str, Any]:
    torch.manual_seed(3)
    model, sets, features = make()
    plan: Any = stage.objective.plan(Task(stage=stage, model=model, sets=sets, features=features, seed=7))
    torch.manual_seed(5)
    return run(plan.module, plan.data, stage, folder, model.backbone.llm.tokenizer)


@pytest.mark.parametrize("cache", [False, True])
def test_media_that_only_one_process_makes_give_the_numbers_of_one(senses_of: Any, tmp_path: Path, cache: bool) -> None:
    options = {"hidden": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "ffn": 24, "dropout": 0.0}
    rates = {"outputs": 1e-3} if cache else {"inputs": 1e-3, "lora": 1e-3, "tokens": 1e-3, "outputs": 1e-3}
    stage = Stage(
        data="train",
        template="vicuna_v1",
        geometry="pad",
        lr=rates,
        batch_size=2,
        epochs=3,
        objective=Signals(lm=0.0 if cache else 1.0, cache=cache),
    )

    def make() -> Any:
        senses = senses_of(dropout=0.0, output_options=options)
        return senses.model, [senses.samples], None

    one = of_objective(make, stage, tmp_path / "one")
    assert_same(one, in_two(lambda: of_objective(make, stage, tmp_path / "two")))


def test_contrast_over_both_processes_gives_the_numbers_of_one(
    eva_backbone_of: Any, former_fields: Any, samples: list[Sample], tmp_path: Path
) -> None:
    from inlay.recipes.systems import blip2

    stage = Stage(
        data="align",
        template="plain",
        geometry="squash",
        lr={"inputs.image": 1e-3},
        batch_size=4,
        epochs=4,
        objective=QFormerContrastive(itm=0.0),  # false pairs are drawn at random, by each process for itself
    )
    shown = [sample for sample in samples if captionable(sample)]
    recipe = blip2.recipe()
    options = {recipe.projector: {**former_fields, "dropout": 0.0}}

    def make() -> Any:
        backbone = eva_backbone_of()
        model = replace(recipe, projector_options=options).adapter(backbone, "tiny").attach(backbone)
        return model, [shown], None

    one = of_objective(make, stage, tmp_path / "one")
    assert_same(one, in_two(lambda: of_objective(make, stage, tmp_path / "two")))


def captionable(sample: Sample) -> bool:
    try:
        return bool(captioned(sample))
    except Exception:
        return False


def test_all_stop_where_one_has_a_loss_that_is_not_finite(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    class Poisoned(NextTokenModule):
        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            return super().training_step(batch, number) * (float("nan") if rank() == 1 else 1.0)

    def work() -> Any:
        backbone = backbone_of()
        model = adapter_of(backbone).attach(backbone)
        data = StageData(samples, model, STAGE, seed=7)
        module = Poisoned(model, STAGE, data.steps)
        return run(module, data, STAGE, tmp_path / "run", backbone.llm.tokenizer)

    one, two = in_two(work)
    assert "OtherProcessError: process 0 stops with process 1: the loss is nan" in str(one)
    assert "NonFiniteLossError: the loss is nan" in str(two)


def test_first_makes_once_and_its_errors_reach_all(tmp_path: Path) -> None:
    def make() -> int:
        with (tmp_path / "made").open("a") as file:
            file.write("x")
        return 5

    assert in_two(lambda: first(make)) == [5, 5]
    assert (tmp_path / "made").read_text() == "x"

    def fail() -> None:
        raise RecipeError("no")

    one, two = in_two(lambda: first(fail))
    assert str(one) == "RecipeError: no"
    assert str(two) == "OtherProcessError: process 1 stops with process 0: no"


def test_first_goes_ahead_and_the_others_find_its_files(tmp_path: Path) -> None:
    def work() -> bool:
        with first_ahead():
            there = (tmp_path / "file").exists()
            (tmp_path / "file").touch()
        return there

    assert in_two(work) == [False, True]


def test_nobody_stops_without_an_error() -> None:
    def work() -> bool:
        stop_together(None)
        return is_first()

    assert in_two(work) == [True, False]
