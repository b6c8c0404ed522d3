"""docs/howto/evaluation.md: the table of benchmarks is that of the registry, and its commands have valid options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from benchmark_files import write_official

from inlay.recipes.commands.evaluation.evaluate import main
from inlay.recipes.evaluation.benchmarks.registry import benchmark_named, benchmark_names

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "evaluation.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^inlay evaluate (.* --benchmark [^#\n]*)", PAGE, re.MULTILINE)


def test_the_table_has_every_benchmark_with_its_figure_and_file() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| `(\w+)` \| .*\| (?:`(.*)` )?\|$", PAGE, re.MULTILINE)
    found = {name: (main_figure, results) for name, _, main_figure, results in rows}
    benchmarks = [benchmark_named(name) for name in benchmark_names()]
    assert found == {own.name: (own.main, own.results.name if own.results else "") for own in benchmarks}
    for name, files, _, _ in rows:
        own = benchmark_named(name).published.files.values()
        stems = [file.names[0].removeprefix("data/").removeprefix("query/") for file in own]
        assert name in ("pope", "mme") or all(stem.rpartition("/")[2] in files for stem in stems), name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_finds_its_files(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(
        "inlay.recipes.commands.evaluation.evaluate_benchmark.evaluate_benchmark", lambda given, *_: seen.append(given)
    )
    words = shlex.split(re.sub(r"--devices \d", "", command))
    name, root = words[words.index("--benchmark") + 1], words[words.index("--root") + 1]
    write_official(name, tmp_path / root)
    monkeypatch.setattr("inlay.recipes.commands.evaluation.evaluate.manifest_of", lambda folder: None)
    for folder in ("runs/llava", "runs/llava-2", "data/val2014"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    assert main(words) == 0
    assert seen[0].benchmark == name


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 5
