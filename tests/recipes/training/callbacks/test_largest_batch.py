"""The memory plan of alignment tuning against the measured peak of a step on the miniature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from live_bytes import LiveBytes
from PIL import Image
from preference_stages import stage_of

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.plan import Task
from inlay.recipes.objectives.policy_gradient.rollout import Rollout
from inlay.recipes.objectives.policy_gradient.settings import Grpo
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.run import BackboneSettings, RunSettings
from inlay.recipes.systems import llava
from inlay.recipes.systems.load_backbone import backbone_from
from inlay.recipes.training.callbacks import LabelAudit
from inlay.recipes.training.callbacks.memory_watch import HOLES, plan_memory
from inlay.recipes.training.memory_plan import MemoryPlan
from inlay.recipes.training.trainer import fit

FACTOR = 1.5


@pytest.fixture
def model() -> Any:
    torch.manual_seed(3)
    backbone = backbone_from(BackboneSettings())
    return llava.recipe().adapter(backbone, "first").attach(backbone)


@pytest.fixture
def rows(tmp_path: Path) -> list[Sample]:
    """Eight rows of the same length, about a picture each."""
    found = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (48, 48), (number * 30, 90, 200)).save(path)
        asked = (Message("user", (MediaPart("image", path), TextPart("what is shown in this picture, and where?"))),)
        good, bad = (Message("assistant", (TextPart(text),)) for text in ("a small red circle", "two blue stars and"))
        found.append(Sample(str(number), (*asked, good), f"row {number}", rejected=(*asked, bad)))
    return found


def planned(model: Any, settings: Any, rows: list[Sample], **fields: Any) -> tuple[Any, Any]:
    stage = stage_of(settings, batch_size=8, **fields)
    chosen = rows if isinstance(settings, Preference) else [Sample(r.id, r.messages, r.origin) for r in rows]
    plan: Any = stage.objective.plan(Task(stage=stage, model=model, sets=[chosen], seed=7, show=lambda _: None))
    plan.module.train()
    return plan.module, plan.data


def measured(module: Any, batch: Any) -> int:
    """The peak of one step of AdamW over what is held before it; the second one, since the first makes its moments."""
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad])
    module.terms(batch)  # probes of fast paths
    with LiveBytes() as live:
        (loss,) = (term.mean for term in module.terms(batch).values())
        loss.backward()
        optimizer.step()
    return live.peak


def without_holes(plan: MemoryPlan) -> float:
    """The plan without the fragmentation of malloc, which the count of tensors does not have."""
    training = (plan.activations + plan.passing) / HOLES + plan.head
    return plan.gradients + plan.optimizer + plan.reference + max(training, plan.generation)


UNIFORM: dict[str, Any] = {"reward": "length", "temperature": 50.0}
"""Nearly uniform tokens, so that hardly an answer ends before the limit, which is what the plan expects."""
SETTINGS: dict[str, Any] = {
    "dpo": Preference(reference="live"),
    "mdpo": Preference(loss="mdpo", reference="live"),
    "grpo": Grpo(**UNIFORM, group=4, max_new_tokens=12),
    "grpo-kl": Grpo(**UNIFORM, group=8, max_new_tokens=4, kl_weight=0.1),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_plan_is_within_a_factor_of_the_measured_peak(
    model: Any, rows: list[Sample], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The answers are equally long, so a step would read one group; the plan expects all groups.
    monkeypatch.setattr(Rollout, "decided", lambda self: list(range(len(self.rewards))))
    module, data = planned(model, SETTINGS[name], rows)
    plan = plan_memory(module, data)
    batch = data.collate([data.read(0, index) for index in range(8)])
    peak = measured(module, batch)
    assert peak / FACTOR <= without_holes(plan) <= peak * FACTOR, (peak, plan)


def test_a_stored_reference_needs_no_copy_and_sampling_without_divergence_none(model: Any, rows: list[Sample]) -> None:
    copied = sum(parameter.nbytes for parameter in model.adapter.parameters())
    plans = {name: plan_memory(*planned(model, settings, rows)) for name, settings in SETTINGS.items()}
    stored = plan_memory(*planned(model, Preference(reference="stored"), rows))
    found = {name: plan.reference for name, plan in {**plans, "stored": stored}.items()}
    assert found == {"dpo": copied, "mdpo": copied, "grpo": 0, "grpo-kl": copied, "stored": 0}


def test_keys_and_values_grow_with_the_group_and_the_limit_of_tokens(model: Any, rows: list[Sample]) -> None:
    def generation(**fields: Any) -> int:
        return plan_memory(*planned(model, Grpo(reward="length", **fields), rows)).generation

    config = model.backbone.llm.model.config
    width = config.hidden_size // config.num_attention_heads
    of_token = 2 * config.num_hidden_layers * config.num_key_value_heads * width * 4
    small, large = (generation(group=4, max_new_tokens=tokens) for tokens in (8, 24))
    assert large - small == 8 * 4 * 16 * of_token  # questions, answers, further tokens
    assert generation(group=8, max_new_tokens=8) > small


def test_the_plan_is_shown_before_the_first_step(model: Any, rows: list[Sample], tmp_path: Path) -> None:
    module, data = planned(model, SETTINGS["dpo"], rows, max_steps=1)
    lines: list[str] = []
    run = RunSettings(output=tmp_path / "run", accelerator="cpu")
    labels = LabelAudit(model.backbone.llm.tokenizer, lambda _: None)
    folder = RunFolder(tmp_path / "run")
    fit(module, data, name="prefer", stage=module.stage, run=run, folder=folder, labels=labels, show=lines.append)
    (line,) = [line for line in lines if line.startswith("memory in MiB: weights")]
    assert ", reference 1, to come " in line
    assert any(line.startswith("memory in MiB: planned to come ") for line in lines)
