"""Every measure at tiny sizes: its sides agree, and it says what it should. Nothing here is about speed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # Of the peers' libraries, whose code half of this is.

ROOT = Path(__file__).parents[2]
TRAINED = {"documented", "tuned"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lora", "projector", "output", "blip2"])
def test_sides_of_training_agree(run: Any, name: str) -> None:
    said = run("cpu", name)
    assert (said["status"], said["why"]) == ("ok", "")
    ratios = {one["opponent"]: one for one in said["comparisons"]}
    assert set(ratios) >= TRAINED
    for opponent in TRAINED:
        assert len(ratios[opponent]["theirs"]["wall"]) == len(ratios[opponent]["ours"]["wall"]) == 2
        assert ratios[opponent]["theirs"]["samples_per_second"] > 0
        assert ratios[opponent]["ours"]["utilisation"]["float32"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["large-vocabulary", "output-7b", "blip2-2.7b"])
def test_the_gpu_suite_by_the_same_code_in_bfloat16(run: Any, name: str) -> None:
    said = run("gpu", name, force_bf16=True)
    assert (said["status"], said["why"]) == ("ok", "")
    assert said["checks"]["precision"] == "bf16-true"
    assert len(said["checks"]["rounding"]) == 2


def test_a_side_that_does_other_work_is_void(run: Any, module_of: Any, monkeypatch: Any) -> None:
    sides = module_of("llava").Sides
    fit = sides.fit_ours
    monkeypatch.setattr(sides, "fit_ours", lambda self, batches, bf16: fit(self, batches[::-1], bf16))
    said = run("cpu", "lora")
    assert said["status"] == "void"
    assert "loss curves" in said["why"]
    assert all(one["ratio"] is None for one in said["comparisons"])


@pytest.mark.parametrize("name", ["bundle", "swap", "mixed", "second", "diffusion"])
def test_serving(run: Any, name: str) -> None:
    said = run("cpu", name)
    assert said["status"] == "ok"
    assert all(one["ratio"] > 0 for one in said["comparisons"])


def test_bundles_are_half_and_a_quarter(run: Any) -> None:
    found = {one["opponent"]: one["ratio"] for one in run("cpu", "bundle")["comparisons"]}
    assert found["LLaVA 1.5 projector, bfloat16"] == 0.5
    assert 0.25 < found["LLaVA 1.5 projector, int8"] < 0.251


@pytest.mark.parametrize("bf16", [False, True])
def test_their_trainer_leaves_the_model_as_it_was(module_of: Any, tmp_path: Path, bf16: bool) -> None:
    # Accelerate wraps the model's own call in autocast: without an end, float32 runs after it would be in bfloat16.
    llava = module_of("llava")
    setting = module_of("setting").Setting(place=tmp_path, size="tiny")
    small = llava.small("projector", setting, False)
    seen: list[Any] = []
    head = small.sides.theirs.net.get_output_embeddings()
    head.register_forward_hook(lambda module, given, scores: seen.append(str(scores.dtype)))
    small.sides.fit_theirs(small.theirs[:1], bf16)
    small.sides.fit_theirs(small.theirs[:1], False)
    assert seen == ["torch.bfloat16" if bf16 else "torch.float32", "torch.float32"]


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_memory_of_one_side(module_of: Any, tmp_path: Path, side: str) -> None:
    # Not in a copy of this process, whose threads are at work already.
    memory, setting = module_of("memory"), module_of("setting").Setting(place=tmp_path, size="tiny")
    said = memory._one(setting, memory.TINY, (90, 80), (9, 8), side)
    assert said["peak"] > 0
    assert said["saved"] > 0
    assert said["weights"] < said["ru_maxrss"]


@pytest.mark.slow
def test_the_command_writes_what_the_report_reads(module_of: Any, tmp_path: Path) -> None:
    out = tmp_path / "cpu.json"
    command = ["-W", "ignore", "-m", "benchmarks", "--size", "tiny", "--only", "memory", "--output", str(out)]
    run = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    said = module_of("report").read(out)
    peak, saved = said["measures"]["memory"]["comparisons"]
    assert 0 < saved["ratio"] < 1
    assert peak["ours"]["bytes"] > 0
    assert "Tiny sizes" in module_of("report").table(said)


def test_what_the_denoising_loop_does_beside_the_unet_counts(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from inlay.adapters.generators import StableDiffusion

    sample = StableDiffusion.sample

    def slower(*given: Any, **options: Any) -> Any:
        time.sleep(0.2)
        return sample(*given, **options)

    monkeypatch.setattr(StableDiffusion, "sample", slower)
    said = run("cpu", "diffusion")
    settled, _ = said["comparisons"]
    assert settled["met"] is False
    outside = said["facts"]["milliseconds_outside"]
    assert outside["ours"] > outside["theirs"] + 100
