"""The table of finished runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inlay.recipes.evaluation.results_table import main, results_table


def test_figures_of_the_stages_have_their_columns() -> None:
    stages = {
        "represent": {"image_to_text@1": 0.216, "text_to_image@1": 0.203},
        "generate": {"cider": 8.655, "right": 0.852},
    }
    table = results_table({"blip2": {"seed": 1, "seconds": 420.6, "stages": stages}}).splitlines()
    assert table[2] == "| blip2 | 1 | 21.6 / 20.3 | 8.65 | 85.2 | 421 |"
    assert all(line.count("|") == 7 for line in table)


def test_what_was_made_stands_beside_its_references() -> None:
    made = {"audio": {"asked": 4, "right": 0.75, "own_encoder": 1.0, "wrong_prompt": 0.05}, "video": {"right": 0.5}}
    heard = {"audio": {"adapter": 0.8, "blind": 0.3, "oracle": 1.0}}
    figures = {"seed": 2, "seconds": 60, "made": made, "by_modality": heard, "choice": 0.993}
    table = results_table({"nextgpt": figures}).splitlines()
    assert table[2] == "| nextgpt | 2 | 80.0 / 30.0 | 75.0 / 100.0 / 5.0 | 50.0 / - / - | 99.3 | 60 |"


def test_a_run_without_a_figure_has_an_empty_cell() -> None:
    table = results_table({"a": {"seed": 0, "seconds": 1, "blind": 0.5}, "b": {"seed": 0, "seconds": 2}})
    assert table.splitlines()[3] == "| b | 0 |  | 2 |"


def test_folders_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run-3"
    run.mkdir()
    (run / "metrics.json").write_text(json.dumps({"seed": 3, "seconds": 9.6, "accuracy": 0.5}), encoding="utf-8")
    main([str(run)])
    assert "| run-3 | 3 | 50.0 | 10 |" in capsys.readouterr().out


def test_a_folder_without_figures_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "with metrics.json" in capsys.readouterr().err
