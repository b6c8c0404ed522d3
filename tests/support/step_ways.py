"""Train the same stage in several ways (micro-batches, processes) and compare the gradient of every step."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor
from two_processes import in_two

from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.distributed.ranks import rank
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.run import RunSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.training.callbacks import LabelAudit
from inlay.recipes.training.trainer import fit

__all__ = ["TOLERANCE", "assert_same", "distance", "logged", "way"]

TOLERANCE = 1e-5


class Grasp(Callback):
    """Keeps the gradient of every optimizer step, before it is clipped."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        self.gradients.append({name: gradient.clone() for name, gradient in found.items()})


def with_sgd(module: Any) -> None:
    """Plain descent, in which a weight moves by its gradient alone."""

    def configure() -> Any:
        return torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=1e-2)

    module.configure_optimizers = configure


def with_short_end(data: StepData, length: int) -> None:
    """The last step has fewer samples."""
    whole = data.order

    def order(start: int) -> Iterable[list[int]]:
        return [step[:length] if start + n == data.steps - 1 else step for n, step in enumerate(whole(start))]

    data.order = order


def trained(make: Callable[[Stage], Any], stage: Stage, folder: Path, sgd: bool, short: int) -> dict[str, Any]:
    """Gradients of all steps, weights after them, and logged losses."""
    module, data, tokenizer = make(stage)
    if sgd:
        with_sgd(module)
    if short:
        with_short_end(data, short)
    grasp = Grasp()
    fit_start = module.on_fit_start

    def on_fit_start() -> None:
        fit_start()
        module.trainer.callbacks.append(grasp)

    module.on_fit_start = on_fit_start
    fit(
        module,
        data,
        name="only",
        stage=stage,
        run=RunSettings(output=folder, accelerator="cpu"),
        folder=RunFolder(folder),
        labels=LabelAudit(tokenizer, lambda _: None),
        show=lambda _: None,
    )
    weights = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}
    return {"gradients": grasp.gradients, "weights": weights, "logged": logged(folder) if rank() == 0 else []}


def logged(folder: Path) -> list[float]:
    """The losses in metrics.csv."""
    (path,) = folder.rglob("metrics.csv")
    with path.open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row.get("loss")]


def way(make: Any, stage: Stage, processes: int, accumulate: int, folder: Path, **options: Any) -> dict[str, Any]:
    """The first process's result of training in so many processes and micro-batches."""
    train = partial(trained, make, replace(stage, accumulate=accumulate), folder, **options)
    if processes == 1:
        return train()
    for result in (results := in_two(train)):
        assert isinstance(result, dict), result
    return results[0]


def distance(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """Largest difference of a tensor, as a share of its length.

    A tensor counts as at least a thousandth as long as the longest: the bias of attention's keys has no gradient but
    rounding.
    """
    assert one.keys() == two.keys()
    least = max(float(tensor.norm()) for tensor in one.values()) / 1000
    return max(float((one[name] - two[name]).norm() / one[name].norm().clamp_min(least)) for name in one)


def assert_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert len(one["gradients"]) == len(two["gradients"])
    for before, after in zip(one["gradients"], two["gradients"], strict=True):
        assert (found := distance(before, after)) < TOLERANCE, f"gradients differ by {found:.2e} of their length"
    assert (found := distance(one["weights"], two["weights"])) < TOLERANCE, f"weights differ by {found:.2e}"
    assert two["logged"] == pytest.approx(one["logged"], rel=TOLERANCE, abs=1e-6), "logged losses differ"
