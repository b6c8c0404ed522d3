"""The scripts that check any hub, against the emulator: by our own client, and by the one in JavaScript."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hub_emulator import Hub

from inlay.hub import pull, push

CLIENTS = Path(__file__).resolve().parents[1] / "clients"


@pytest.fixture
def environment(hub: Hub, tmp_path: Path) -> dict[str, str]:
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": "hf_owner",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
    }
    return {**os.environ, **settings, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@pytest.mark.parametrize("xet", ["0", "1"])
def test_the_server_agnostic_check_passes(hub: Hub, environment: dict[str, str], xet: str) -> None:
    command = [sys.executable, str(CLIENTS / "check_hub.py"), "me/inlay-check"]
    environment["HF_HUB_DISABLE_XET"] = xet
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("ok  ") == 15
    assert hub.repos == {}


@pytest.mark.javascript
def test_the_javascript_client_reads_what_we_push_and_we_what_it_commits(
    hub: Hub, folder: Path, environment: dict[str, str], contents: Any
) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (CLIENTS / "node_modules").is_dir():
        pytest.skip("@huggingface/hub is not installed: make javascript-client")
    pushed = push(folder, "me/x")
    command = ["node", str(CLIENTS / "check_hub.mjs"), "me/x"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    there = hub.repos["me/x"].commits[pushed.commit]
    assert said["files"] == {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in there.items()
    }
    assert said["header"]["inputs.image.linear.weight"]["shape"] == [6, 4]
    assert "inlay-llm-llama-6" in said["tags"]
    pulled = pull("me/x")
    assert pulled.commit == said["commit"] != pushed.commit
    assert contents(pulled.folder).keys() == contents(folder).keys()
