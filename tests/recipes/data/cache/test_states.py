"""States of signal tokens, computed once over all runs; and runs that train and resume on values from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_runs import count_llm_runs, fit_saved
from safetensors import safe_open

from inlay.recipes.data.cache.features import Caching
from inlay.recipes.data.cache.states import collect_states
from inlay.recipes.data.cache.store import CacheStore, CacheWarning
from inlay.recipes.data.conversations import StageData
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.objectives.next_token.settings import NextToken
from inlay.recipes.objectives.plan import Task
from inlay.recipes.objectives.signals.settings import Signals
from inlay.recipes.settings.stage import Stage

pytestmark = pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")


@pytest.fixture
def store_of(tmp_path: Path) -> Any:
    return lambda: CacheStore(tmp_path / "cache")


def planned(task: Task) -> Any:
    return task.stage.objective.plan(task)


def stage_of(**fields: Any) -> Stage:
    base: dict[str, Any] = {"data": "train", "template": "nextgpt", "geometry": "crop", "objective": Signals()}
    return Stage(**{**base, "lr": {"outputs": 1e-2}, "batch_size": 3, "epochs": 4.0, **fields})


LAYOUT = stage_of().layout


def silent(_: str) -> None:
    return None


def same_rows(one: Any, two: Any) -> bool:
    return all(
        (a.name, a.made) == (b.name, b.made)
        and a.states.keys() == b.states.keys()
        and all(torch.equal(a.states[key], b.states[key]) for key in a.states)
        for a, b in zip(one, two, strict=True)
    )


def test_states_are_computed_once_over_all_runs(senses_of: Any, store_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, plain = senses_of(), senses_of(), senses_of()
    wanted = collect_states(plain.model, plain.samples, LAYOUT)
    found = collect_states(first.model, first.samples, LAYOUT, None, store_of(), show=silent)
    assert same_rows(found, wanted)
    runs = count_llm_runs(second.model, monkeypatch)
    again = collect_states(second.model, second.samples, LAYOUT, None, store_of(), show=silent)
    assert same_rows(again, wanted)
    assert not runs


def test_states_of_another_shape_are_computed_again(senses_of: Any, store_of: Any) -> None:
    plain, first, second = senses_of(), senses_of(), senses_of()
    collect_states(first.model, first.samples, LAYOUT, None, store_of(), show=silent)
    for path in store_of().shards():
        with safe_open(path, framework="pt") as shard:
            facts = json.loads(shard.metadata()["facts"])
            cut = {key: shard.get_tensor(key)[:-1] for key in shard.keys()}  # noqa: SIM118 - no mapping
        path.unlink()
        store_of().space(facts).write(cut)
    with pytest.warns(CacheWarning, match="of shape"):
        again = collect_states(second.model, second.samples, LAYOUT, None, store_of(), show=silent)
    assert same_rows(again, collect_states(plain.model, plain.samples, LAYOUT))


@pytest.mark.parametrize("part", ["lora", "inputs", "tokens", "llm", "encoder", "words", "picture"])
def test_whatever_stands_before_the_states_makes_others_of_them(
    senses_of: Any, store_of: Any, image_of: Any, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    first = senses_of()
    collect_states(first.model, first.samples, LAYOUT, None, store_of(), show=silent)
    changed, layout = senses_of(), LAYOUT
    adapter, backbone = changed.model.adapter, changed.model.backbone
    held = {"lora": adapter.lora, "inputs": adapter.inputs, "tokens": adapter.tokens, "llm": backbone.llm.model}
    held["encoder"] = backbone.encoders
    if part in held:
        with torch.no_grad():
            list(held[part].parameters())[-1].view(-1)[-1] += 0.5
    elif part == "words":
        layout = stage_of(prompt="Please: {}").layout
    else:
        image_of(5).save(changed.media / "0.png")
    runs = count_llm_runs(changed.model, monkeypatch)
    found = collect_states(changed.model, changed.samples, layout, None, store_of(), show=silent)
    assert runs
    wanted = collect_states(changed.model, changed.samples, layout)
    if part != "picture":
        assert same_rows(found, wanted)
        return
    # Only some are computed, in a batch of their own, whose padding shows in the last bits.
    for one, two in zip(found, wanted, strict=True):
        for name in two.states:
            torch.testing.assert_close(one.states[name], two.states[name], atol=1e-5, rtol=0)


def test_output_projectors_do_not_change_what_stands_before_them(
    senses_of: Any, store_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = senses_of(), senses_of()
    collect_states(first.model, first.samples, LAYOUT, None, store_of(), show=silent)
    with torch.no_grad():
        for parameter in second.model.adapter.outputs.parameters():
            parameter += 1
    runs = count_llm_runs(second.model, monkeypatch)
    collect_states(second.model, second.samples, LAYOUT, None, store_of(), show=silent)
    assert not runs


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_run_through_the_folder_resumes_to_the_very_bits_of_one_without(
    senses_of: Any, store_of: Any, tmp_path: Path
) -> None:
    """States and features: in memory, whole; on disk, stopped; and from disk, in a new process' eyes, resumed."""
    results = []
    for name, stop, resume in (("memory", None, False), ("disk", 4, False), ("disk", None, True)):
        senses = senses_of()
        store = None if name == "memory" else store_of()
        torch.manual_seed(99 if resume else 12)
        caching = Caching(memory=1 << 30, store=store, show=silent)
        features = caching.features(senses.model.backbone, "crop", senses.samples)
        task = Task(
            stage=stage_of(),
            model=senses.model,
            sets=[senses.samples],
            seed=7,
            features=features,
            store=store,
            show=silent,
        )
        plan = planned(task)
        fit_saved(plan.module, plan.data, tmp_path / name, stop=stop or plan.data.steps, resume=resume)
        results.append(senses.state())
    whole, stopped, resumed = results
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    assert not all(torch.equal(tensor, stopped[name]) for name, tensor in whole.items())


def test_two_encoders_in_one_stage_train_to_the_same_bits_from_disk(
    senses_of: Any, store_of: Any, tmp_path: Path
) -> None:
    results = []
    for name in ("memory", "disk", "again"):
        senses = senses_of()
        stage = stage_of(objective=NextToken(), lr={"inputs": 1e-2, "lora": 1e-2})
        caching = Caching(memory=1 << 30, store=None if name == "memory" else store_of(), show=silent)
        features = caching.features(senses.model.backbone, "crop", senses.samples)
        for modality in senses.model.backbone.encoders:
            senses.model.backbone.encoder(modality).runs = 0
        torch.manual_seed(12)
        data = StageData(senses.samples, senses.model, stage, seed=7, features=features)
        fit_saved(NextTokenModule(senses.model, stage, data.steps), data, tmp_path / name, stop=data.steps)
        assert not any(senses.model.backbone.encoder(modality).runs for modality in ("image", "audio"))
        results.append(senses.state())
    assert all(torch.equal(tensor, other[name]) for other in results[1:] for name, tensor in results[0].items())
