"""The registry of objectives: checked when called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from inlay.recipes.settings import objective
from inlay.recipes.settings.objective import Objective, ObjectiveError, objective_type, register_objective


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "_REGISTERED", {})


def own(**names: Any) -> Any:
    body = {"name": "mine", "plan": lambda self, task: "no stage", **names}
    return dataclass(frozen=True, kw_only=True)(type("Mine", (Objective,), body))


def test_a_registered_objective_is_found_by_its_name() -> None:
    kind = register_objective(own())
    assert objective_type("mine") is kind
    assert kind().plan(None) == "no stage"
    register_objective(kind)  # imported again


@pytest.mark.parametrize("name", ["next_token", "qformer_contrastive", "pformer_teacher", "pformer_student", "signals"])
def test_every_objective_of_the_package_is_found_and_has_a_planner(name: str) -> None:
    from pkgutil import resolve_name

    kind = objective_type(name)
    assert kind.name == name
    assert callable(resolve_name(kind.planner))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: object, "expected a dataclass derived from Objective with a name"),
        (lambda: own(name=""), "expected a dataclass derived from Objective with a name"),
        (lambda: own(name="signals"), "objective signals: another objective has this name"),
        (lambda: own(plan=Objective.plan), "objective mine: Mine has no method plan"),
    ],
)
def test_a_class_that_is_no_objective_is_refused(make: Any, told: str) -> None:
    with pytest.raises(ObjectiveError, match=told):
        register_objective(make())


def test_two_objectives_of_one_name_are_refused() -> None:
    register_objective(own())

    @dataclass(frozen=True)
    class Other(Objective):
        name: ClassVar[str] = "mine"
        planner: ClassVar[str] = "a:b"

    with pytest.raises(ObjectiveError, match="another objective has this name"):
        register_objective(Other)


def test_an_unknown_name_lists_those_that_exist() -> None:
    register_objective(own())
    with pytest.raises(ObjectiveError, match=r"expected one of next_token, .*, mine, got 'magic'; for one of your"):
        objective_type("magic")
