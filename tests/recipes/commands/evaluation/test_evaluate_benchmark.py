"""`inlay evaluate --benchmark`: every benchmark on small official files, blind rows, resuming, limit, comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmark_files import WRITERS, opened, write_official

from inlay.recipes.commands.evaluation import evaluate_benchmark as work
from inlay.recipes.commands.evaluation.evaluate import main
from inlay.recipes.evaluation.benchmarks import answer_store, collect
from inlay.recipes.evaluation.benchmarks.bootstrap import paired_bootstrap
from inlay.recipes.evaluation.errors import BenchmarkError
from inlay.recipes.systems import llava
from inlay.recipes.systems.load_backbone import miniature_backbone

HEARD = ("audiocaps", "clotho", "msrvtt")
COLUMNS = ["adapter", "no medium", "other medium"]
SHORT = "--max_new_tokens=3"


@pytest.fixture(scope="module")
def backbone() -> Any:
    return miniature_backbone()


@pytest.fixture(scope="module")
def bundles(backbone: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two untrained adapters of the miniature."""
    found = []
    for name in ("one", "other"):
        torch.manual_seed(len(found))
        adapter = llava.recipe("1.5", "miniature").adapter(backbone, name)
        adapter.attach(backbone)
        folder = tmp_path_factory.mktemp("bundles") / name
        adapter.save_pretrained(folder)
        adapter.detach()
        found.append(str(folder))
    return found


