"""The command line as a person meets it: help, exit status, and errors that say what to do."""

from __future__ import annotations

import errno
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_runs import run, untrained_llava
from terminal_streams import as_terminal

from inlay.recipes import cli
from inlay.recipes.cli import COMMANDS, main
from inlay.recipes.commands.bundles import inspect as inspect_command


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_llava(tmp_path_factory.mktemp("runs") / "llava")


@pytest.fixture
def picture(trained: Path) -> Path:
    return next(iter(sorted((trained / "data" / "images").iterdir())))


def test_help_lists_every_command(capsys: Any) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert all(f"  {name}" in out for name in COMMANDS)


def test_no_command_is_wrong_usage_and_shows_three_commands(capsys: Any) -> None:
    status, out, err = run(capsys)
    assert status == 2
    assert [line.split()[1] for line in out.splitlines() if line.startswith("  inlay ")] == ["train", "chat", "doctor"]
    assert len(out.splitlines()) < 10
    assert err == ""


def test_unknown_command_names_those_that_exist(capsys: Any) -> None:
    status, _, err = run(capsys, "fly")
    assert status == 2
    assert f"expected one of {', '.join(COMMANDS)}" in err


def test_a_mistyped_command_is_recognised(capsys: Any) -> None:
    assert run(capsys, "evalute")[2].endswith("; did you mean evaluate?\n")


def test_picture_says_that_it_was_renamed(capsys: Any) -> None:
    expected = (2, "", "inlay: picture: this command was renamed; use `inlay plot`\n")
    assert run(capsys, "picture", "runs/x") == expected


def test_an_error_on_a_terminal_is_a_panel_with_the_same_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stream = as_terminal(monkeypatch, "stderr", columns=200)
    assert main(["plot", str(tmp_path)]) == 2
    lines = [line.strip("│ ") for line in stream.text.splitlines()]
    assert lines[0].startswith("╭─ inlay plot ─")
    assert lines[1:4] == [
        str(tmp_path),
        "expected a finished run (with metrics.json)",
        "How to mend it: train one with `inlay train`",
    ]


def test_a_wrong_option_on_a_terminal_is_a_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = as_terminal(monkeypatch, "stderr", columns=200)
    with pytest.raises(SystemExit) as stopped:
        main(["config", "llava", "--sede", "3"])
    assert stopped.value.code == 2
    assert "did you mean --seed?" in stream.text
    assert "all options: inlay config llava --help" in stream.text


@pytest.mark.parametrize(("given", "meant"), [("lava", "llava"), ("blip", "blip2")])
def test_a_misspelt_system_is_answered_with_the_near_name(capsys: Any, given: str, meant: str) -> None:
    status, _, err = run(capsys, "train", given)
    assert status == 2
    assert f"did you mean {meant}?" in err


@pytest.mark.parametrize("command", ["train", "check", "config"])
def test_help_of_a_system_begins_with_a_short_usage_and_the_other_systems(capsys: Any, command: str) -> None:
    status, out, _ = run(capsys, command, "llava", "--help")
    assert status == 0
    begin = " ".join("\n".join(out.splitlines()[:8]).split())
    assert begin.startswith(f"usage: inlay {command} llava [--OPTION VALUE ...] inlay {command} FILE.yaml")
    assert "the others: compact, blip2" in begin


def test_version_is_printed(capsys: Any) -> None:
    assert run(capsys, "--version")[:2] == (0, f"inlay {version('inlay')}\n")


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_explains_itself(capsys: Any, command: str) -> None:
    status, out, _ = run(capsys, command, "--help")
    assert status == 0
    assert f"usage: inlay {command}" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "llava", "--nope", "3"], "inlay train llava: --nope: unknown option"),
        (["train", "llava", "--stages.align.lr.lora", "x"], "--stages.align.lr.lora: expected a learning rate, got x"),
        (["train", "llava", "--stages.align.epoch", "1"], "did you mean --stages.align.epochs?"),
        (["train", "llava", "--lora.rr", "3"], "--lora.rr: unknown option"),
        (["train", "llava", "--precision", "fp17"], "--precision: expected one of '32-true', 'bf16-mixed'"),
        (
            ["train", "llava", "--backbone.quantise", "nf3"],
            "--backbone.quantise: expected one of 'nf4', 'int8', got nf3",
        ),
        (["train", "llava", "--stages.align.lr.lroa", "1e-4"], "no part is called lroa; expected inputs, outputs"),
        (["train"], "expected a system (llava, compact, blip2"),
        (["chat"], "the following arguments are required: bundle"),
        (["chat", ".", "--max_new_tokens", "0"], "max_new_tokens: expected at least 1, got 0"),
        (["chat", ".", "--question", " "], "question: expected text, got an empty question"),
        (["chat", ".", "--save", __file__], "save: expected a folder, got the file"),
        (["quantise", ".", "."], ".: already exists; choose another folder, or use --overwrite"),
        (["gallery", ".", "--output", "."], "contains files that are not a gallery"),
    ],
)
def test_a_wrong_argument_is_said_without_all_the_right_ones(capsys: Any, arguments: list[str], said: str) -> None:
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert said in err
    assert len(err.splitlines()) <= 3


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["train", "blip2"], "the annotations of the training questions"),
        (["evaluate"], "Number of beams in beam search"),
        (["chat"], "Hub id or folder of the LLM"),
    ],
)
def test_every_field_is_explained_by_its_own_line(capsys: Any, command: list[str], told: str) -> None:
    status, out, _ = run(capsys, *command, "--help")
    assert status == 0
    assert told in " ".join(out.split())


