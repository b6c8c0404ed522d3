"""``inlay push`` and ``inlay pull``, and a Hub id in place of a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.cli import main


@pytest.fixture
def run_folder(backbone_of: Any, adapter_of: Any, tmp_path: Path) -> Path:
    """A run folder with the bundle of a tiny adapter, and what else lies in one."""
    root = tmp_path / "runs" / "tiny"
    adapter_of(backbone_of()).save_pretrained(root / "bundle")
    (root / "config.yaml").write_text("secret: 1")
    return root


def test_push_and_pull(hub: Any, run_folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["push", str(run_folder), "me/tiny", "--private", "--tag", "v1"]) == 0
    out = capsys.readouterr().out
    commit = hub.repos["me/tiny"].refs["v1"]
    assert out == f"{hub.url}/me/tiny/commit/{commit}\ncommit {commit}\ncard made from the manifest\n"
    assert main(["pull", "me/tiny", str(tmp_path / "mine")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mine'} (commit {commit} of me/tiny)\n"
    assert (tmp_path / "mine" / "inlay.json").read_bytes() == (run_folder / "bundle" / "inlay.json").read_bytes()
    assert main(["push", str(run_folder), "me/tiny"]) == 0
    assert "nothing had changed since commit" in capsys.readouterr().out


def test_json_for_scripts(hub: Any, run_folder: Path, capsys: Any) -> None:
    (run_folder / "bundle" / ".env").write_text("KEY=1")
    assert main(["push", str(run_folder), "me/tiny", "--json"]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert pushed["left_out"] == [".env"]
    assert main(["pull", "me/tiny", "--json"]) == 0
    pulled = json.loads(capsys.readouterr().out)
    assert pulled["commit"] == pushed["commit"]
    assert Path(pulled["folder"]).is_dir()


def test_what_was_not_sent_is_said(hub: Any, run_folder: Path, capsys: Any) -> None:
    (run_folder / "bundle" / "id_rsa").write_text("x")
    main(["push", str(run_folder), "me/tiny"])
    assert "not sent, as it is no part of the bundle: 'id_rsa'" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["inspect", "chat", "evaluate", "pull"])
def test_every_command_that_takes_a_bundle_asks_the_hub(hub: Any, command: str, capsys: Any) -> None:
    assert main([command, "me/none"]) == 2
    assert "me/none: no such repository" in capsys.readouterr().err
    assert hub.requests("me/none")


def test_inspect_takes_a_repository(hub: Any, run_folder: Path, capsys: Any) -> None:
    main(["push", str(run_folder), "me/tiny"])
    capsys.readouterr()
    assert main(["inspect", "me/tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny-3"


def test_trouble_is_one_line_without_the_token(
    hub: Any, run_folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "secret" * 6)
    assert main(["push", str(run_folder), "me/tiny"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("inlay push: me/tiny: the token is not valid; log in with")
    assert "secret" not in error
