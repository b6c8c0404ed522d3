"""int8 from the command line: ``inlay train --dtype int8`` and ``inlay quantise``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.bundles import int8_gate
from inlay.adapters.bundles.int8_gate import Int8Loss, QuantiseError
from inlay.hub.format.bundle import Bundle
from inlay.recipes.cli import main
from inlay.recipes.evaluation import quantization_gate as int8


def _training(folders: dict[str, Path], output: Path, *more: str) -> list[str]:
    data = folders["data"]
    few = [f"--stages.{name}.{field}={value}" for name in ("align", "instruct") for field, value in _FEW]
    return [
        *("train", "llava", "--size=miniature", f"--output={output}", "--accelerator=cpu", "--dtype=int8"),
        *(f"--backbone.llm={folders['llama']}", f"--backbone.image={folders['eva']}"),
        *(f"--data.train={data / 'train.json'}", f"--data.images={data / 'images'}", *few, *more),
    ]


_FEW = (("max_steps", 2), ("batch_size", 4))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_writes_int8_where_the_gate_lets_it(folders: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    assert main(_training(folders, run, f"--data.test={folders['data'] / 'test.json'}")) == 0
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["int8"]["accepted"] is (figures["int8"]["after"] <= 1.001 * figures["int8"]["before"])
    expected = "int8" if figures["int8"]["accepted"] else "bfloat16"
    assert Bundle.read(run / "bundle").manifest.parts["inputs.image"].dtype == expected
    assert ("int8: held-out loss" in capsys.readouterr().out) is figures["int8"]["accepted"]


def test_a_refused_run_keeps_its_bundle_and_says_why(
    folders: dict[str, Path], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise QuantiseError("held-out loss 1.00000 -> 2.00000 (+100.000%)", Int8Loss(1.0, 2.0))

    monkeypatch.setattr(int8, "quantise", refuse)
    run = tmp_path / "run"
    assert main(_training(folders, run, f"--data.test={folders['data'] / 'test.json'}")) == 0
    assert "the bundle stays in bfloat16: held-out loss 1.00000 -> 2.00000" in capsys.readouterr().out
    assert Bundle.read(run / "bundle").manifest.parts["inputs.image"].dtype == "bfloat16"
    assert json.loads((run / "metrics.json").read_text())["int8"] == {"accepted": False, "before": 1.0, "after": 2.0}


def test_without_held_out_conversations_it_does_not_start(
    folders: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    assert main(_training(folders, tmp_path / "run")) == 2
    assert "int8 needs held-out conversations: give --data.test" in capsys.readouterr().err


@pytest.fixture
def saved(folders: dict[str, Path], tmp_path: Path) -> tuple[Path, list[str]]:
    """A bundle of bfloat16 for the tiny backbones, and where they and the questions are."""
    from inlay.recipes.settings.run import BackboneSettings
    from inlay.recipes.systems import llava
    from inlay.recipes.systems.load_backbone import backbone_from

    settings = BackboneSettings(llm=str(folders["llama"]), image=str(folders["eva"]))
    backbone = backbone_from(settings, llava.recipe().sources)
    llava.recipe().adapter(backbone, "tiny").save_pretrained(tmp_path / "plain")
    places = [f"--backbone.llm={folders['llama']}", f"--backbone.image={folders['eva']}"]
    return tmp_path / "plain", [*places, f"--data.images={folders['data'] / 'images'}"]


def test_quantise_writes_a_smaller_bundle_and_tells_the_cost(
    saved: tuple[Path, list[str]], folders: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    plain, places = saved
    before = _bytes(plain)
    test = f"--data.test={folders['data'] / 'test.json'}"
    assert main(["quantise", str(plain), str(tmp_path / "small"), test, *places, "--limit=0.5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["after"] <= 1.5 * told["before"]
    assert told["bytes_after"] == sum(p.stat().st_size for p in (tmp_path / "small").rglob("*") if p.is_file())
    small = Bundle.read(tmp_path / "small")
    assert small.manifest.parts["inputs.image"].dtype == "int8"
    assert small.manifest.canary is not None
    assert _bytes(plain) == before


def test_quantise_refuses_with_the_figures_and_writes_nothing(
    saved: tuple[Path, list[str]],
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(model: Any, batches: Any, *, limit: float) -> None:
        raise QuantiseError(f"does not stand int8, allowed {limit:+.3%}")

    monkeypatch.setattr(int8_gate, "quantise", refuse)
    plain, places = saved
    test = f"--data.test={folders['data'] / 'test.json'}"
    assert main(["quantise", str(plain), str(tmp_path / "small"), test, *places]) == 2
    assert "does not stand int8, allowed +0.100%" in capsys.readouterr().err
    assert not (tmp_path / "small").exists()
    assert main(["quantise", str(plain), str(tmp_path / "small"), *places]) == 2
    assert "no questions: give --data.test FILE" in capsys.readouterr().err
