"""The suite with made-up measures: one that fails loses nothing, the JSON has everything, the report reads it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns of threads.


def good(module_of: Any, ratio: float = 3.0) -> Any:
    outcome = module_of("outcome")
    mine = {"wall": [1.0], "utilisation": {"float32": 0.3, "bfloat16": None}}
    one = outcome.Comparison(opponent="tuned", what="theirs", ratio=ratio, target=2.0, ours=mine, spread=0.1)
    return outcome.Outcome(title="a title", comparisons=[one])


def failing(setting: Any) -> Any:
    raise RuntimeError("no such thing")


@pytest.fixture
def said(module_of: Any, tmp_path: Path) -> Any:
    measures = {
        "good": lambda setting: good(module_of),
        "failing": failing,
        "dying": lambda setting: os._exit(3),
        "endless": lambda setting: time.sleep(60),
        "after": lambda setting: good(module_of, 1.0),
    }
    setting = module_of("setting").Setting(place=tmp_path, rounds=1)
    lines: list[str] = []
    found = module_of("suite").run_suite(measures, setting, limit=1, show=lines.append)
    return json.loads(json.dumps(found)), lines


def test_a_measure_that_fails_does_not_lose_the_others(said: Any) -> None:
    found, lines = said
    status = {name: one["status"] for name, one in found["measures"].items()}
    assert status == {"good": "ok", "failing": "failed", "dying": "failed", "endless": "failed", "after": "ok"}
    why = {name: one["why"] for name, one in found["measures"].items()}
    assert "RuntimeError: no such thing" in why["failing"]
    assert "status 3" in why["dying"]
    assert "after 1 s" in why["endless"]
    assert any("3.00 x faster" in line and "met" in line for line in lines)
    assert any("1.00 x faster" in line and "missed" in line for line in lines)


def test_the_json_says_where_and_with_what(said: Any) -> None:
    found, _ = said
    assert found.keys() == {
        "format", "command", "date", "machine", "versions", "rounds", "size", "seconds", "measures",
    }  # fmt: skip
    assert {"cpu", "cores", "threads", "isa", "memory_gib", "load", "gpu"} == found["machine"].keys()
    assert {"avx2", "avx512", "avx512_bf16", "amx", "amx_bf16"} == found["machine"]["isa"].keys()
    assert {"python", "torch", "transformers", "peft", "inlay"} <= found["versions"].keys()
    assert os.uname().nodename not in json.dumps(found["machine"])


def test_some_measures_and_a_budget(module_of: Any, tmp_path: Path) -> None:
    suite, setting = module_of("suite"), module_of("setting").Setting(place=tmp_path)
    measures = {"a": lambda setting: good(module_of), "b": lambda setting: good(module_of)}
    found = suite.run_suite(measures, setting, only=["b"], budget=-1.0, show=lambda line: None)
    assert list(found["measures"]) == ["b"]
    assert found["measures"]["b"]["status"] == "skipped"
    with pytest.raises(ValueError, match="expected names among a, b, got c"):
        suite.run_suite(measures, setting, only=["c"])


def test_the_report_from_a_json(module_of: Any, said: Any, tmp_path: Path, capsys: Any) -> None:
    report, (found, _) = module_of("report"), said
    path, page = tmp_path / "cpu.json", tmp_path / "page.md"
    path.write_text(json.dumps(found), encoding="utf-8")
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    plots = tmp_path / "plots"
    assert report.main([str(path), "--page", str(page), "--plots", str(plots)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| a title | *tuned*: theirs | 3.00 x faster | ≥ 2 | yes | 10% |" in text
    assert "| a title | *tuned*: theirs | 1.00 x faster | ≥ 2 | **no** | 10% |" in text
    assert "failed: RuntimeError: no such thing" in text
    assert (plots / "cpu.png").read_bytes().startswith(b"\x89PNG")
    assert "3.00 x faster" in capsys.readouterr().out


def test_the_report_refuses_other_files_and_pages(module_of: Any, said: Any, tmp_path: Path, capsys: Any) -> None:
    report, path, page = module_of("report"), tmp_path / "x.json", tmp_path / "page.md"
    places = ["--page", str(page), "--plots", str(tmp_path)]
    path.write_text("{}", encoding="utf-8")
    assert report.main([str(path), *places]) == 2
    assert "run the suite again" in capsys.readouterr().err
    path.write_text(json.dumps(said[0]), encoding="utf-8")
    page.write_text("no markers", encoding="utf-8")
    assert report.main([str(path), *places]) == 2
    assert report.BEGIN in capsys.readouterr().err


def test_where_no_gpu_is_it_says_so(module_of: Any, monkeypatch: Any, capsys: Any) -> None:
    gpu = module_of("gpu")
    monkeypatch.setattr(gpu, "in_child", lambda work: {"there": False})
    assert gpu.run() == 0
    assert capsys.readouterr().out == "skipped: no GPU\n"
