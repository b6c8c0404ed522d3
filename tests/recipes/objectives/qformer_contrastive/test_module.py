"""Stage 1 as a module: what trains, what resumes, what two processes see, what is handed over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_runs import fit_saved
from picture_rows import caption_rows

from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.inputs import PROJECTORS, projector_config
from inlay.adapters.inputs.pretraining.qformer import itc_scores
from inlay.adapters.loading.files.checkpoint import PickleWarning, only_safetensors
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.objectives.pretrained_bert import masked_bert
from inlay.recipes.objectives.qformer_contrastive.former import hand_over, hinders
from inlay.recipes.objectives.qformer_contrastive.losses import contrast_loss, generation_loss, matches
from inlay.recipes.objectives.qformer_contrastive.settings import QFormerContrastive
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.objective import ObjectiveError
from inlay.recipes.settings.stage import Stage
from inlay.recipes.training.callbacks import FiniteLoss, GradientAudit, Meters, PartTable

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:Checkpoint directory .* exists and is not empty",
    "ignore:You are trying to `self.log",
)

CAPTIONS = ("a red circle .", "a large blue star .", "a red circle .", "a small green ring in the center .", "a star")
STAGE: dict[str, Any] = {
    "data": "align",
    "template": "blip2",
    "geometry": "squash",
    "prompt": "",
    "lr": {"inputs.image": 1e-2},
    "batch_size": 4,
    "epochs": 9,
    "max_steps": 8,
}


@pytest.fixture
def samples(image_of: Any, tmp_path: Path) -> list[Sample]:
    return caption_rows(image_of, tmp_path, CAPTIONS)


@pytest.fixture
def plan_of(eva_backbone_of: Any, former_fields: Any, samples: list[Sample]) -> Any:
    """A plan on a new adapter, always with the same first weights."""

    def make(kind: str = "qformer", represent_fields: dict[str, Any] | None = None, **changes: Any) -> Plan:
        from inlay.adapters.adapter import Adapter
        from inlay.adapters.conversation.layout import Layout

        backbone = eva_backbone_of()
        fields = former_fields | {"dropout": 0.2}
        if kind == "instruct_qformer":
            fields |= {"vocabulary": backbone.prompter().vocabulary + 1, "text_positions": 64, "prompt_tokens": 16}
        torch.manual_seed(11)
        adapter = Adapter.for_backbone(
            backbone,
            system="test",
            name="test",
            layout=Layout.published("blip2"),
            inputs={"image": projector_config(kind, fields if "qformer" in kind else {})},
        )
        settings = QFormerContrastive(**{"embedding": 8, "text_tokens": 16, **(represent_fields or {})})
        stage = Stage(**STAGE | {"objective": settings} | changes)
        torch.manual_seed(12)
        found = settings.plan(
            Task(stage=stage, model=adapter.attach(backbone), sets=[samples], held_out=samples, seed=5)
        )
        assert isinstance(found, Plan)
        return found

    return make


def fit(plan: Plan, folder: Path, *, stop: int = 8, resume: bool = False) -> dict[str, torch.Tensor]:
    torch.manual_seed(13)
    audits = GradientAudit(), FiniteLoss(), Meters()
    fit_saved(plan.module, plan.data, folder, *audits, stop=stop, every=4, resume=resume)
    return {name: tensor.detach().clone() for name, tensor in plan.module.state_dict().items()}


def batch_of(plan: Plan) -> Any:
    return plan.data.collate([plan.data.read(0, index) for index in range(5)])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_stopped_and_resumed_run_equals_one_that_never_stopped(plan_of: Any, tmp_path: Path, accumulate: int) -> None:
    whole = fit(plan_of(accumulate=accumulate), tmp_path / "whole")
    fit(plan_of(accumulate=accumulate), tmp_path / "parts", stop=4)
    torch.manual_seed(99)
    second = fit(plan_of(accumulate=accumulate), tmp_path / "parts", resume=True)
    assert whole.keys() == second.keys()
    assert all(torch.equal(whole[name], second[name]) for name in whole)


def test_all_of_the_q_former_trains_and_nothing_else(plan_of: Any, tmp_path: Path) -> None:
    plan = plan_of()
    start = {name: tensor.clone() for name, tensor in plan.module.state_dict().items()}
    backbone = plan.module._backbone[0]
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    end = fit(plan, tmp_path, stop=4)
    assert {name.split(".")[0] for name in end} == {"pretrainer"}
    assert [name for name in end if torch.equal(end[name], start[name])] == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_head_without_weight_is_frozen_and_left_out(plan_of: Any) -> None:
    plan = plan_of(represent_fields={"itm": 0, "lm": 0})
    losses = plan.module.losses(batch_of(plan))
    assert set(losses) == {"itc"}
    losses["itc"].backward()
    without = {name for name, p in plan.module.named_parameters() if p.requires_grad and p.grad is None}
    assert without == set()
    assert not any(p.requires_grad for p in plan.module.pretrainer.itm_head.parameters())


def test_loss_is_the_weighted_sum(plan_of: Any) -> None:
    plan = plan_of(represent_fields={"itc": 2.0, "itm": 0.5, "lm": 3.0})
    plan.module.eval()
    batch = batch_of(plan)
    torch.manual_seed(3)
    parts = plan.module.losses(batch)
    torch.manual_seed(3)
    total = plan.module.training_step(batch, 0)
    torch.testing.assert_close(total, 2 * parts["itc"] + parts["itm"] / 2 + 3 * parts["lm"])


def test_padding_that_nobody_needs_changes_no_loss(plan_of: Any) -> None:
    plan = plan_of()
    module, batch = plan.module.eval(), batch_of(plan)
    longest = int(batch.mask.sum(dim=1).max())
    assert longest < batch.ids.shape[1]
    torch.manual_seed(3)
    found = module.losses(batch)
    torch.manual_seed(3)
    cut = module.losses(replace(batch, ids=batch.ids[:, :longest], mask=batch.mask[:, :longest]))
    assert found == cut
    for name, value in _at_full_length(module, batch).items():
        torch.testing.assert_close(found[name], value, msg=name)


def _at_full_length(module: Any, batch: Any) -> dict[str, torch.Tensor]:
    former, features = module.pretrainer, module.features(batch)
    images, texts = former.image_embeddings(features), former.text_embeddings(batch.ids, batch.mask)
    same = matches(batch.owners, batch.ids, batch.owners, batch.ids)
    scores = itc_scores(images, texts) / former.temperature
    logits = former.caption_logits(features, module.tokens.written(batch.ids), batch.mask)
    return {
        "itc": contrast_loss(scores, scores.T, same, module.settings.itc_smoothing),
        "lm": generation_loss(logits, batch.ids, batch.mask, module.settings.lm_smoothing),
    }


def test_matching_takes_true_pairs_and_two_false_ones_each(plan_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of()
    batch = batch_of(plan)
    seen: list[Any] = []
    real = plan.module.pretrainer.matching_logits

    def spy(features: Any, ids: Any, mask: Any) -> Any:
        seen.append((features, ids))
        return real(features, ids, mask)

    monkeypatch.setattr(plan.module.pretrainer, "matching_logits", spy)
    features = plan.module.features(batch)
    for _ in range(20):
        plan.module.losses(batch)
    for pictures, texts in seen:
        assert len(pictures) == len(texts) == 15
        assert torch.equal(pictures[:10], torch.cat([features, features]))
        assert torch.equal(texts[:5], texts[10:])
        # Captions 0 and 2 are the same words: none of their pictures is ever a false pair of the other's.
        for row in range(5, 10):
            assert not torch.equal(texts[row], batch.ids[row - 5])
        for row in range(10, 15):
            own = [other for other in range(5) if torch.equal(batch.ids[other], texts[row])]
            assert not any(torch.equal(pictures[row], features[other]) for other in own)


def test_mean_over_two_processes_is_the_loss_of_one(plan_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(represent_fields={"itm": 0, "lm": 0})
    plan.module.eval()
    rows = [plan.data.read(0, index) for index in range(4)]
    whole, halves = plan.data.collate(rows), [plan.data.collate(rows[:2]), plan.data.collate(rows[2:])]
    expected = plan.module.losses(whole)["itc"]
    former = plan.module.pretrainer
    features = plan.module.features(whole)
    joined = {
        "ids": whole.ids,
        "owners": whole.owners,
        "images": former.image_embeddings(features),
        "texts": former.text_embeddings(whole.ids, whole.mask),
    }

    def gathered(tensor: Any) -> Any:
        """What the ranks together have, found by the shape of a part of it."""
        fitting = [t for t in joined.values() if t.shape[1:] == tensor.shape[1:] and t.dtype == tensor.dtype]
        assert len(fitting) == 1
        return fitting[0]

    monkeypatch.setattr("inlay.recipes.objectives.qformer_contrastive.module.all_rows", gathered)
    parts = [plan.module.losses(half)["itc"] for half in halves]
    torch.testing.assert_close((parts[0] + parts[1]) / 2, expected)


@pytest.mark.parametrize("kind", ["qformer", "instruct_qformer"])
def test_what_was_learnt_comes_into_the_projector_but_its_linear_layer(kind: str, plan_of: Any) -> None:
    plan = plan_of(kind)
    (task_projector,) = plan.finish.args[1:]
    linear = task_projector.projection.weight.clone()
    with torch.no_grad():
        for parameter in plan.module.pretrainer.parameters():
            parameter.add_(0.1)
    plan.finish()
    assert torch.equal(task_projector.projection.weight, linear)
    queries = task_projector.query_tokens if kind == "instruct_qformer" else task_projector.qformer.query_tokens
    assert torch.equal(queries, plan.module.pretrainer.query_tokens)


def test_recall_is_reported_without_captions_that_several_pictures_share(plan_of: Any) -> None:
    plain, ranked = plan_of().report(), plan_of(represent_fields={"rerank": 2}).report()
    assert (plain["pictures"], plain["captions"]) == (3.0, 3.0)
    assert plain["image_to_text@5"] == plain["text_to_image@5"] == 1.0
    assert set(ranked) == set(plain)


def test_only_a_q_former_has_a_first_stage() -> None:
    with torch.device("meta"):
        built = PROJECTORS["linear"][0](PROJECTORS["linear"][1](width_in=4, width_out=4))
    assert "expected a Q-Former, got linear" in hinders(built)
    with pytest.raises(ObjectiveError, match="expected a Q-Former, got linear"):
        hand_over(None, built)


def test_bert_fills_the_text_branch(plan_of: Any, folders: dict[str, Path]) -> None:
    from transformers import BertForMaskedLM

    plan = plan_of(represent_fields={"bert": str(folders["bert"])})
    bert = BertForMaskedLM.from_pretrained(folders["bert"])
    words = bert.bert.embeddings.word_embeddings.weight
    assert torch.equal(plan.module.pretrainer.embeddings.word_embeddings.weight[: len(words)], words)


def test_a_bert_in_a_pickle_is_read_as_tensors(folders: dict[str, Path], tmp_path: Path) -> None:
    bert = masked_bert(str(folders["bert"]))
    bert.config.save_pretrained(tmp_path)
    torch.save(bert.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.warns(PickleWarning):
        again = masked_bert(str(tmp_path))
    assert weights_digest(again) == weights_digest(bert)
    with only_safetensors(), pytest.raises(ObjectiveError, match=r"bert: .*safetensors_only"):
        masked_bert(str(tmp_path))


def test_missing_bert_is_named(plan_of: Any, tmp_path: Path) -> None:
    with pytest.raises(ObjectiveError, match=r"no such folder \(for the BERT"):
        plan_of(represent_fields={"bert": str(tmp_path / "nothing")})


def test_part_table_counts_text_branch_and_heads(plan_of: Any) -> None:
    lines: list[str] = []
    plan = plan_of()
    PartTable(lines.append).on_fit_start(None, plan.module)
    count = sum(parameter.numel() for parameter in plan.module.pretrainer.parameters())
    assert f"{count:,}" in lines[0]


@pytest.mark.parametrize(
    "fields",
    [{"itc": 0}, {"lm": -1}, {"itc_smoothing": 1.0}, {"temperature": 0.9}, {"text_tokens": 3}, {"rerank": -1}],
)
def test_contradictory_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ObjectiveError):
        QFormerContrastive(**fields)


def test_captions_of_more_tokens_than_positions_are_refused(plan_of: Any) -> None:
    with pytest.raises(ObjectiveError, match="at most 64 positions"):
        plan_of("instruct_qformer", represent_fields={"text_tokens": 65})


@pytest.mark.parametrize("changes", [{"batch_size": 1, "accumulate": 1}, {"batch_size": 4, "accumulate": 4}])
def test_one_pair_in_a_micro_batch_is_refused_before_the_first_step(plan_of: Any, changes: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match=r"expected at least two pairs in a micro-batch, got 1 \(batch_size"):
        plan_of(**changes)


def test_one_pair_in_the_data_is_refused_before_the_first_step(plan_of: Any, samples: list[Sample]) -> None:
    del samples[1:]
    with pytest.raises(RecipeError, match="of 1 in the data"):
        plan_of()


def test_new_pretrainer_has_the_first_temperature(plan_of: Any) -> None:
    assert plan_of(represent_fields={"temperature": 0.2}).module.pretrainer.temperature.item() == pytest.approx(0.2)
