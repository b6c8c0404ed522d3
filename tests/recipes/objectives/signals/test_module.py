"""NExT-GPT's output side: the fast way equals the slow one, resumed equals whole, frozen stays bit-equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_runs import count_llm_runs, fit_saved

from inlay.adapters.adapter import Adapter
from inlay.recipes.data.cache.states import collate_states, collect_states
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.objectives.plan import Task
from inlay.recipes.objectives.signals.module import SignalsModule, SignalStatesModule
from inlay.recipes.objectives.signals.settings import Signals
from inlay.recipes.settings.objective import ObjectiveError
from inlay.recipes.settings.stage import Stage
from inlay.recipes.training.callbacks import (
    FiniteLoss,
    GradientAudit,
    LabelAudit,
    Meters,
    PartTable,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:Checkpoint directory .* exists and is not empty",
)

ALL = {"inputs": 1e-2, "lora": 1e-2, "outputs": 1e-2, "tokens": 1e-2}


def planned(task: Task) -> Any:
    return task.stage.objective.plan(task)


def stage_of(**fields: Any) -> Stage:
    base: dict[str, Any] = {"data": "train", "template": "nextgpt", "geometry": "crop", "objective": Signals()}
    return Stage(**{**base, "lr": {"outputs": 1e-2}, "batch_size": 3, "epochs": 4.0, **fields})


def task_of(senses: Any, stage: Stage) -> Task:
    return Task(stage=stage, model=senses.model, sets=[senses.samples], seed=7)


def fit(plan: Any, folder: Path, *, stop: int | None = None, resume: bool = False) -> None:
    audits = GradientAudit(), FiniteLoss(), Meters(), PartTable(lambda _: None)
    fit_saved(plan.module, plan.data, folder, *audits, stop=stop or plan.data.steps, resume=resume)


def conditionings(senses: Any) -> torch.Tensor:
    """What the output projectors make of all that is made."""
    senses.model.adapter.eval()
    batch = collate_states(collect_states(senses.model, senses.samples, stage_of().layout))
    with torch.no_grad():
        found = [senses.model.adapter.condition(name, states).flatten() for name, states in batch.states.items()]
    return torch.cat(found)


def test_states_that_were_computed_once_train_the_same_projectors(senses_of: Any, tmp_path: Path) -> None:
    fast, slow = senses_of(), senses_of()
    cached = planned(task_of(fast, stage_of()))
    looped = planned(task_of(slow, stage_of(objective=Signals(cache=False))))
    assert isinstance(cached.module, SignalStatesModule)
    assert isinstance(looped.module, SignalsModule)
    start = fast.state()
    fit(cached, tmp_path / "fast")
    fit(looped, tmp_path / "slow")
    # Not weight by weight: the bias of attention's keys has no gradient but noise, which Adam makes steps of.
    torch.testing.assert_close(conditionings(fast), conditionings(slow), atol=1e-4, rtol=1e-4)
    changed = {name for name, tensor in fast.state().items() if not torch.equal(tensor, start[name])}
    assert {name.split(".")[0] for name in changed} == {"outputs"}


def test_with_cached_states_the_llm_reads_each_conversation_once(
    senses_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    senses = senses_of()
    runs = count_llm_runs(senses.model, monkeypatch)
    plan = planned(task_of(senses, stage_of(epochs=5.0)))
    assert len(runs) == 1  # six conversations are one batch
    fit(plan, tmp_path / "run")
    assert len(runs) == 1
    slow = senses_of()
    with torch.no_grad():  # the first loss tests the fast paths on a few tokens
        slow.model(slow.model.batch([slow.samples[0].messages]), logits="none")
    runs = count_llm_runs(slow.model, monkeypatch)
    plan = planned(task_of(slow, stage_of(epochs=5.0, objective=Signals(cache=False))))
    fit(plan, tmp_path / "slow")
    assert len(runs) == plan.data.steps == 10


def test_collected_states_are_those_of_the_model(senses_of: Any) -> None:
    senses = senses_of()
    senses.model.adapter.eval()
    rows = collect_states(senses.model, senses.samples, stage_of().layout)
    batch = senses.model.batch([sample.messages for sample in senses.samples])
    with torch.no_grad():
        whole = senses.model.signal_states(batch)
    joined = collate_states(rows)
    assert joined.made == batch.made
    for modality, states in whole.items():
        torch.testing.assert_close(joined.states[modality], states, atol=1e-6, rtol=0)


@pytest.mark.parametrize("lr", [{"outputs": 1e-2}, ALL], ids=["states", "whole"])
def test_stopped_and_resumed_equals_one_that_never_stopped(senses_of: Any, tmp_path: Path, lr: Any) -> None:
    states = []
    for name, stop in (("whole", None), ("parts", 4)):
        senses = senses_of()
        torch.manual_seed(12)
        fit(planned(task_of(senses, stage_of(lr=lr))), tmp_path / name, stop=stop)
        states.append(senses.state())
    senses = senses_of()
    torch.manual_seed(99)
    fit(planned(task_of(senses, stage_of(lr=lr))), tmp_path / "parts", resume=True)
    resumed = senses.state()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in states[0].items())
    assert not all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_instruction_tuning_moves_every_part_and_no_bit_of_the_backbone(senses_of: Any, tmp_path: Path) -> None:
    senses = senses_of()
    adapter, backbone = senses.model.adapter, senses.model.backbone
    adapter.detach()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    senses.model = adapter.attach(backbone)
    start = senses.state()
    fit(planned(task_of(senses, stage_of(lr=ALL))), tmp_path / "run")
    still = {name for name, tensor in senses.state().items() if torch.equal(tensor, start[name])}
    assert not still
    adapter.detach()
    after = backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_a_bundle_with_a_shared_projector_and_three_outputs_round_trips(senses_of: Any, tmp_path: Path) -> None:
    senses = senses_of()
    model, adapter = senses.model, senses.model.adapter
    assert len({id(module) for module in adapter.inputs.values()}) == 1
    adapter.eval()
    adapter.save_pretrained(tmp_path / "bundle")
    question = [senses.samples[2].messages[:1]]
    with torch.no_grad():
        before = model(model.batch(question, generation=True), logits="all").logits
    adapter.detach()
    again = Adapter.from_pretrained(tmp_path / "bundle")
    assert len({id(module) for module in again.inputs.values()}) == 1
    assert set(again.inputs) == set(again.outputs) == {"image", "audio", "video"}
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in adapter.state_dict().items())
    model = again.attach(model.backbone)
    again.eval()
    with torch.no_grad():
        after = model(model.batch(question, generation=True), logits="all").logits
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize(
    "damage",
    [{"part": "inputs.audio"}, {"part": "lora"}, {}, {"part": "inputs.image", "more": 1}],
)
def test_a_shared_projector_names_a_real_one(senses_of: Any, tmp_path: Path, damage: dict[str, Any]) -> None:
    import json

    from inlay.hub.errors import BundleError

    senses_of().model.adapter.save_pretrained(tmp_path / "bundle")
    path = tmp_path / "bundle" / "inlay.json"
    manifest = json.loads(path.read_text())
    assert manifest["parts"]["inputs.video"] == {
        "kind": "shared",
        "config": {"part": "inputs.image"},
        "parameters": 0,
        "dtype": "bfloat16",
    }
    manifest["parts"]["inputs.video"]["config"] = damage
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"inputs\.video: expected the name of an input projector"):
        Adapter.from_pretrained(tmp_path / "bundle")


def test_the_first_batch_need_not_reach_every_projector(senses_of: Any, tmp_path: Path) -> None:
    senses = senses_of()
    plan = planned(task_of(senses, stage_of(lr=ALL, batch_size=1, epochs=3.0)))
    fit(plan, tmp_path / "run")
    assert plan.module.idle  # one conversation makes one medium


def test_the_diffusion_loss_reads_the_media(senses_of: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    senses = senses_of()
    settings = Signals(lm=0.0, image=0.0, audio=0.0, video=0.0, diffusion=1.0, min_snr=None)
    stage = stage_of(objective=settings, max_steps=1)
    with pytest.raises(DataError, match="for 'a red disc', got none; give its file"):
        fit(planned(Task(stage=stage, model=senses.model, sets=[senses.samples[:1]], seed=7)), tmp_path / "none")
    first = senses.samples[0]
    made = replace(first.messages[1].content[1], source=senses.media / "0.png")
    messages = (first.messages[0], replace(first.messages[1], content=(made,)), *first.messages[2:])
    rows = [replace(first, messages=messages)]
    before = senses.state()
    fit(planned(Task(stage=stage, model=senses.model, sets=[rows], seed=7)), tmp_path / "run")
    after = senses.state()
    assert any(not torch.equal(after[name], before[name]) for name in after if name.startswith("outputs.image"))


def test_nothing_made_is_an_error_where_that_alone_is_learnt(senses_of: Any) -> None:
    senses = senses_of()
    from dataclasses import replace

    words = [replace(sample, messages=sample.messages[2:]) for sample in senses.samples]
    with pytest.raises(DataError, match="in which the assistant generates a medium, got none"):
        planned(Task(stage=stage_of(), model=senses.model, sets=[words], seed=7))


def test_an_adapter_without_output_projectors_has_no_such_stage(senses_of: Any) -> None:
    senses = senses_of(output=None)
    assert "no output projectors" in str(planned(task_of(senses, stage_of())))


def test_settings_that_contradict_themselves() -> None:
    with pytest.raises(ObjectiveError, match="expected weights >= 0"):
        Signals(image=-1.0)
    with pytest.raises(ObjectiveError, match="min_snr: expected a number above 0"):
        Signals(min_snr=0.0)


def test_the_label_audit_shows_signal_tokens(senses_of: Any) -> None:
    senses = senses_of()
    plan = planned(task_of(senses, stage_of(lr=ALL)))
    lines: list[str] = []
    audit = LabelAudit(senses.model.backbone.llm.tokenizer, lines.append)
    batch = plan.data.collate([plan.data.read(0, 0)])
    audit.on_train_batch_start(None, plan.module, batch, 0)
    assert "[[ Here.[IMG0][IMG1]\\n###]]" in lines[0]