def test_config_shows_every_setting_and_can_be_read_back(capsys: Any, tmp_path: Path) -> None:
    status, out, _ = run(capsys, "config", "llava", "--stages.instruct.lr.lora", "0.5")
    assert status == 0
    assert "lora: 0.5" in out
    (tmp_path / "run.yaml").write_text(out)
    again = run(capsys, "config", str(tmp_path / "run.yaml"))
    assert again[:2] == (0, out)


def test_full_size_is_the_default_with_a_backbone_of_ones_own(capsys: Any) -> None:
    arguments = ["--backbone.llm", "a/b", "--backbone.image", "c/d"]
    status, out, _ = run(capsys, "config", "llava", *arguments)
    assert status == 0
    assert "size: full" in out
    assert "r: 128" in out


@pytest.mark.parametrize("system", ["compact", "blip2", "instructblip", "minigpt4"])
@pytest.mark.parametrize("size", ["miniature", "full"])
def test_config_of_every_system_can_be_read_back(capsys: Any, tmp_path: Path, system: str, size: str) -> None:
    arguments = ["--size", size, "--projector_options", "{}", "--data.mix", "[a.json, b.json]"]
    status, out, _ = run(capsys, "config", system, *arguments)
    assert status == 0
    (tmp_path / "run.yaml").write_text(out)
    again = run(capsys, "config", str(tmp_path / "run.yaml"))
    assert again[:2] == (0, out)


def test_settings_of_an_objective_can_be_overridden(capsys: Any) -> None:
    arguments = ["--stages.represent.objective.lm", "0.5", "--stages.vqa.samples.answers", "sampled"]
    status, out, _ = run(capsys, "config", "blip2", *arguments)
    assert status == 0
    assert "lm: 0.5" in out
    assert "answers: sampled" in out


