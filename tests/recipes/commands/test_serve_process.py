"""`inlay serve` as a process: the arguments, the address that it prints, answers, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from serve_client import Served, png, shown

from inlay.recipes import cli
from inlay.recipes.commands import serve
from inlay.recipes.systems import llava
from inlay.recipes.systems.load_backbone import miniature_backbone
from inlay.recipes.training.load_model import load_model


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "an API key is required"),  # noqa: S104
        (["--media", "nowhere"], "media: expected a folder"),
        (["--limits.batch", "0"], "batch: expected 1 or more"),
        (["--temperature", "3"], "temperature: expected a number from 0 to 2"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert cli.main(["serve", "nowhere", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_short_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv(serve.KEY, "short")
    assert cli.main(["serve", "nowhere"]) == 2
    assert "at least 16 printable ASCII characters" in capsys.readouterr().err
    (tmp_path / "key").write_text("two words and more\n")
    assert cli.main(["serve", "nowhere", "--api_key_file", str(tmp_path / "key")]) == 2
    capsys.readouterr()
    assert cli.main(["serve", "nowhere", "--api_key_file", str(tmp_path / "none")]) == 2
    assert "api_key_file: " in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda _: None)
    assert cli.main(["serve", "nowhere"]) == 2
    assert "pip install 'inlay[serve]'" in capsys.readouterr().err


@pytest.mark.slow
def test_two_bundles_are_served_by_one_process(tmp_path: Path, image_of: Any) -> None:
    pytest.importorskip("fastapi", reason="needs inlay[serve]")
    backbone = miniature_backbone()
    for name in ("one", "two"):
        llava.recipe().adapter(backbone, name).save_pretrained(tmp_path / name)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(png(image_of(1)))
    (tmp_path / "key").write_text("a-key-of-sixteen-characters\n")
    command = [sys.executable, "-m", "inlay.recipes.cli", "serve", "one", "second=two", "--port", "0"]
    command += ["--media", "pictures", "--api_key_file", "key"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("one, second: http://127.0.0.1:"), line
            served = Served(None, line.split()[2])
            key = {"Authorization": "Bearer a-key-of-sixteen-characters"}
            assert served.call("/v1/models").status == 401
            body = {"model": "second", "max_tokens": 6, "messages": [{"role": "user", "content": shown("1.png")}]}
            answered = served.call("/v1/chat/completions", body, **key)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    content = [{"type": "image", "path": tmp_path / "pictures" / "1.png"}, {"type": "text", "text": "what is shown ?"}]
    reply = load_model(tmp_path / "two").chat([{"role": "user", "content": content}], max_new_tokens=6)
    assert answered.text == reply.text
    assert process.returncode == 0
