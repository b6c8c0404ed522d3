"""``inlay export``: folders from a bundle, and what is wrong said before models are loaded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from export_parts import adapter_on

from inlay.recipes.cli import main
from inlay.recipes.commands.bundles import export


@pytest.fixture
def bundle(backbone_of: Any, tmp_path: Path) -> str:
    adapter_on(backbone_of()).save_pretrained(tmp_path / "bundle")
    return str(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("target", "said"), [("hf", "loads in Transformers as: LlavaForConditionalGeneration"), ("peft", "alpha: 8")]
)
def test_a_bundle_becomes_a_folder_and_its_checks_are_printed(
    bundle: str, backbone_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, said: str
) -> None:
    backbone = backbone_of()
    assert export.main([bundle, "--to", target, "--output", str(tmp_path / "out")], backbone) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path / 'out'}: {target}\n")
    assert "checked: logits of" in out
    assert f"  {said}\n" in out
    assert (tmp_path / "out" / "EXPORT.json").is_file()
    assert backbone.attached is None


def test_the_report_is_printed_as_json(
    bundle: str, backbone_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [bundle, "--to", "peft", "--rank", "2", "--output", str(tmp_path / "out"), "--json"]
    assert export.main(arguments, backbone_of()) == 0
    held = json.loads(capsys.readouterr().out)
    assert held["options"] == {"rank": 2}
    assert held == json.loads((tmp_path / "out" / "EXPORT.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to", "onnx"], "to: expected one of hf"),
        (["--to", "hf", "--rank", "4"], "rank: the target 'hf' does not have this option"),
        (["--to", "peft", "--rank", "0"], "rank: expected an integer from 1 to 1024, got 0"),
        (["--to", "hf", "--output", "."], "already exists; choose a new folder"),
    ],
)
def test_a_wrong_argument_is_a_usage_error(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    output = [] if "--output" in arguments else ["--output", str(tmp_path / "out")]
    assert main(["export", bundle, *arguments, *output]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_cannot_be_expressed_is_refused_before_models_are_loaded(
    backbone_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter_on(backbone_of(), "linear", r=None).save_pretrained(tmp_path / "bundle")
    for target, reason in (("hf", "projector 'linear'"), ("peft", "this adapter has no LoRA")):
        # The models of this bundle are nowhere, so loading them would be another error.
        assert main(["export", str(tmp_path / "bundle"), "--to", target, "--output", str(tmp_path / "out")]) == 2
        assert reason in capsys.readouterr().err


def test_a_missing_bundle_is_reported_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from inlay.recipes.cli import main; "
        "status = main(['export', 'nowhere', '--to', 'hf', '--output', 'out']); print(status, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.strip() == "2 False"
    assert "nowhere: no such folder; expected a bundle folder" in run.stderr


def test_measured_numbers_have_three_digits(
    bundle: str, backbone_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main([bundle, "--to", "peft", "--rank", "2", "--output", str(tmp_path / "out")], backbone_of()) == 0
    out = capsys.readouterr().out
    numbers = re.findall(r"\b\d*\.\d+", out)
    assert "relative error: " in out
    assert "logits differ from the bundle by: " in out
    assert numbers
    assert all(len(number.replace(".", "").lstrip("0")) <= 3 for number in numbers), numbers
