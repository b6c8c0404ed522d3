"""Options of a training run: nested learning rates work, and what reaches nothing is an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inlay.recipes.cli import main


def config(capsys: Any, *arguments: str) -> dict[str, Any]:
    assert main(["config", *arguments]) == 0
    held: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return held


@pytest.mark.parametrize(
    ("given", "rates"),
    [
        (["--stages.instruct.lr.inputs", "1e-4"], {"inputs": 1e-4, "lora": 4e-3}),
        (["--stages.instruct.lr.inputs=1e-4"], {"inputs": 1e-4, "lora": 4e-3}),
        (["--stages.instruct.lr.inputs.image", "1e-4"], {"inputs.image": 1e-4, "lora": 4e-3}),
        (
            ["--stages.instruct.lr.inputs.image=1e-4", "--stages.instruct.lr.lora=.5"],
            {"inputs.image": 1e-4, "lora": 0.5},
        ),
        (["--stages.instruct.lr={lora: 0.5}"], {"lora": 0.5}),
        (["--stages.instruct.lr={lora: 0.5}", "--stages.instruct.lr.inputs=1e-4"], {"lora": 0.5, "inputs": 1e-4}),
    ],
)
def test_a_learning_rate_reaches_its_part(capsys: Any, given: list[str], rates: dict[str, float]) -> None:
    assert config(capsys, "llava", *given)["stages"]["instruct"]["lr"] == rates


@pytest.mark.parametrize("written", ["{inputs: {image: 1.0e-4}, lora: 0.5}", "{inputs.image: 1.0e-4, lora: 0.5}"])
def test_a_yaml_file_may_nest_learning_rates(capsys: Any, tmp_path: Path, written: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"system: llava\nseed: 3\nstages: {{instruct: {{lr: {written}}}}}\n")
    held = config(capsys, str(path))
    assert held["seed"] == 3
    assert held["stages"]["instruct"]["lr"] == {"inputs.image": 1e-4, "lora": 0.5}
    held = config(capsys, str(path), "--stages.instruct.lr.inputs=1e-2")
    assert held["stages"]["instruct"]["lr"] == {"inputs": 1e-2, "lora": 0.5}


UNREAD: list[tuple[list[str], str]] = [
    (
        ["llava", "--stages.instruct.lr.inputs.audio=1e-4"],
        "instruct.lr.inputs.audio has no effect: llava takes in",
    ),
    (["llava", "--stages.instruct.lr.outputs=1e-4"], "--stages.instruct.lr.outputs has no effect"),
    (["llava", "--stages.instruct.lr.tokens=1e-4"], "--stages.instruct.lr.tokens has no effect"),
    (["llava", "--lora=null"], "--stages.instruct.lr.lora has no effect: the run has no LoRA"),
    (["llava", "--stages.instruct.lr={inputs: 1e-4, inputs.image: 1e-3}"], "--stages.instruct.lr.inputs has no effect"),
    (["llava", "--stages.learn.lr.lora=1e-4"], "--stages.learn: expected one of the stages align, instruct"),
    (["llava", "--stages.align.lr.inputs"], "--stages.align.lr.inputs: expected a value"),
    (["llava", "--order=align", "--stages.instruct.epochs=2"], "--stages.instruct.epochs has no effect: the stage"),
    (
        ["llava", "--stages.align.optimizer.warmup_steps=3", "--stages.align.optimizer.warmup=0.1"],
        "optimizer.warmup has no effect",
    ),
    (["llava", "--output_options={}"], "--output_options has no effect: llava has no output projectors"),
    (["llava", "--signals={}"], "--signals has no effect"),
    (["llava", "--shared=true"], "--shared has no effect: llava takes in image alone"),
    (["llava", "--backbone.audio=a/b"], "--backbone.audio has no effect"),
    (["llava", "--data.pattern=%d.png"], "--data.pattern has no effect: it is for VQA v2"),
    (["llava", "--data.answers=3"], "--data.answers has no effect"),
    (["llava", "--data.shuffle=10"], "--data.shuffle has no effect: the run reads no stream"),
    (["llava", "--data.cache_disk_mib=9"], "--data.cache_disk_mib has no effect: there is no cache folder"),
    (["llava", "--data.invalid=skip"], "--data.invalid has no effect: the run uses the miniature's data"),
    (["nextgpt", "--output_projector=null"], "lr.outputs has no effect"),
]


@pytest.mark.parametrize(("arguments", "message"), UNREAD)
def test_an_option_that_reaches_nothing_is_named(
    capsys: Any, tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert main(["train", *arguments, f"--output={tmp_path / 'run'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
