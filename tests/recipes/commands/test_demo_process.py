"""`inlay demo` and `inlay space` as processes: arguments, the page, an answer, and the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from serve_client import Served, png, shown

from inlay.recipes import cli
from inlay.recipes.commands import demo
from inlay.recipes.systems import llava
from inlay.recipes.systems.load_backbone import miniature_backbone


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained LLaVA on the miniature, with held-out data beside it."""
    run = tmp_path_factory.mktemp("runs") / "mine"
    llava.recipe().adapter(miniature_backbone(), "mine").save_pretrained(run / "bundle")
    return run


@contextmanager
def running(command: list[str], folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Served]:
    env = dict(os.environ) | dict(more or {})
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"http://[^ ]*", line)
            assert found, line
            yield Served(None, found[0].replace("0.0.0.0", "127.0.0.1").rstrip("/"))  # noqa: S104
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    assert process.returncode == 0


def question(picture: Any, model: str) -> dict[str, Any]:
    return {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": shown(picture)}]}


@pytest.mark.slow
def test_the_page_of_a_run_answers_and_control_c_ends_it(bundle: Path, tmp_path: Path, image_of: Any) -> None:
    pytest.importorskip("fastapi", reason="needs inlay[demo]")
    with running([sys.executable, "-m", "inlay.recipes.cli", "demo", str(bundle), "--port", "0"], tmp_path) as page:
        assert b"<html" in page.call("/").body
        assert page.call("/about").json["adapters"][0]["id"] == "mine"
        answered = page.call("/v1/chat/completions", question(image_of(1), "mine"))
    assert answered.status == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "an API key is required"),  # noqa: S104
        (["--limits.parts", "-1"], "parts: expected 0 or more"),
        (["--allow_host", "https://demo.example.org"], "allow_host: expected a name without https://"),
        (["--allow_host", "*"], "allow_host: expected a name without https://"),
        (["--allow_frame", "huggingface.co"], "allow_frame: expected an address such as https://huggingface.co"),
        (["--allow_frame", "https://a.example; script-src *"], "allow_frame: expected an address"),
        (["--examples", "nowhere"], "examples: expected a folder with examples.json"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert cli.main(["demo", "nowhere", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_it_listens_on_this_machine_alone_and_asks_for_no_key_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(demo, "run_server", lambda parsed, *_, **__: seen.append(parsed) or 0)
    assert demo.main(["nowhere"]) == 0
    assert (seen[0].host, seen[0].port, seen[0].public, seen[0].allow_urls) == ("127.0.0.1", 7860, False, False)


def test_a_taken_port_is_told_before_a_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert cli.main(["demo", ".", "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err


@pytest.fixture
def space(bundle: Path, tmp_path: Path, image_of: Any) -> Path:
    data = bundle / "data" / "images"
    data.mkdir(parents=True, exist_ok=True)
    (data / "1.png").write_bytes(png(image_of(1)))
    turns = [{"from": "human", "value": "<image>\nwhat is shown?"}, {"from": "gpt", "value": "a star"}]
    (data.parent / "test.json").write_text(json.dumps([{"id": "7", "image": "1.png", "conversations": turns}]))
    (bundle / "config.yaml").write_text("{}\n")
    assert cli.main(["space", str(bundle), "--output", str(tmp_path / "space"), "--title", "Mine: a demo"]) == 0
    return tmp_path / "space"


def test_the_front_matter_of_a_space_names_the_sdk_and_the_port(space: Path) -> None:
    front = yaml.safe_load((space / "README.md").read_text().split("---\n")[1])
    assert (front["sdk"], front["app_port"], front["title"]) == ("docker", 7860, "Mine: a demo")
    assert f"EXPOSE {front['app_port']}" in (space / "Dockerfile").read_text()


def test_a_space_installs_torch_for_its_hardware(space: Path, bundle: Path, tmp_path: Path) -> None:
    index, package = (space / "requirements.txt").read_text().splitlines()
    assert index == "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert package.startswith("inlay[demo]")
    assert cli.main(["space", str(bundle), "--output", str(tmp_path / "gpu"), "--device", "cuda"]) == 0
    assert (tmp_path / "gpu" / "requirements.txt").read_text().startswith("inlay[demo]")


@pytest.mark.slow
def test_a_space_starts_as_its_dockerfile_starts_it(space: Path, image_of: Any) -> None:
    """From a folder without the run; the proxy of the Hub passes the host name of the Space on."""
    pytest.importorskip("fastapi", reason="needs inlay[demo]")
    (command,) = re.findall(r"^CMD (\[.*\])$", (space / "Dockerfile").read_text(), flags=re.MULTILINE)
    program, *arguments = json.loads(command)
    assert program == "python"
    with running([sys.executable, *arguments], space, {"PORT": "0", "SPACE_HOST": "me-mine.hf.space"}) as page:
        proxied = {"Host": "me-mine.hf.space", "Origin": "https://me-mine.hf.space"}
        shown_page = page.call("/", Host="me-mine.hf.space")
        assert "frame-ancestors https://huggingface.co" in shown_page.headers["content-security-policy"]
        (example,) = page.call("/about", Host="me-mine.hf.space").json["examples"]
        assert page.call(example["media"][0]["url"]).body[:4] == b"\x89PNG"
        asked = question(image_of(1), "mine")
        assert page.call("/v1/chat/completions", asked, **proxied).status == 200
        assert page.call("/v1/chat/completions", asked, Origin="https://evil.example").status == 403


@pytest.mark.slow  # another start of a whole server
def test_a_space_with_a_secret_asks_for_it(space: Path) -> None:
    pytest.importorskip("fastapi", reason="needs inlay[demo]")
    secret = {"PORT": "0", "INLAY_API_KEY": "a-key-of-sixteen-characters"}
    with running([sys.executable, "app.py"], space, secret) as page:
        assert page.call("/about").status == 401
        assert b"password" in page.call("/login").body


def test_a_space_whose_requirement_is_cloned_has_git(space: Path, bundle: Path, tmp_path: Path) -> None:
    cloned = ["--output", str(tmp_path / "cloned"), "--requirement", "inlay[demo] @ git+https://example.org/inlay.git"]
    assert cli.main(["space", str(bundle), *cloned]) == 0
    assert " git " in (tmp_path / "cloned" / "Dockerfile").read_text()
    assert " git " not in (space / "Dockerfile").read_text()


def test_a_folder_that_exists_is_not_touched(bundle: Path, space: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in space.rglob("*") if path.is_file()}
    assert cli.main(["space", str(bundle), "--output", str(space)]) == 2
    assert "already exists; choose another folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in space.rglob("*") if path.is_file()} == before


def test_a_model_that_a_space_cannot_download_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bundle: Path
) -> None:
    text = (bundle / "bundle" / "inlay.json").read_text().replace("inlay-miniature/clip", "my-folder")
    (tmp_path / "other").mkdir()
    for path in (bundle / "bundle").rglob("*"):
        if path.is_file():
            target = tmp_path / "other" / path.relative_to(bundle / "bundle")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    (tmp_path / "other" / "inlay.json").write_text(text)
    output = ["--output", str(tmp_path / "space")]
    assert cli.main(["space", str(tmp_path / "other"), *output]) == 2
    assert "name the model on the Hub: --backbone.image OWNER/NAME" in capsys.readouterr().err
    assert cli.main(["space", str(tmp_path / "other"), *output, "--backbone.image", "openai/clip"]) == 0
    assert "--backbone.image=openai/clip" in (tmp_path / "space" / "app.py").read_text()
