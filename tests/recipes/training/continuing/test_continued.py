"""System align: the adapter of a bundle is trained further, and every other thing about it stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pair_files import write_pairs

from inlay.adapters.adapter import Adapter
from inlay.adapters.bundles.bundle_io import open_bundle
from inlay.adapters.conversation.layout import Layout
from inlay.hub import pull
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.runs.backbone import backbone_settings
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.recipe import Recipe
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.systems import align, llava
from inlay.recipes.systems.load_backbone import backbone_from
from inlay.recipes.training.continuing.continued import with_held_out
from inlay.recipes.training.continuing.second_lora import add_second_lora
from inlay.recipes.training.finetune import Run, finetune

QUIET: dict[str, Any] = {"show": lambda _: None, "logger": (), "accelerator": "cpu"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the miniature whose LoRA is not zero, with a layout of its own."""
    torch.manual_seed(1)
    backbone = backbone_from(BackboneSettings())
    adapter = llava.recipe().adapter(backbone, "first")
    for name, parameter in adapter.named_parameters():
        if name.endswith("/B"):
            torch.nn.init.normal_(parameter, std=0.02)
    adapter.layout = replace(adapter.layout, system="Answer in few words.", stop=("###",), geometry={"image": "squash"})
    path = tmp_path_factory.mktemp("begin") / "bundle"
    adapter.attach(backbone)
    return adapter.save_pretrained(path)