@pytest.fixture
def run(bundles: list[str], backbone: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command on small files; gives the printed figures and the folder of the first bundle."""

    def evaluated(name: str, *options: str, output: str = "out") -> tuple[dict[str, Any], Path]:
        root = tmp_path / name
        if not root.exists():
            write_official(name, root)
        own = [f"--benchmark={name}", f"--root={root}", f"--output={tmp_path / output}", "--json", SHORT, *options]
        assert main([bundles[0], *own], backbone) == 0
        [folder] = (tmp_path / output).glob("one-*")
        return json.loads(capsys.readouterr().out), folder

    return evaluated


def _stored(folder: Path, column: str) -> list[str]:
    return [json.loads(line)["answer"] for line in (folder / f"{column}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in HEARD])
def test_a_benchmark_has_its_score_beside_blind_rows(run: Any, tmp_path: Path, name: str) -> None:
    figures, folder = run(name)
    benchmark, _, items = opened(name, tmp_path / name)
    assert list(figures["columns"]) == COLUMNS
    assert figures["questions"] == len(items)
    said = _stored(folder, "adapter")
    scored = benchmark.score(items, said).figures
    kept = {figure: value for figure, value in figures["columns"]["adapter"].items() if value is not None}
    assert kept == pytest.approx({figure: scored[figure] for figure in kept})
    assert benchmark.main in scored
    written = {path.name for path in folder.iterdir()} - {"settings.json", "figures.json"}
    assert written == {f"{column.replace(' ', '_')}.jsonl" for column in COLUMNS} | (
        {benchmark.results.name} if benchmark.results else set()
    )
    assert json.loads((folder / "figures.json").read_text())["columns"] == figures["columns"]


@pytest.mark.parametrize("name", HEARD)
def test_sounds_and_clips(senses_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    model = senses_of().model
    model.adapter.save_pretrained(tmp_path / "bundle")
    held = model.backbone
    model.adapter.detach()
    root = write_official(name, tmp_path / name)
    own = [f"--benchmark={name}", f"--root={root}", f"--output={tmp_path / 'out'}", "--json", SHORT]
    assert main([str(tmp_path / "bundle"), *own], held) == 0
    figures = json.loads(capsys.readouterr().out)
    assert list(figures["columns"]) == COLUMNS
    assert all("cider" in column for column in figures["columns"].values())


def test_the_blind_rows_answer_without_the_picture_and_with_another(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    ask = work.ask
    monkeypatch.setattr(
        work, "ask", lambda model, block, **options: (asked.append(block), ask(model, block, **options))[1]
    )
    run("gqa")
    seen, blind, other = asked
    pictures = [[Path(part.source).name for part in prompt[0].content[:-1]] for _, prompt, _ in seen]
    assert pictures == [["n1.jpg"], ["n1.jpg"], ["n2.jpg"]]
    assert [len(prompt[0].content) for _, prompt, _ in blind] == [1, 1, 1]
    assert [Path(prompt[0].content[0].source).name for _, prompt, _ in other] == ["n2.jpg", "n2.jpg", "n1.jpg"]
    assert {tuple(prompt[0].text for _, prompt, _ in block) for block in asked} == {
        tuple(p[0].text for _, p, _ in seen)
    }


@pytest.mark.parametrize("calls", [1, 3, 5])
def test_a_killed_evaluation_goes_on_and_gives_the_same(run: Any, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    for module in (answer_store, collect):
        monkeypatch.setattr(module, "BLOCK", 5)
    whole, folder = run("pope", "--batch_size=2", output="whole")
    ask, done = work.ask, []

    def killed(*given: Any, **options: Any) -> Any:
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(given)
        return ask(*given, **options)

    monkeypatch.setattr(work, "ask", killed)
    with pytest.raises(KeyboardInterrupt):
        run("pope", "--batch_size=2")
    calls = 99
    figures, again = run("pope", "--batch_size=2")
    assert len(done) == 9  # three columns of three blocks, none of them twice
    assert figures["columns"] == whole["columns"]
    for column in ("adapter", "no_medium", "other_medium"):
        assert _stored(again, column) == _stored(folder, column)


def test_a_finished_evaluation_needs_no_model(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = run("vqav2")
    monkeypatch.setattr(work, "runtime_backbone", lambda *_, **__: pytest.fail("a model was loaded"))
    assert run("vqav2")[0] == first


def test_the_limit_holds_for_each_set(run: Any) -> None:
    figures, folder = run("pope", "--limit=1")
    assert figures["questions"] == 3
    assert len(_stored(folder, "adapter")) == 3
    assert list(figures["columns"]) == ["adapter", "no medium"]  # all three questions are about one picture


def test_other_options_are_another_evaluation(run: Any, tmp_path: Path) -> None:
    run("vqav2")
    with pytest.raises(ValueError, match="too many values"):  # two folders of the first bundle
        run("vqav2", "--limit=1")
    assert len(list((tmp_path / "out").glob("one-*"))) == 2


def test_two_bundles_have_an_interval(run: Any, bundles: list[str], tmp_path: Path) -> None:
    figures, folder = run("pope", f"--against={bundles[1]}")
    [against] = (tmp_path / "out").glob("other-*")
    benchmark, _, items = opened("pope", tmp_path / "pope")
    one, other = (benchmark.score(items, _stored(own, "adapter")) for own in (folder, against))
    found = paired_bootstrap(items, one, other)
    difference = figures["difference"]
    assert difference == pytest.approx({"value": found.value, "low": found.low, "high": found.high, "clusters": 2})
    assert figures["against"]["adapter"] == pytest.approx(other.figures)
    assert figures["columns"]["adapter"] == pytest.approx(one.figures)


def test_captions_may_have_an_empty_prompt(run: Any) -> None:
    assert list(run("coco", "--instruction=")[0]["columns"]) == COLUMNS


def test_features_are_kept_in_a_folder(run: Any, tmp_path: Path) -> None:
    plain = run("gqa")[0]["columns"]
    assert run("gqa", f"--data.cache_dir={tmp_path / 'cache'}", output="other")[0]["columns"] == plain
    assert any((tmp_path / "cache").rglob("*.*"))


def test_a_question_that_is_there_twice_is_named(run: Any, tmp_path: Path) -> None:
    path = write_official("vqav2", tmp_path / "vqav2") / "v2_OpenEnded_mscoco_val2014_questions.json"
    document = json.loads(path.read_text())
    document["questions"].append(document["questions"][0])
    path.write_text(json.dumps(document))
    with pytest.raises(BenchmarkError, match="expected every question of vqav2 once, got 10 again"):
        run("vqav2")


def test_a_set_without_answers_gets_its_results_file(run: Any, tmp_path: Path) -> None:
    root = write_official("vqav2", tmp_path / "vqav2")
    (root / "v2_mscoco_val2014_annotations.json").unlink()
    figures, folder = run("vqav2")
    assert figures["columns"] == {}
    assert [row["question_id"] for row in json.loads((folder / "vqav2_results.json").read_text())] == [10, 11, 20]


def test_the_table_and_the_folder_are_printed(
    run: Any, bundles: list[str], backbone: Any, tmp_path: Path, capsys: Any
) -> None:
    _, folder = run("gqa")
    own = ["--benchmark=gqa", f"--root={tmp_path / 'gqa'}", f"--output={tmp_path / 'out'}", SHORT]
    assert main([bundles[0], *own], backbone) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"GQA, {bundles[0]}, 3 questions"
    assert lines[1].split("  ")[0] == "figure"
    assert lines[-1] == f"files: {folder}"
    assert err.startswith(f"GQA: reading {tmp_path / 'gqa' / 'testdev_balanced_questions.json'}\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--benchmark=popo", "--root=."], "expected one of pope, vqav2"),
        (["--benchmark=pope", "--root=gone"], "AoiDragon/POPE"),
        (["--benchmark=pope", "--root=."], "coco_pope_random.json: no such file"),
        (["--benchmark=pope"], "--root: expected the folder"),
        (["--root=."], "--root: expected together with --benchmark"),
        (["--benchmark=pope", "--root=.", "--data.test=."], "--data.test: not with --benchmark"),
        (["--benchmark=pope", "--root=.", "--results=a.json"], "--results: not with --benchmark"),
        (["--benchmark=pope", "--root=.", "--metric=vqa"], "not with --benchmark"),
        (["--benchmark=pope", "--root=.", "--against=gone"], "gone: no such folder"),
        (["--benchmark=pope", "--root=.", "--limit=0"], "limit"),
    ],
)
def test_a_wrong_option_is_told_in_one_line_without_torch(tmp_path: Path, options: list[str], told: str) -> None:
    code = (
        "import sys; from inlay.recipes.cli import main; "
        f"status = main(['evaluate', 'a/b', *{options!r}]); sys.exit(9 if 'torch' in sys.modules else status)"
    )
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr


@pytest.mark.slow
def test_two_devices_give_the_answers_of_one(bundles: list[str], tmp_path: Path) -> None:
    root = write_official("pope", tmp_path / "pope")
    command = [sys.executable, "-P", "-m", "inlay.recipes.cli", "evaluate", bundles[0], "--benchmark=pope", "--json"]
    found = []
    for devices in ("1", "2"):
        output = tmp_path / devices
        own = [
            f"--root={root}",
            f"--output={output}",
            f"--devices={devices}",
            "--accelerator=cpu",
            "--batch_size=2",
            SHORT,
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, *own], check=True, capture_output=True, text=True, env=environment)
        [folder] = output.glob("one-*")
        found.append((json.loads(done.stdout)["columns"], _stored(folder, "adapter"), _stored(folder, "other_medium")))
    assert found[0] == found[1]
