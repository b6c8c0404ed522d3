"""``--data.cache_dir``: the second run and every evaluation encode no picture and give the same numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.cli import main
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import DataSettings


def command(folders: dict[str, Path], output: Path, *more: str) -> list[str]:
    data = folders["data"]
    few = [f"--stages.{name}.{field}" for name in ("align", "instruct") for field in ("max_steps=2", "batch_size=4")]
    return [
        "train",
        "llava",
        "--size=miniature",
        f"--output={output}",
        f"--backbone.llm={folders['llama']}",
        f"--backbone.image={folders['eva']}",
        f"--data.align={data / 'align.json'}",
        f"--data.train={data / 'train.json'}",
        f"--data.test={data / 'test.json'}",
        f"--data.images={data / 'images'}",
        "--accelerator=cpu",
        *few,
        *more,
    ]


def test_a_second_run_computes_no_features_and_gives_the_same_bundle(
    folders: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    cache = [f"--data.cache_dir={tmp_path / 'cache'}"]
    # All under one name, since the name is written into the bundle.
    runs = {name: tmp_path / name / "run" for name in ("plain", "first", "second")}
    assert main(command(folders, runs["plain"])) == 0
    assert "cache:" not in capsys.readouterr().out
    assert main(command(folders, runs["first"], *cache)) == 0
    assert re.search(r"cache: 0 of \d+ image features are in .*, [1-9]\d* are computed", capsys.readouterr().out)
    assert main(command(folders, runs["second"], *cache)) == 0
    said = re.findall(r"cache: (\d+) of (\d+) image features are in .*, (\d+) are computed", capsys.readouterr().out)
    assert said
    assert all(found == whole and missing == "0" for found, whole, missing in said)
    for name in ("inlay.json", "adapter.safetensors", "lora/adapter_model.safetensors"):
        first, *others = [(run / "bundle" / name).read_bytes() for run in runs.values()]
        assert all(other == first for other in others)

    data = folders["data"]
    asked = [f"--data.test={data / 'test.json'}", f"--data.images={data / 'images'}", "--json"]
    asked += [f"--backbone.llm={folders['llama']}", f"--backbone.image={folders['eva']}"]
    assert main(["evaluate", str(runs["second"]), *asked, *cache]) == 0
    found = capsys.readouterr()
    assert ", 0 are computed" in found.err
    assert main(["evaluate", str(runs["second"]), *asked]) == 0
    assert json.loads(found.out) == json.loads(capsys.readouterr().out)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(SettingsError, match="remove cache_dir"):
        DataSettings(cache_disk_mib=0)
