"""Every data format of the BLIP family through a real `inlay train`, and every way of `inlay evaluate` on it."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.recipes.cli import main
from inlay.recipes.commands.export_vqa import export_vqa

pytestmark = pytest.mark.slow

SIZES = {"queries": 4, "hidden": 16, "layers": 2, "heads": 2, "ffn": 24}


def inlay(*arguments: Any, status: int = 0) -> str:
    """Run a real process; its output, or its errors where it is to fail."""
    command = [sys.executable, "-m", "inlay.recipes.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done.stderr[-2000:]
    return done.stderr if status else done.stdout


def steps(*names: str) -> list[str]:
    few = [f"--stages.{name}.{field}" for name in names for field in ("max_steps=2", "batch_size=4")]
    # The miniature's BERT is larger than these models.
    return few + ["--stages.represent.objective.bert="] * ("represent" in names)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures with every format about them."""
    root = tmp_path_factory.mktemp("formats")
    export_vqa(root, 0, scenes=8, test_scenes=7, digits=2, test_digits=2)
    captions = json.loads((root / "captions_train.json").read_text())
    texts = [note["caption"] for note in captions["annotations"]]
    names = [picture["file_name"] for picture in captions["images"]]
    told = list(zip(names, texts, strict=True))
    pairs = [{"image": name, "text": text} for name, text in told]
    (root / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    triples = [{"image": name, "text_input": "what is shown?", "text_output": text} for name, text in told]
    (root / "triples.json").write_text(json.dumps(triples))
    notes = [{"image_id": name.removesuffix(".png"), "caption": text} for name, text in told]
    (root / "filter_cap.json").write_text(json.dumps({"annotations": notes}))
    (root / "image").mkdir()
    for name in names:
        shutil.copy(root / "images" / name, root / "image" / f"{name.removesuffix('.png')}.jpg")
    for shard in range(2):
        with tarfile.open(root / f"{shard}.tar", "w") as archive:
            for name, text in told[shard::2]:
                add(archive, name, (root / "images" / name).read_bytes())
                add(archive, f"{name.removesuffix('.png')}.txt", text.encode())
    question = {"image": "11.png", "text": "is there a red circle?"}
    pope = [{"question_id": number, "label": label, **question} for number, label in enumerate(["yes", "no"])]
    (root / "pope.jsonl").write_text("".join(json.dumps(line) + "\n" for line in pope))
    return root


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def models(folders: dict[str, Path], llm: str) -> list[str]:
    return [f"--backbone.llm={folders[llm]}", f"--backbone.image={folders['eva']}"]


VQA = ("questions_val.json", "annotations_val.json")


def held_out(data: Path) -> list[str]:
    return [
        f"--data.test={data / VQA[0]}",
        f"--data.test_annotations={data / VQA[1]}",
        f"--data.images={data / 'images'}",
    ]


@pytest.fixture(scope="module")
def blip2(folders: dict[str, Path], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of BLIP-2 on COCO captions and VQA v2."""
    run = tmp_path_factory.mktemp("runs") / "blip2"
    inlay(
        *("train", "blip2", "--size=miniature", f"--output={run}", "--accelerator=cpu", *models(folders, "opt")),
        *(f"--backbone.prompt={folders['bert']}", f"--projector_options={json.dumps(SIZES)}"),
        *(f"--data.align={data / 'captions_train.json'}", f"--data.align_test={data / 'captions_val.json'}"),
        *(f"--data.train={data / 'questions_train.json'}", f"--data.annotations={data / 'annotations_train.json'}"),
        *(*held_out(data), "--stages.vqa.samples.answers=sampled", *steps("represent", "generate", "vqa")),
    )
    return run


def test_blip2_learns_from_coco_captions_and_the_two_files_of_vqa(blip2: Path) -> None:
    figures = json.loads((blip2 / "metrics.json").read_text())
    assert set(figures["samples_per_second"]) == {"represent", "generate", "vqa"}
    assert set(figures["by_type"]) <= {"yes/no", "number", "other"}
    assert set(figures["stages"]) == {"represent", "generate"}
    training = json.loads((blip2 / "bundle" / "inlay.json").read_text())["training"]
    assert training["data"].startswith("questions_train.json (represent: 10 rows, generate: 10 rows, vqa: ")


def test_instructblip_learns_from_pairs_and_triples(folders: dict[str, Path], data: Path, tmp_path: Path) -> None:
    sizes = {**SIZES, "text_positions": 64, "prompt_tokens": 16}
    out = inlay(
        *("train", "instructblip", "--size=miniature", f"--output={tmp_path / 'run'}", *models(folders, "llama")),
        *(f"--backbone.prompt={folders['bert']}", f"--projector_options={json.dumps(sizes)}", "--accelerator=cpu"),
        *(f"--data.align={data / 'pairs.jsonl'}", f"--data.train={data / 'triples.json'}"),
        *(f"--data.images={data / 'images'}", *steps("represent", "generate", "instruct")),
    )
    assert "stage instruct: 20 samples" in out


def test_minigpt4_streams_shards_and_learns_from_filter_cap(
    folders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = [
        *("train", "minigpt4", "--version=llama2", "--size=miniature", f"--output={run}", "--accelerator=cpu"),
        *(*models(folders, "llama"), "--data.align=" + str(data / "{0..1}.tar"), "--data.workers=1"),
        *(f"--data.train={data / 'filter_cap.json'}", f"--data.images={data / 'image'}"),
    ]
    told = inlay(*arguments, status=2)
    assert "stage pretrain: a stream has no end" in told
    assert "--stages.pretrain.max_steps" in told
    out = inlay(*arguments, "--overwrite=true", *steps("pretrain", "finetune"))
    assert "stage pretrain: 2 shard(s) as a stream, 2 steps of 4" in out
    training = json.loads((run / "bundle" / "inlay.json").read_text())["training"]
    assert training["data"] == "filter_cap.json (pretrain: 2 shards, finetune: 10 rows)"


def run_evaluate(capsys: Any, *arguments: Any, status: int = 0) -> str:
    """The output, or the errors where it is to fail."""
    assert main(["evaluate", *map(str, arguments)]) == status
    captured = capsys.readouterr()
    return str(captured.err if status else captured.out)


@pytest.fixture
def asked(blip2: Path, folders: dict[str, Path], data: Path) -> list[str]:
    return [str(blip2), *models(folders, "opt"), f"--data.images={data / 'images'}"]


def test_vqa_is_broken_down_by_answer_type_and_written_for_the_server(
    blip2: Path, folders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results.json"
    beams = ["--num_beams=2", "--length_penalty=-1", "--min_new_tokens=1", "--max_new_tokens=3"]
    out = inlay("evaluate", blip2, *models(folders, "opt"), *held_out(data), *beams, f"--results={results}", "--json")
    assert set(json.loads(out)["adapter"]["by_type"]) == {"yes/no", "number", "other"}
    rows = json.loads(results.read_text())
    questions = json.loads((data / VQA[0]).read_text())["questions"]
    assert {row["question_id"] for row in rows} == {item["question_id"] for item in questions}


def test_evaluate_finds_the_accuracy_that_training_found(
    capsys: Any, asked: list[str], blip2: Path, data: Path
) -> None:
    out = run_evaluate(capsys, *asked, *held_out(data), "--json")
    figures = json.loads((blip2 / "metrics.json").read_text())
    assert json.loads(out)["adapter"]["overall"] == pytest.approx(figures["accuracy"])


def test_answers_can_be_ranked(capsys: Any, asked: list[str], data: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    (tmp_path / "answers.txt").write_text("yes\nno\n2\n\n")
    for rank in ("yes,no,2", str(tmp_path / "answers.txt")):
        run_evaluate(capsys, *asked, *held_out(data), f"--rank={rank}", f"--results={results}")
        assert {row["answer"] for row in json.loads(results.read_text())} <= {"yes", "no", "2"}


def test_questions_without_answers_give_a_results_file_alone(
    capsys: Any, asked: list[str], data: Path, tmp_path: Path
) -> None:
    test, results = f"--data.test={data / VQA[0]}", tmp_path / "results.json"
    assert "no reference answers" in run_evaluate(capsys, *asked, test, status=2)
    out = run_evaluate(capsys, *asked, test, f"--results={results}", "--decoding=published")
    assert out == "9 answers: " + str(results) + "\n"
    assert len(json.loads(results.read_text())) == 9


def test_captions_are_measured_where_nothing_is_asked(capsys: Any, asked: list[str], data: Path) -> None:
    captions = f"--data.test={data / 'captions_val.json'}"
    out = run_evaluate(capsys, *asked, captions, "--prompt=a photo of", "--repetition_penalty=1.5", "--json")
    figures = json.loads(out)
    assert set(figures) == {"adapter", "blind", "metric", "cut"}
    assert set(figures["adapter"]) == {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "cider", "rouge_l"}
    assert run_evaluate(capsys, *asked, captions).splitlines()[0] == "captions of captions_val.json, times 100"


def test_pope_is_measured_where_it_is_asked_for(capsys: Any, asked: list[str], data: Path) -> None:
    arguments = [*asked, f"--data.test={data / 'pope.jsonl'}", "--metric=pope", "--rank=yes,no"]
    figures = json.loads(run_evaluate(capsys, *arguments, "--json"))["adapter"]
    assert figures["accuracy"] == 0.5  # One question twice, answered by yes and by no.
    assert figures["unclear"] == 0.0
    told = run_evaluate(capsys, *asked, *held_out(data), "--metric=pope", status=2)
    assert "yes or no for POPE" in told


def test_other_words_around_a_question_give_other_answers(
    capsys: Any, asked: list[str], data: Path, tmp_path: Path
) -> None:
    said: list[Any] = []
    for more in (["--phrasing=as_is"], ["--prompt=USER: {} ASSISTANT:"]):
        results = tmp_path / f"{len(said)}.json"
        run_evaluate(capsys, *asked, *held_out(data), *more, f"--results={results}")
        said.append(json.loads(results.read_text()))
    assert said[0] != said[1]


def test_results_need_numbered_questions(
    capsys: Any, asked: list[str], folders: dict[str, Path], tmp_path: Path
) -> None:
    test = [f"--data.test={folders['data'] / 'test.json'}", f"--data.images={folders['data'] / 'images'}"]
    told = run_evaluate(capsys, *asked, *test, f"--results={tmp_path / 'results.json'}", status=2)
    assert "expected numbered questions as in VQA v2" in told


def broken(data: Path, tmp_path: Path, change: Any) -> list[str]:
    """VQA v2's files with a change in them."""
    questions, notes = (json.loads((data / name).read_text()) for name in VQA)
    change(questions["questions"], notes["annotations"])
    for name, document in zip(VQA, (questions, notes), strict=True):
        (tmp_path / name).write_text(json.dumps(document))
    return [f"--data.test={tmp_path / VQA[0]}", f"--data.test_annotations={tmp_path / VQA[1]}"]


def empty(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        answer["answer"] = " "


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda asked, notes: notes.pop(0), "has no annotation of this question; use files of the same split"),
        (lambda asked, notes: asked.pop(0), "has no such question; annotations without question: 1"),
        (lambda asked, notes: empty(notes[0]["answers"]), "all 10 human answers are empty"),
        (lambda asked, notes: notes[0]["answers"].pop(), "expected 10 human answers, got 9; if that is right"),
        (lambda asked, notes: notes[0]["answers"].extend(notes[0]["answers"][:1]), "expected 10 human answers, got 11"),
        (lambda asked, notes: asked.append(asked[0]), "is also the id of question 0"),
        (lambda asked, notes: [item[0].update(image_id=99) for item in (asked, notes)], "99.png: no such file"),
    ],
)
def test_bad_vqa_is_status_2_and_says_what_is_wrong(
    capsys: Any, asked: list[str], data: Path, tmp_path: Path, change: Any, told: str
) -> None:
    message = run_evaluate(capsys, *asked, *broken(data, tmp_path, change), status=2)
    assert told in message
    assert VQA[0] in message or VQA[1] in message


