"""Every pretraining script runs from the root of a checkout and writes a model that can be loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(script: str, output: Path, *options: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", f"pretraining.{script}", "--output", str(output), *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script", ["language.bert", "vision.clip", "vision.eva", "multimodal.imagebind", "audio.clap"])
def test_an_encoder_is_trained_measured_and_saved(script: str, tmp_path: Path) -> None:
    out = _run(script, tmp_path, "--steps", "2")
    assert "parameters" in out
    assert (tmp_path / "model.safetensors").is_file()
    assert "%" in out.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "opt", "t5"])
def test_a_language_model_is_saved_after_its_last_phase(family: str, tmp_path: Path) -> None:
    phases = {"llama": 12, "opt": 8, "t5": 8}[family]
    make = f"{family}.make_model({family}.make_tokenizer({family!r}))"
    save = f"save_pretrained({str(tmp_path / f'phase-{phases}')!r})"
    start = f"from pretraining.language import {family}; {make}.{save}"
    subprocess.run([sys.executable, "-W", "ignore", "-c", start], cwd=ROOT, check=True, capture_output=True)
    out = _run(f"language.{family}", tmp_path, "--after", str(phases))
    assert "answers" in out.splitlines()[-1]
    assert (tmp_path / "tokenizer.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("script", ["diffusion.stable_diffusion", "diffusion.text_to_video", "audio.audioldm"])
def test_a_generator_is_trained_and_saved(script: str, tmp_path: Path) -> None:
    parts = {
        "diffusion.stable_diffusion": ["--autoencoder-steps", "3"],
        "audio.audioldm": ["--autoencoder-steps", "3", "--vocoder-steps", "3"],
    }
    out = _run(script, tmp_path, "--steps", "2", *parts.get(script, []))
    assert "held out: " in out
    assert (tmp_path / "model_index.json").is_file()
    assert (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").is_file()