@pytest.fixture(scope="module")
def data(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> DataSettings:
    """Pairs, held-out pairs, held-out captions and object classes."""
    own = folders["data"]
    place = tmp_path_factory.mktemp("pairs")
    (place / "objects.txt").write_text("circle\nsquare\nstar\ntriangle\nring\n")
    return DataSettings(
        train=write_pairs(place / "train.jsonl", own / "align.json"),
        test=write_pairs(place / "test.jsonl", own / "align_test.json", count=6),
        align_test=own / "align_test.json",
        objects=place / "objects.txt",
        images=own / "images",
    )


def recipe_of(objective: Preference | None = None, **fields: Any) -> Recipe:
    recipe = align.recipe()
    own: dict[str, Any] = {"batch_size": 4, "max_steps": 3, "lr": {"lora": 1e-2}} | fields
    second = own.pop("second_lora", 0)
    stage = replace(recipe.stages["prefer"], objective=objective or Preference(), **own)
    return replace(recipe, stages={"prefer": stage}, second_lora=second)


@pytest.fixture(scope="module")
def run(bundle: Path, data: DataSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("runs") / "tuned"
    return finetune(recipe_of(), begin=bundle, data=data, output=output, **QUIET)


def test_system_name_and_layout_are_those_of_the_bundle(run: Run, bundle: Path) -> None:
    before, after = Adapter.from_pretrained(bundle), run.adapter()
    assert (after.system, after.name, after.layout) == (before.system, before.name, before.layout)


def test_only_the_parts_with_a_rate_have_changed(run: Run, bundle: Path) -> None:
    before, after = (dict(held.named_parameters()) for held in (Adapter.from_pretrained(bundle), run.adapter()))
    assert before.keys() == after.keys()
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"lora"}


def test_the_manifest_names_the_bundle_that_it_derives_from(run: Run, bundle: Path) -> None:
    before, after = open_bundle(bundle).manifest, open_bundle(run.bundle).manifest
    assert after.training is not None
    assert after.training.derived_from is not None
    assert (after.training.recipe, after.training.stages) == ("align", ("prefer",))
    assert (after.training.derived_from.name, after.training.derived_from.digest) == (before.name, before.digest)


def test_a_tuned_bundle_comes_back_from_a_hub_with_equal_answers_and_its_origin(
    run: Run, bundle: Path, data: DataSettings, hub: Any
) -> None:
    backbone = backbone_from(BackboneSettings())
    picture = {"type": "image", "path": str(next(iter(sorted(Path(str(data.images)).iterdir()))))}
    asked = [{"role": "user", "content": [picture, {"type": "text", "text": "What is shown?"}]}]

    def answer(adapter: Adapter) -> str:
        text = adapter.attach(backbone, strict=True).chat(asked, max_new_tokens=12, min_new_tokens=12).text
        adapter.detach()
        return text

    tuned = run.adapter()
    wanted = answer(tuned)
    tuned.push_to_hub("me/tuned", private=True)
    pulled = Adapter.from_pretrained("me/tuned")
    assert answer(pulled) == wanted
    assert all(torch.equal(tensor, tuned.state_dict()[name]) for name, tensor in pulled.state_dict().items())
    training = open_bundle(pull("me/tuned").folder).manifest.training
    assert training is not None
    assert training.derived_from is not None
    assert training.derived_from.digest == open_bundle(bundle).manifest.digest


def test_metrics_hold_the_audit(run: Run) -> None:
    held = json.loads((run.folder / "metrics.json").read_text())
    assert set(held["reward_accuracy"]) == {"right", "blank", "other"}
    assert all(0 <= value <= 1 for value in held["reward_accuracy"].values())


def test_metrics_hold_hallucinated_objects_before_and_after(run: Run) -> None:
    found = run.metrics["hallucination"]
    assert set(found) == {"before", "after"}
    assert set(found["before"]) == set(found["after"]) == {"chair_i", "chair_s", "recall", "length"}


def test_a_run_without_held_out_questions_is_told_in_a_sentence(tmp_path: Path) -> None:
    lines: list[str] = []
    run = RunSettings(begin=tmp_path, output=tmp_path / "out")
    job = Job(recipe=align.recipe(), run=run, backbone=BackboneSettings(), data=DataSettings())
    assert with_held_out({}, job, lines.append) == {}
    assert lines == [
        f"{tmp_path} has no held-out questions: give --data.test FILE to compare answers before and after the training"
    ]


def test_a_new_name_is_taken(bundle: Path, data: DataSettings, tmp_path: Path) -> None:
    recipe = recipe_of(Preference(audit=False), max_steps=1)
    plain = replace(data, test=None, align_test=None, objects=None)
    run = finetune(recipe, begin=bundle, data=plain, output=tmp_path / "run", name="second", **QUIET)
    assert run.adapter().name == "second"


def test_a_bundle_without_lora_trains_its_projectors(data: DataSettings, tmp_path: Path) -> None:
    backbone = backbone_from(BackboneSettings())
    adapter = replace(llava.recipe(), lora=None).adapter(backbone, "first")
    adapter.attach(backbone)
    begin = adapter.save_pretrained(tmp_path / "bundle")
    said: list[str] = []
    options = QUIET | {"show": said.append}
    plain = replace(data, test=None, align_test=None, objects=None)
    run = finetune(recipe_of(max_steps=1), begin=begin, data=plain, output=tmp_path / "run", **options)
    assert any("no LoRA, so its input projectors train" in line for line in said)
    before, after = Adapter.from_pretrained(begin), run.adapter()
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_symmpo_reads_the_second_picture(bundle: Path, data: DataSettings, tmp_path: Path) -> None:
    recipe = recipe_of(Preference(loss="symmpo"), max_steps=1)
    files = {
        name: write_pairs(tmp_path / f"{name}.jsonl", data.align_test, symmpo=True)
        for name in ("train", "test")
        if data.align_test is not None
    }
    own = replace(data, align_test=None, **files)
    run = finetune(recipe, begin=bundle, data=own, output=tmp_path / "run", **QUIET)
    assert "reward_accuracy" in run.metrics


# A second LoRA


def test_a_second_lora_starts_as_the_first_alone(bundle: Path) -> None:
    backbone = backbone_from(BackboneSettings())
    adapter = Adapter.from_pretrained(bundle)
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        model = adapter.attach(backbone)
        alone = backbone.llm.model(ids).logits
        model.adapter.detach()
        add_second_lora(adapter, 4)
        adapter.attach(backbone)
        both = backbone.llm.model(ids).logits
        adapter.detach()
    torch.testing.assert_close(both, alone, rtol=0, atol=1e-5)


def test_a_second_lora_starts_with_the_weights_of_its_seed(bundle: Path) -> None:
    drawn = [Adapter.from_pretrained(bundle) for _ in range(3)]
    for adapter, seed in zip(drawn, (0, 0, 1), strict=True):
        add_second_lora(adapter, 4, seed)
    one, same, other = (torch.cat([p.flatten() for p in adapter.parameters()]) for adapter in drawn)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_first_lora_stays_bit_equal_and_the_second_trains(bundle: Path, data: DataSettings, tmp_path: Path) -> None:
    recipe = recipe_of(second_lora=4)
    stage = recipe.stages["prefer"]
    decay = replace(stage, optimizer=replace(stage.optimizer, weight_decay=0.1))
    plain = replace(data, test=None, align_test=None, objects=None)
    recipe = replace(recipe, stages={"prefer": decay})
    run = finetune(recipe, begin=bundle, data=plain, output=tmp_path / "run", **QUIET)
    first, both = Adapter.from_pretrained(bundle).lora, run.adapter().lora
    assert first is not None
    assert both is not None
    own = first.config.r
    assert (both.config.r, both.config.scale) == (own + 4, first.config.scale)
    for target in first.targets:
        (down, up), (old_down, old_up) = both.matrices(target), first.matrices(target)
        assert torch.equal(down[:own], old_down)
        assert torch.equal(up[:, :own], old_up)
        assert up[:, own:].abs().sum() > 0


# The command


def command(*options: str, begin: Path, data: DataSettings, output: Path) -> list[str]:
    given = [sys.executable, "-m", "inlay.recipes.cli", "train", "align"]
    given += ["--begin", str(begin), "--data.train", str(data.train), "--data.images", str(data.images)]
    return [*given, "--output", str(output), "--accelerator=cpu", "--logger=csv", *options]


def done(arguments: list[str]) -> None:
    found = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stderr[-2000:]


STEPS = ["--epochs=10", "--batch_size=4", "--checkpoint_every=2", "--stages.prefer.lr.inputs=1e-3"]


@pytest.mark.slow
@pytest.mark.parametrize("second", ["0", "4"])
def test_a_killed_run_continues_bit_equal(bundle: Path, data: DataSettings, tmp_path: Path, second: str) -> None:
    whole, parts = tmp_path / "whole" / "run", tmp_path / "parts" / "run"
    options = [*STEPS, f"--second_lora={second}"]
    done(command(*options, begin=bundle, data=data, output=whole))
    process = subprocess.Popen(
        command(*options, begin=bundle, data=data, output=parts), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    checkpoint, end = parts / "checkpoints" / "prefer" / "last.ckpt", time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (parts / "bundle").exists()
    own = [sys.executable, "-m", "inlay.recipes.cli", "train", str(parts / "config.yaml")]
    done([*own, "--resume=true"])
    for name in ("adapter.safetensors", "lora/adapter_model.safetensors"):
        assert (parts / "bundle" / name).read_bytes() == (whole / "bundle" / name).read_bytes()


@pytest.mark.slow
def test_two_processes_equal_one(bundle: Path, data: DataSettings, tmp_path: Path) -> None:
    for devices in (1, 2):
        done(command(*STEPS, f"--devices={devices}", begin=bundle, data=data, output=tmp_path / f"{devices}" / "run"))
    one, two = (Adapter.from_pretrained(tmp_path / f"{devices}" / "run") for devices in (1, 2))
    for ours, theirs in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.01, atol=1e-3)  # both are rounded to bfloat16


def test_config_names_the_bundle_and_the_version(run: Run, bundle: Path) -> None:
    held = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert (held["system"], held["version"], held["begin"], held["name"]) == ("align", "dpo", str(bundle), "first")


def test_the_tuned_bundle_attaches_with_its_run(run: Run) -> None:
    adapter = run.adapter()
    model = adapter.attach(backbone_from(backbone_settings(run.folder, adapter, BackboneSettings())))
    assert model.chat([{"role": "user", "content": "hello"}]).finish_reason in ("stop", "length")


def test_a_stage_takes_the_layout_of_an_adapter() -> None:
    layout = Layout(template="vicuna_v1", geometry={"image": "squash"}, stop=("###",), bos="none", system="Be brief.")
    stage = align.recipe().stages["prefer"].in_layout(layout)
    assert (stage.layout, stage.geometry, stage.template) == (layout, "squash", "vicuna_v1")
    assert replace(stage, epochs=5.0).layout == layout
