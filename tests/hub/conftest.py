"""What the tests of the bundle share: a small honest bundle, and the tools to spoil its files."""

from __future__ import annotations

import hashlib
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_emulator import Hub, Repo

from inlay.hub import Bundle, LayoutSpec, LoraFolder, LoraSpec, Manifest, PartSpec, PortSpec

DIGEST = "sha256:" + "0" * 64


def _bundle(value: float = 0.5, *, dtype: torch.dtype = torch.bfloat16, lora: bool = True) -> Bundle:
    named: Any = str(dtype).removeprefix("torch.")
    tensors = {
        "inputs.image.linear.weight": torch.full((6, 4), value, dtype=dtype),
        "inputs.image.linear.bias": torch.arange(6).to(dtype),
    }
    parts = {"inputs.image": PartSpec(kind="linear", config={"bias": True}, parameters=30, dtype=named)}
    folder = None
    if lora:
        spec = LoraSpec(r=2, alpha=4, targets=("q_proj", "v_proj"), base_model="lmsys/vicuna-7b-v1.5")
        prefix = "base_model.model.model.layers.0.self_attn"
        weights = {}
        for module in spec.targets:
            weights[f"{prefix}.{module}.lora_A.weight"] = torch.full((2, 6), value, dtype=dtype)
            weights[f"{prefix}.{module}.lora_B.weight"] = torch.full((6, 2), -value, dtype=dtype)
        folder = LoraFolder(spec, weights)
        parts["lora"] = PartSpec(kind="lora", parameters=48, dtype=named)
    manifest = Manifest(
        system="llava",
        name="a small adapter",
        interface={
            "llm": PortSpec(kind="llm", family="llama", width=6, source="lmsys/vicuna-7b-v1.5", weights=DIGEST),
            "image": PortSpec(
                kind="encoder", family="clip", width=4, tokens=16, weights=DIGEST, settings={"layer": -2}
            ),
        },
        layout=LayoutSpec(template="vicuna_v1", geometry={"image": "pad"}, stop=("</s>",)),
        parts=parts,
    )
    return Bundle(manifest, tensors, folder)


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Bundle]:
    return _bundle


@pytest.fixture
def bundle() -> Bundle:
    return _bundle()


@pytest.fixture
def folder(tmp_path: Path, bundle: Bundle) -> Path:
    """An honest bundle on disk, alone in its parent folder."""
    target = tmp_path / "home" / "bundle"
    bundle.write(target)
    return target


@pytest.fixture(scope="session")
def reseal() -> Callable[..., None]:
    """Change a bundle as its own author could: new content, true hashes, so that the checks behind the hash are met."""

    def change(folder: Path, files: dict[str, bytes]) -> None:
        path = folder / "inlay.json"
        raw = json.loads(path.read_bytes())
        entries = {entry["path"]: entry for entry in raw["files"]}
        for name, data in files.items():
            (folder / name).write_bytes(data)
            entries[name] |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        path.write_text(json.dumps(raw))

    return change


@pytest.fixture(scope="session")
def safetensors_bytes() -> Callable[..., bytes]:
    """A safetensors file put together by hand from any header and any data."""

    def build(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    return build


@pytest.fixture(scope="session")
def equal() -> Callable[[Bundle, Bundle], bool]:
    """Whether two bundles hold the same, bit for bit; the list of files aside."""

    def compare(one: Bundle, two: Bundle) -> bool:
        def tensors(bundle: Bundle) -> dict[str, torch.Tensor]:
            return {**bundle.tensors, **(bundle.lora.tensors if bundle.lora else {})}

        first, second = tensors(one), tensors(two)
        return (
            one.manifest.model_copy(update={"files": ()}) == two.manifest.model_copy(update={"files": ()})
            and (one.lora.spec if one.lora else None) == (two.lora.spec if two.lora else None)
            and first.keys() == second.keys()
            and all(first[k].dtype == second[k].dtype and torch.equal(first[k], second[k]) for k in first)
        )

    return compare


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder."""
    return _contents


@pytest.fixture
def publish(hub: Hub, make_bundle: Callable[..., Bundle], tmp_path: Path) -> Callable[..., str]:
    """Put a bundle of a value, and what else is given, into ``me/x`` as one commit; returns the commit."""

    def put(value: float = 0.5, ref: str = "main", repo_id: str = "me/x", **more: bytes | None) -> str:
        make_bundle(value).write(tmp_path / "published", overwrite=True)
        files = _contents(tmp_path / "published") | {name: data for name, data in more.items() if data is not None}
        files = {name: data for name, data in files.items() if name not in more or more[name] is not None}
        return hub.repos.setdefault(repo_id, Repo()).commit(files, ref=ref)

    return put


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, nobody waits longer than a moment: the client waits seconds before each further try."""
    real = time.sleep
    return lambda: monkeypatch.setattr(time, "sleep", lambda seconds: real(min(seconds, 0.01)))