def damaged_shard(data: Path, path: Path) -> None:
    path.write_bytes((data / "0.tar").read_bytes()[:5000])


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (damaged_shard, "truncated: a member ends at byte"),
    ],
)
def test_bad_shards_are_status_2_and_leave_nothing_outside(
    capsys: Any, folders: dict[str, Path], data: Path, tmp_path: Path, write: Any, told: str
) -> None:
    write(data, tmp_path / "bad.tar")
    arguments = [
        *("train", "minigpt4", "--version=llama2", "--size=miniature", f"--output={tmp_path / 'run'}"),
        *(*models(folders, "llama"), f"--data.align={tmp_path / 'bad.tar'}", "--accelerator=cpu"),
        *(
            f"--data.train={data / 'filter_cap.json'}",
            f"--data.images={data / 'image'}",
            *steps("pretrain", "finetune"),
        ),
    ]
    assert main(arguments) == 2
    assert re.search(told, capsys.readouterr().err)
    assert not list(tmp_path.parent.glob("evil*"))


def late(data: Path, tmp_path: Path, **changes: Any) -> Path:
    """Questions for the last stage, one of which cannot be used."""
    rows = json.loads((data / "triples.json").read_text())
    rows[3] |= changes
    path = tmp_path / "late.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": "late.jpg"}, "AVIF or HEIC file, got one that starts with b'P6"),
        ({"image": "gone.jpg"}, "gone.jpg: no such file"),
        ({"text_output": "a disc " * 1000}, "positions (4 of them media) are more than the context of 1024"),
        ({"audio": "1.wav"}, "audio: '1.wav' would not be read"),
    ],
)
def test_what_the_last_stage_cannot_use_is_found_before_the_first(
    capsys: Any, folders: dict[str, Path], data: Path, tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    sizes = {**SIZES, "text_positions": 64, "prompt_tokens": 16}
    path, run = late(data, tmp_path, **changes), tmp_path / "run"
    Image.new("RGB", (8, 8)).save(data / "images" / "late.jpg", format="ppm")
    arguments = [
        *("train", "instructblip", "--size=miniature", f"--output={run}", *models(folders, "llama")),
        *(f"--backbone.prompt={folders['bert']}", f"--projector_options={json.dumps(sizes)}", "--accelerator=cpu"),
        *(f"--data.align={data / 'pairs.jsonl'}", f"--data.train={path}", "--evaluate=false"),
        *(f"--data.images={data / 'images'}", *steps("represent", "generate", "instruct")),
    ]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "stage represent" not in captured.out
    assert reason in captured.err
    assert [path.name for path in run.iterdir()] == ["invalid.jsonl"]
    assert json.loads((run / "invalid.jsonl").read_text())["where"] == f"{path}, item 3"
    assert main([*arguments, "--data.invalid=skip"]) == 0
    assert "left out: 1 row(s) of the data" in capsys.readouterr().out
    assert reason in json.loads((run / "invalid.jsonl").read_text())["reason"]
