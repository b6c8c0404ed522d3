"""``inlay push`` and ``inlay pull``, and a Hub id in place of a folder."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_keys import write_keys

from inlay.adapters.loading.encoders.several import load_encoders
from inlay.adapters.media.modality import Modality
from inlay.hub import Bundle
from inlay.recipes.cli import main
from inlay.recipes.commands.arguments.local_models import models_here, offers_of
from inlay.recipes.miniature import BackboneName, backbone_path
from inlay.recipes.systems import llava
from inlay.recipes.systems.load_backbone import miniature_backbone


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
    assert out == f"{hub.url}/me/tiny/commit/{commit}\ncommit {commit}\ncard generated from the manifest\n"
    assert main(["pull", "me/tiny", str(tmp_path / "mine")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mine'} (commit {commit} of me/tiny)\n"
    assert (tmp_path / "mine" / "inlay.json").read_bytes() == (run_folder / "bundle" / "inlay.json").read_bytes()
    assert main(["push", str(run_folder), "me/tiny"]) == 0
    assert "no changes since commit" in capsys.readouterr().out


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
    assert "not uploaded, not part of the bundle: 'id_rsa'" in capsys.readouterr().out


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


# --- inspect, diff, verify -------------------------------------------------------------------------------------------


@pytest.fixture
def miniature_run(tmp_path: Path) -> Path:
    """A bundle with a canary, for the miniature."""
    backbone = miniature_backbone()
    adapter = llava.recipe("1.5", "miniature").adapter(backbone, "test")
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "mini")
    return tmp_path / "mini"


def test_inspect_names_the_models_here_that_may_fit(miniature_run: Path, capsys: Any) -> None:
    assert main(["inspect", str(miniature_run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["here"] == {
        "llm": ["inlay-miniature/llama"],
        "image": ["inlay-miniature/clip"],
    }
    main(["inspect", str(miniature_run), "--tensors"])
    out = capsys.readouterr().out
    assert re.search(r"^  llm +inlay-miniature/llama$", out, re.MULTILINE)
    assert "lora/adapter_model.safetensors" in out


def _model_folder(folder: Path, width: int) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": width}))
    return folder


def test_inspect_finds_the_local_models_that_the_run_was_trained_on(
    miniature_run: Path, tmp_path: Path, capsys: Any
) -> None:
    own = _model_folder(tmp_path / "models" / "own", 128)
    run = tmp_path / "run"
    run.mkdir()
    miniature_run.rename(run / "bundle")
    (run / "config.yaml").write_text(f"backbone: {{llm: {own}}}\n")
    assert main(["inspect", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["here"]["llm"] == [str(own), "inlay-miniature/llama"]


def test_inspect_compares_a_folder_that_is_named(miniature_run: Path, tmp_path: Path, capsys: Any) -> None:
    small, large = _model_folder(tmp_path / "small", 128), _model_folder(tmp_path / "large", 4096)
    assert main(["inspect", str(miniature_run), "--llm", str(small)]) == 0
    assert f"{small}: fits: llama 128; expected llama 128" in capsys.readouterr().out
    assert main(["inspect", str(miniature_run), "--llm", str(large)]) == 0
    assert f"{large}: does not fit: llama 4096; expected llama 128" in capsys.readouterr().out
    assert main(["inspect", str(miniature_run), "--llm", str(tmp_path)]) == 2
    assert f"--llm: {tmp_path}: expected a folder with the config.json of a model" in capsys.readouterr().err


def test_inspect_of_a_repository_fetches_no_tensor(hub: Any, run_folder: Path, capsys: Any) -> None:
    main(["push", str(run_folder), "me/tiny"])
    hub.seen.clear()
    assert main(["inspect", "me/tiny"]) == 0
    assert "contents are checked on pull" in capsys.readouterr().out
    assert all(seen.range for seen in hub.requests("/resolve/"))


@pytest.mark.parametrize(
    ("name", "modality"), [("clip", "image"), ("eva", "image"), ("imagebind", "image"), ("clap", "audio")]
)
def test_encoders_are_found_by_the_names_that_bundles_call_them(name: BackboneName, modality: Modality) -> None:
    port = load_encoders({modality: backbone_path(name)})[modality].port
    assert (port.family, port.width) in offers_of(backbone_path(name) / "config.json")


def test_models_in_the_cache_are_found(tmp_path: Path) -> None:
    configs: dict[str, Any] = {
        "a/vicuna": {"model_type": "llama", "hidden_size": 4096},
        "a/clip": {"model_type": "clip", "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024}},
        "a/t5": {"model_type": "t5", "d_model": 512},
        "a/blip2": {
            "model_type": "blip-2",
            "vision_config": {"model_type": "blip_2_vision_model", "hidden_size": 1408},
            "qformer_config": {"model_type": "blip_2_qformer", "hidden_size": 768},
        },
        "a/odd": ["x"],
    }
    for name, config in configs.items():
        place = tmp_path / f"models--{name.replace('/', '--')}" / "snapshots" / "c"
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps(config))
    found = models_here(tmp_path)
    assert found["a/vicuna"] == {("llama", 4096)}
    assert found["a/clip"] == {("clip_vision_model", 1024)}
    assert found["a/t5"] == {("t5", 512)}
    assert found["a/blip2"] == {("eva", 1408), ("qformer", 768)}
    assert "a/odd" not in found


def test_diff(hub: Any, run_folder: Path, backbone_of: Any, adapter_of: Any, tmp_path: Path, capsys: Any) -> None:
    main(["push", str(run_folder), "me/tiny"])
    adapter_of(backbone_of(), seed=4).save_pretrained(tmp_path / "other")
    capsys.readouterr()
    assert main(["diff", str(run_folder), "me/tiny"]) == 0
    assert capsys.readouterr().out == "the same\n"
    assert main(["diff", "me/tiny", str(tmp_path / "other")]) == 0
    out = capsys.readouterr().out
    assert "name: tiny-3 -> tiny-4" in out
    assert "relative difference" in out
    main(["diff", "me/tiny", str(tmp_path / "other"), "--json"])
    assert json.loads(capsys.readouterr().out)["same"] is False


def test_verify_runs_the_canary(miniature_run: Path, capsys: Any) -> None:
    assert main(["verify", str(miniature_run), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["backbone"] == "exact"
    assert facts["canary"].startswith("passes: difference ")
    assert main(["verify", str(miniature_run), "--files_only"]) == 0
    assert "canary" not in capsys.readouterr().out


def test_verify_tells_an_adapter_that_does_not_do_what_it_did(miniature_run: Path, capsys: Any) -> None:
    bundle = Bundle.read(miniature_run)
    assert bundle.manifest.canary is not None
    logits = tuple(value + 1 for value in bundle.manifest.canary.logits)
    canary = bundle.manifest.canary.model_copy(update={"logits": logits})
    changed = replace(bundle, manifest=bundle.manifest.model_copy(update={"canary": canary}))
    changed.write(miniature_run, overwrite=True)
    assert main(["verify", str(miniature_run)]) == 2
    assert "the adapter has another effect than when it was saved" in capsys.readouterr().err


def test_verify_tells_a_damaged_file(miniature_run: Path, capsys: Any) -> None:
    data = bytearray((miniature_run / "adapter.safetensors").read_bytes())
    data[-1] ^= 1
    (miniature_run / "adapter.safetensors").write_bytes(data)
    assert main(["verify", str(miniature_run), "--files_only"]) == 2
    assert "adapter.safetensors: its sha256 differs" in capsys.readouterr().err


def test_sign_and_verify(hub: Any, run_folder: Path, tmp_path: Path, capsys: Any) -> None:
    write_keys(tmp_path, "me")
    assert main(["sign", str(run_folder), "--key", str(tmp_path / "me.key")]) == 0
    assert main(["push", str(run_folder), "me/tiny"]) == 0
    orders = ["me/tiny --trusted KEY FOLDER", "--trusted KEY me/tiny FOLDER", "me/tiny --trusted=KEY"]
    for number, order in enumerate(orders):
        folder = tmp_path / f"copy{number}"
        words = [word.replace("KEY", str(tmp_path / "me.pub")).replace("FOLDER", str(folder)) for word in order.split()]
        assert main(["pull", *words, "--overwrite"]) == 0
        assert folder.exists() == ("FOLDER" in order)
    capsys.readouterr()
    assert main(["verify", "me/tiny", "--files_only"]) == 0
    assert "present, not checked (--trusted)" in capsys.readouterr().out
    assert main(["verify", "me/tiny", "--files_only", "--trusted", str(tmp_path / "me.pub")]) == 0
    assert f"signature  valid for {tmp_path / 'me.pub'}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["chat", "evaluate", "demo", "pull", "verify"])
def test_a_bundle_without_the_trusted_signature_is_refused_before_a_backbone_is_loaded(
    hub: Any, run_folder: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a backbone was loaded")

    monkeypatch.setattr("inlay.recipes.training.load_model.backbone_for", refuse)
    _, public = write_keys(tmp_path, "me")
    main(["push", str(run_folder), "me/tiny"])
    for bundle in ("me/tiny", str(run_folder)):
        capsys.readouterr()
        port = ["--port", "0"] if command == "demo" else []
        assert main([command, bundle, "--trusted", str(public), *port]) == 2
        assert f"not signed; expected a signature that {public} verifies" in capsys.readouterr().err
    assert main([command, "me/tiny", "--trusted", "/dev/zero"]) == 2
    assert "/dev/zero: cannot be read: expected a regular file" in capsys.readouterr().err


def test_chat_takes_a_bundle_with_the_trusted_signature(
    hub: Any, miniature_run: Path, tmp_path: Path, capsys: Any
) -> None:
    private, public = write_keys(tmp_path, "me")
    assert main(["sign", str(miniature_run), "--key", str(private)]) == 0
    main(["push", str(miniature_run), "me/mini"])
    capsys.readouterr()
    asked = ["--question", "What is shown?", "--max_new_tokens", "1"]
    assert main(["chat", "me/mini", "--trusted", str(public), *asked]) == 0


def test_search_offline_says_so_and_names_the_option_for_the_cache(
    hub: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["search"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "HF_HUB_OFFLINE is set, so no request is sent; unset it to use the hub; --cache_only lists" in captured.err
    assert main(["search", "--cache_only"]) == 0
    assert hub.seen == []


def test_search_in_a_silent_hub_ends_after_the_time_of_the_environment(tmp_path: Path) -> None:
    """Without a limit it does not end; the margin is for a busy machine."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        environment = {**os.environ, "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
        environment |= {"HF_HOME": str(tmp_path), "HF_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}"}
        command = [sys.executable, "-m", "inlay.recipes.cli", "search"]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 2
    assert "did not answer in time; try again, or raise HF_HUB_DOWNLOAD_TIMEOUT (now 1 seconds)" in run.stderr


@pytest.mark.parametrize("endpoint", ["notaurl", "hf.co"])
def test_an_endpoint_that_is_not_an_address_is_one_line(endpoint: str, capsys: Any) -> None:
    assert main(["search", "--endpoint", endpoint]) == 2
    assert f"endpoint: expected an address with https://, got '{endpoint}'" in capsys.readouterr().err


def test_search(hub: Any, miniature_run: Path, capsys: Any) -> None:
    main(["push", str(miniature_run), "me/mini"])
    main(["pull", "me/mini"])
    capsys.readouterr()
    models = ["--llm", "inlay-miniature/llama", "--image", "inlay-miniature/clip"]
    assert main(["search", *models, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(item["where"], item["repo_id"]) for item in found] == [("hub", "me/mini"), ("cache", "me/mini")]
    assert main(["search", "--cache_only"]) == 0
    assert capsys.readouterr().out.startswith("cache me/mini ")
    assert main(["search", "--llm", "inlay-miniature/clip"]) == 0
    assert capsys.readouterr().out == "none\n"
    assert main(["search", "--llm", "no/where"]) == 2
    assert (
        "--llm: no/where: expected a folder with the config.json of a model, or a model in the cache"
        in capsys.readouterr().err
    )