def test_miniature_that_is_not_there_is_said_before_data_are_made(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inlay.recipes.miniature.shipped_backbones.FOLDER", tmp_path / "package" / "backbones")
    status, _, err = run(capsys, "train", "blip2", "--output", str(tmp_path / "run"))
    assert status == 2
    assert "the miniature 'opt' is not part of this package" in err
    assert not (tmp_path / "run" / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "alpaca"],
            "expected a system (llava, compact, blip2, instructblip, minigpt4, nextgpt, modaverse, align) or a "
            "YAML file, got",
        ),
        (["train", "llava", "--backbone.llm", "a/b"], "--backbone.llm needs --backbone.image too"),
        (["train", "llava", "--backbone.image", "c/d"], "--backbone.llm inlay-miniature/llama names the embedded one"),
        (["train", "blip2", "--backbone.image", "c/d"], "--backbone.llm inlay-miniature/opt names the embedded one"),
        (["train", "llava", "--backbone.llm", "a/b", "--backbone.image", "c/d"], "--data.train is needed"),
        (["train", "llava", "--version", "3"], "version: expected one of 1.5, 1.0, got '3'"),
        (["train", "blip2", "--version=vicuna"], "version: expected one of opt, t5, pformer, got 'vicuna'"),
        (["train", "blip2", "--size", "huge"], "size: expected one of miniature, full"),
        (["train", "blip2", "--projector_options", "{depth: 2}"], "qformer: there is no field depth; expected"),
        (["train", "blip2", "--stages.generate.objective", "guess"], "objective"),
        (["train", "llava", "--data.annotations", "a.json"], "--data.annotations needs its questions"),
        (["train", "llava", "--data.test_annotations", "a.json"], "--data.test_annotations needs its questions"),
        (
            ["train", "llava", "--data.align", "a.json", "--data.mix", "[b.json]"],
            "align, mix: these files need --data.train",
        ),
        (["train", "llava", "--data.shuffle=-1"], "shuffle, workers and cache_mib >= 0"),
        (["train", "llava", "--projector", "cube"], "projector: expected one of linear, mlp"),
        (["train", "llava", "--stages.align.batch_size", "0"], "batch_size"),
        (["train", "llava", "--lora.r", "5000"], "1 to 1024"),
        (["train", "llava", "--data.train", "missing.json"], "missing.json"),
        (["evaluate", "missing"], "missing"),
        (["evaluate", ".", "--num_beams=0"], "num_beams: expected a number from 1"),
        (["evaluate", ".", "--rank=yes"], "two or more different answers"),
        (["evaluate", ".", "--metric=taste"], "metric"),
        (["inspect", "missing"], "missing"),
        (["chat", "missing", "--question", "hello"], "missing"),
        (["plot", "missing"], "finished run"),
        (["picture", "missing"], "was renamed; use `inlay plot`"),
    ],
)
def test_wrong_input_is_status_2_and_one_clear_line(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err


def test_existing_output_is_not_touched(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    status, _, err = run(capsys, "train", "llava", "--output", str(tmp_path))
    assert status == 2
    assert "exists already" in err
    status, _, err = run(capsys, "train", "llava", "--output", str(tmp_path), "--overwrite", "true")
    assert status == 2
    assert "it is not a run folder" in err
    assert (tmp_path / "mine").read_text() == "precious"


def test_yaml_that_is_no_mapping_is_refused(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- 1\n")
    (tmp_path / "b.yaml").write_text("system: !!python/object/apply:os.system ['touch pwned']\n")
    assert "expected a mapping" in run(capsys, "train", str(tmp_path / "a.yaml"))[2]
    assert "cannot be read as YAML" in run(capsys, "train", str(tmp_path / "b.yaml"))[2]


def test_inspect_shows_parts_interface_and_size(capsys: Any, trained: Path) -> None:
    status, out, _ = run(capsys, "inspect", str(trained))
    assert status == 0
    assert "intact" in out
    assert "inlay-miniature/llama" in out
    status, out, _ = run(capsys, "inspect", str(trained), "--json")
    facts = json.loads(out)
    assert facts["bytes"] == sum(path.stat().st_size for path in (trained / "bundle").rglob("*") if path.is_file())
    assert set(facts["parts"]) == {"inputs.image", "lora"}
    training = {"recipe": "llava", "stages": ["align"], "seed": 0, "data": "own", "metrics": {}, "versions": {}}
    assert "\nmeasured  nothing\n" in inspect_command._text(facts | {"training": training}, tensors=False)


def test_inspect_of_a_damaged_bundle_names_the_file(capsys: Any, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "bundle", tmp_path / "copy")
    data = bytearray((tmp_path / "copy" / "adapter.safetensors").read_bytes())
    data[-7] ^= 1
    (tmp_path / "copy" / "adapter.safetensors").write_bytes(bytes(data))
    status, _, err = run(capsys, "inspect", str(tmp_path / "copy"))
    assert status == 2
    assert "adapter.safetensors" in err


def test_chat_answers_once(capsys: Any, trained: Path, picture: Path) -> None:
    status, out, _ = run(
        capsys, "chat", str(trained), "--image", str(picture), "--question", "what is shown?", "--max_new_tokens", "4"
    )
    assert status == 0
    assert len(out.splitlines()) == 1


def test_chat_reads_lines_until_the_end_of_input(
    capsys: Any, trained: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(
        [f"/image {picture}", "what is shown?", "/image nowhere.png", "/reset", "/what", "hello.", "/quit", "never"]
    )
    monkeypatch.setattr("builtins.input", lambda *_: next(lines))
    status, out, _ = run(capsys, "chat", str(trained), "--max_new_tokens", "4")
    assert status == 0
    assert f"(added {picture.name})" in out
    assert "! nowhere.png" in out
    assert "(new conversation)" in out
    assert next(lines) == "never"


def test_chat_with_a_picture_that_is_none_is_status_2(capsys: Any, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "fake.png").write_text("not a picture")
    status, _, err = run(capsys, "chat", str(trained), "--image", str(tmp_path / "fake.png"), "--question", "what?")
    assert status == 2
    assert "fake.png" in err


def test_evaluate_prints_the_three_columns(capsys: Any, trained: Path) -> None:
    status, out, _ = run(capsys, "evaluate", str(trained))
    assert status == 0
    assert out.splitlines()[1].split() == ["type", "questions", "adapter", "blind", "oracle"]
    status, out, _ = run(capsys, "evaluate", str(trained), "--json")
    assert set(json.loads(out)) == {"adapter", "blind", "oracle", "metric", "cut"}


def test_a_run_that_could_not_start_leaves_no_folder_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = [f"--backbone.llm={tmp_path}", f"--backbone.image={tmp_path}", "--size=miniature"]
    data = [f"--data.{name}={tmp_path / 'nosuch.json'}" for name in ("align", "train", "test")]
    assert main(["train", "llava", f"--output={tmp_path / 'run'}", *models, *data]) == 2
    assert "nosuch.json" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_unfinished_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert main(["inspect", str(tmp_path / "run")]) == 2
    assert "not finished" in capsys.readouterr().err


def test_a_folder_that_is_no_bundle_is_not_tidied_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.md").write_text("mine")
    assert main(["inspect", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "without inlay.json" in said
    assert "move" not in said


@pytest.mark.parametrize(
    ("command", "told"),
    [("train", "run the same command again, with --resume true"), ("evaluate", "again\n"), ("pairs", "again\n")],
)
@pytest.mark.parametrize("stopped", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_stopped_command_says_how_it_goes_on(
    command: str, told: str, stopped: BaseException, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object) -> int:
        raise stopped

    monkeypatch.setattr(cli, "import_module", lambda _: SimpleNamespace(main=stop))
    assert main([command, "x"]) == (130 if isinstance(stopped, KeyboardInterrupt) else 1)
    said = capsys.readouterr().err
    assert told in said
    assert ("--resume" in said) == (command == "train")
