"""``inlay doctor``: what it finds on a machine and for a system, without a network."""

from __future__ import annotations

import json
import socket
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.cli import main
from inlay.recipes.commands.environment import doctor, versions
from inlay.recipes.commands.environment.needs import models_of
from inlay.recipes.commands.environment.storage import caches, output_folder
from inlay.recipes.commands.environment.versions import core_versions, extras_missing, judge
from inlay.recipes.commands.train.parser import parse


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Status and facts."""
    status = main(["doctor", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_a_good_machine_is_ready(capsys: Any, tmp_path: Path) -> None:
    status, facts = asked(capsys, "llava", f"--output={tmp_path / 'run'}")
    assert facts["problems"] == []
    assert status == 0
    assert facts["verdict"].startswith("ready for llava")
    assert facts["devices"][0]["device"] == "cpu"
    assert facts["devices"][0]["total_bytes"] > facts["devices"][0]["free_bytes"] > 0
    assert facts["system"]["models"]["llm"] == {"source": "inlay-miniature/llama", "place": "package"}
    assert not (tmp_path / "run").exists()


def test_the_text_ends_with_the_verdict(capsys: Any) -> None:
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("inlay ")
    assert lines[-1].startswith(("ready for inlay", "not ready for inlay"))
    assert any(line.startswith("  Hub ") for line in lines)


def test_the_advice_on_a_data_type_follows_the_measurement() -> None:
    from inlay.recipes.commands.environment.hardware import Device

    def advice(gain: float) -> str:
        return Device("cpu", "x", 1, 1, gain).advice

    assert "--precision bf16-true" in advice(4.0)
    assert "--precision 32-true" in advice(1.1)
    assert advice(0.0).startswith("no bfloat16 instructions")


@pytest.mark.parametrize(
    ("requirement", "state"), [("pip>=1", "tested"), ("pip>=9999", "untested"), ("nosuchpackage>=1", "missing")]
)
def test_a_version_is_judged_by_its_range(requirement: str, state: str) -> None:
    assert judge(requirement).state == state


def test_the_core_packages_are_those_of_the_metadata() -> None:
    core = [line for line in requires("inlay") or [] if "extra ==" not in line]
    assert [own.name for own in core_versions()] == [
        line.split("<")[0].split(">")[0].split("!")[0]
        for line in (line.partition("[")[0] if "[" in line else line for line in core)
    ]


def test_extras_list_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "torch>=2",
        'nosuchpackage<2,>=1; extra == "audio"',
        'pip; extra == "plots"',
        'inlay[audio,plots]; extra == "demo"',
        'nosuchtool; extra == "dev"',
    ]
    monkeypatch.setattr(versions, "requires", lambda _: lines)
    assert extras_missing() == {"audio": ["nosuchpackage<2,>=1"], "demo": ["nosuchpackage<2,>=1"], "plots": []}


def test_a_system_without_its_extra_is_not_ready(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "extras_missing", lambda: {"generate": ["diffusers"], "audio": [], "video": []})
    status, facts = asked(capsys, "nextgpt")
    assert status == 1
    assert facts["problems"] == ["nextgpt needs diffusers; run pip install 'inlay[generate]'"]
    assert asked(capsys, "llava")[0] == 0


def test_a_missing_package_is_a_problem_and_an_untested_one_a_note(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "core_versions", lambda: [judge("nosuchpackage>=1"), judge("pip>=9999")])
    status, facts = asked(capsys)
    assert status == 1
    assert facts["problems"] == ["nosuchpackage: not installed; run pip install 'nosuchpackage>=1'"]
    assert facts["notes"][0].endswith("is outside the tested range >=9999")


def test_models_of_a_system_are_found_or_not(tmp_path: Path) -> None:
    (tmp_path / "cache" / "models--a--b" / "snapshots" / "0").mkdir(parents=True)
    (tmp_path / "cache" / "models--a--b" / "snapshots" / "0" / "config.json").write_text("{}")
    (tmp_path / "clip").mkdir()

    def place(llm: str, image: str) -> list[str]:
        job = parse(["llava", "--backbone.llm", llm, "--backbone.image", image]).job()
        return [model.place for model in models_of(job, tmp_path / "cache").values()]

    assert place("a/b", str(tmp_path / "clip")) == ["cache", "folder"]
    assert place("a/other", str(tmp_path / "gone")) == ["hub", "missing"]


def test_a_missing_model_is_a_problem(capsys: Any, tmp_path: Path) -> None:
    status, facts = asked(capsys, "llava", f"--backbone.llm={tmp_path}", f"--backbone.image={tmp_path / 'gone'}")
    assert status == 1
    assert facts["problems"] == [f"--backbone.image: {tmp_path / 'gone'}: no such folder; name a folder or a Hub id"]


def test_a_model_of_the_hub_is_a_problem_only_offline(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ["--backbone.llm=a/b", "--backbone.image=c/d"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "0")
    assert asked(capsys, "llava", *models)[0] == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, facts = asked(capsys, "llava", *models)
    assert status == 1
    assert len(facts["problems"]) == 2


def test_the_settings_of_a_file_are_checked(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(f"system: llava\noutput: {tmp_path / 'out'}\ndata:\n  cache_dir: {tmp_path}\n")
    facts = asked(capsys, str(tmp_path / "run.yaml"))[1]
    assert facts["output"]["path"] == str(tmp_path / "out")
    assert facts["caches"]["features"]["path"] == str(tmp_path)


def test_an_output_below_a_file_cannot_be_written(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, facts = asked(capsys, f"--output={tmp_path / 'file' / 'run'}")
    assert status == 1
    assert "cannot be written; choose another --output" in facts["problems"][0]
    assert output_folder(tmp_path / "new" / "run").writable


def test_a_cache_is_as_large_as_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "x")  # the Hub's cache has a link to each file
    assert caches(tmp_path)["features"].bytes == 5


def test_a_wrong_system_is_refused(capsys: Any) -> None:
    assert main(["doctor", "alpaca"]) == 2
    assert "expected a system (llava, compact" in capsys.readouterr().err
