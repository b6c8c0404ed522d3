"""A user's own script under ``devices=2``: its projector, its system and its backbone are there in both processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

INLAY = [sys.executable, "-P", "-m", "inlay.recipes.cli"]

PARTS = """
from dataclasses import dataclass
from torch import nn
from inlay.adapters import register_projector
from inlay.adapters.parts.fields import PortSize, check_fields

@dataclass(frozen=True, kw_only=True)
class ScaledConfig:
    width_in: PortSize = 0
    width_out: PortSize = 0
    def __post_init__(self): check_fields(self)

class Scaled(nn.Module):
    kind, reads_prompt = "scaled", False
    def __init__(self, config):
        super().__init__()
        self.config, self.layer = config, nn.Linear(config.width_in, config.width_out)
    def tokens(self, features): return features
    def forward(self, features): return 2.0 * self.layer(features)

register_projector(Scaled, ScaledConfig)
"""
SCRIPT = """
import os, sys
from pathlib import Path
import my_parts
from inlay.adapters import Backbone
from inlay.recipes.settings.recipe import Recipe
from inlay.recipes.settings.stage import Stage
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.runs.job import Job
from inlay.recipes.training.run import train

llm, image, data, output = sys.argv[1:]
backbone = Backbone.from_pretrained(llm=llm, image=image)
stage = Stage(data="train", template="vicuna_v1", geometry="pad", lr={"inputs.image": 1e-3}, batch_size=4, max_steps=2)
job = Job(
    recipe=Recipe(system="mine", projector="scaled", stages={"only": stage}),
    run=RunSettings(output=Path(output), accelerator="cpu", devices=2, evaluate=False),
    backbone=BackboneSettings(llm=llm, image=image),
    data=DataSettings(train=Path(data) / "train.json", images=Path(data) / "images"),
)
train(job, backbone=backbone)
Path(f"after-{os.environ.get('RANK')}").touch()
"""


def start(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(arguments, capture_output=True, text=True, cwd=folder, env=environment, timeout=240)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "my_parts.py").write_text(PARTS)
    (tmp_path / "train_mine.py").write_text(SCRIPT)
    return tmp_path / "train_mine.py"


@pytest.mark.slow
def test_a_script_with_own_projector_system_and_backbone_trains_in_two_processes(
    script: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = start(
        [sys.executable, "train_mine.py", *map(str, (folders["llama"], folders["eva"], folders["data"], run))], tmp_path
    )
    assert done.returncode == 0, done.stderr
    # The lines behind train() run in both processes, and not in the program that started them.
    assert sorted(path.name for path in tmp_path.glob("after-*")) == ["after-0", "after-1"]
    assert done.stdout.count("stage only:") == 1  # one process prints
    # Reading the bundle needs the registration too; a command takes it from --import.
    done = start([*INLAY, "verify", str(run), "--files_only", "--import", "my_parts.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "bundle" / "inlay.json").read_text())["system"] == "mine"


@pytest.mark.slow
def test_the_command_line_imports_own_parts_in_both_processes(
    script: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    data = folders["data"]
    arguments = [f"--backbone.llm={folders['llama']}", f"--backbone.image={folders['eva']}", "--evaluate=false"]
    arguments += [f"--data.train={data / 'train.json'}", f"--data.images={data / 'images'}", "--order=instruct"]
    arguments += ["--stages.instruct.max_steps=2", "--stages.instruct.batch_size=4", "--stages.instruct.accumulate=1"]
    arguments += ["--projector=scaled", f"--output={tmp_path / 'run'}", "--accelerator=cpu", "--devices=2"]
    done = start([*INLAY, "train", "llava", *arguments, "--import=my_parts.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "projector: scaled" in (tmp_path / "run" / "config.yaml").read_text()
