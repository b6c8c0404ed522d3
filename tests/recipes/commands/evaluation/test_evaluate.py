"""`inlay evaluate`: metric, batches, limits and files; wrong arguments without a model; several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_runs import untrained_llava

from inlay.recipes.cli import main
from inlay.recipes.commands.evaluation import evaluate_bundle as work

LONG = "there is a large red circle in the center, and a small blue square in the top left of the picture"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an untrained adapter on the miniature, and files of questions about its pictures."""
    root = untrained_llava(tmp_path_factory.mktemp("runs") / "llava")
    picture = sorted(path.name for path in (root / "data" / "images").iterdir())[0]

    def llava_rows(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
        return [
            {
                "id": str(number),
                "image": picture,
                "conversations": [{"from": "human", "value": f"<image>\n{asked}"}, {"from": "gpt", "value": said}],
            }
            for number, (asked, said) in enumerate(pairs)
        ]

    (root / "free.json").write_text(json.dumps(llava_rows(("what do you see?", LONG), ("what else?", LONG))))
    (root / "short.json").write_text(json.dumps(llava_rows(("which colour?", "red"), ("how many?", "2"), ("a?", "b"))))
    (root / "options.json").write_text(json.dumps(llava_rows(("which?\nA. red\nB. blue", "B"))))
    pope = [{"question_id": n, "image": picture, "text": "is there a cat?", "label": "no"} for n in (1, 2)]
    (root / "pope.json").write_text("\n".join(map(json.dumps, pope)))
    return root


@pytest.fixture
def evaluated(trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(file: str, *options: str) -> tuple[int, str, str]:
        images = f"--data.images={trained / 'data' / 'images'}"
        status = main(["evaluate", str(trained), f"--data.test={trained / file}", images, *options])
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("file", "metric"), [("short.json", "exact"), ("options.json", "choice"), ("pope.json", "pope")]
)
def test_the_metric_is_chosen_from_the_file(evaluated: Any, file: str, metric: str) -> None:
    status, out, _ = evaluated(file, "--json")
    assert status == 0
    figures = json.loads(out)
    assert figures["metric"] == metric
    assert set(figures) == {"adapter", "blind", "metric", "cut"}


def test_another_metric_can_be_named(evaluated: Any) -> None:
    assert json.loads(evaluated("short.json", "--metric=vqa", "--json")[1])["metric"] == "vqa"


def test_free_text_is_written_to_a_file_and_not_scored(evaluated: Any, tmp_path: Path) -> None:
    for name in ("free-answers.jsonl", "free-answers-2.jsonl"):  # nothing is overwritten
        status, out, _ = evaluated("free.json")
        assert status == 0
        assert out.strip() == f"free text: no metric fits; choose one with --metric; the answers are in {name}"
        rows = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        assert [row["reference"] for row in rows] == [LONG, LONG]


def test_answers_are_saved_beside_a_metric_where_that_is_asked_for(evaluated: Any, tmp_path: Path) -> None:
    status, out, _ = evaluated("short.json", "--save_answers=own.jsonl")
    assert status == 0
    assert out.startswith("exact match on short.json")
    assert len((tmp_path / "own.jsonl").read_text().splitlines()) == 3


def test_batches_and_limits_reach_the_model(evaluated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    ask = work.ask

    def watched(*given: Any, **options: Any) -> Any:
        seen.append((options["batch_size"], options["max_new_tokens"]))
        return ask(*given, **options)

    monkeypatch.setattr(work, "ask", watched)
    assert evaluated("short.json", "--batch_size=2")[0] == 0
    assert evaluated("free.json", "--batch_size=1", "--metric=captions")[0] == 0
    assert evaluated("short.json", "--batch_size=3", "--max_new_tokens=5")[0] == 0
    assert seen == [(2, 16)] * 2 + [(1, 50)] * 2 + [(3, 5)] * 2


def test_answers_that_reach_the_limit_are_counted(evaluated: Any) -> None:
    _, out, err = evaluated("short.json", "--max_new_tokens=1", "--json")
    assert "3 of 3 answers reached the limit of 1 tokens; raise it with --max_new_tokens" in err
    assert json.loads(out)["cut"] == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--metric=pope"], "expected the reference yes or no for POPE, got 'red'"),
        (["--metric=choice"], "expected options"),
        (["--batch_size=0"], "batch_size"),
        (["--devices=0"], "devices"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_models_are_loaded(
    evaluated: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, options: list[str], told: str
) -> None:
    refused = lambda *_, **__: pytest.fail("a model was loaded")  # noqa: E731
    monkeypatch.setattr("inlay.recipes.training.load_model.backbone_for", refused)
    try:
        status, _, err = evaluated("short.json", *options)
    except SystemExit as stop:
        status, err = stop.code, capsys.readouterr().err
    assert status == 2
    assert told in err


@pytest.mark.parametrize("arguments", [["missing"], ["a/b", "--data.test=gone.json"], ["a/b", "--metric=taste"]])
def test_a_wrong_argument_does_not_import_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from inlay.recipes.cli import main; "
        f"status = main(['evaluate', *{arguments!r}]); sys.exit(9 if 'torch' in sys.modules else status)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 2, told.stderr
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.slow
def test_two_devices_print_the_table_of_one(trained: Path) -> None:
    command = [sys.executable, "-P", "-m", "inlay.recipes.cli", "evaluate", str(trained), "--json", "--accelerator=cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = []
    for devices in ("1", "2"):
        told = subprocess.run(
            [*command, f"--devices={devices}", "--batch_size=2"],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        found.append(json.loads(told.stdout))
    assert found[0] == found[1]
