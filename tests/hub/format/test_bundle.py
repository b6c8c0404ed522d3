from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from inlay.hub import Bundle, BundleError, LoraFolder, LoraSpec, PartSpec
from inlay.hub.format.files import BUNDLE_NAMES
from inlay.hub.format.tensors import serialize

Make = Callable[..., Bundle]
Equal = Callable[[Bundle, Bundle], bool]
Reseal = Callable[..., None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("lora", [True, False])
def test_round_trip(make_bundle: Make, equal: Equal, tmp_path: Path, dtype: torch.dtype, lora: bool) -> None:
    bundle = make_bundle(dtype=dtype, lora=lora)
    bundle.write(tmp_path / "x")
    assert equal(Bundle.read(tmp_path / "x"), bundle)


def test_a_folder_holds_just_the_files_of_the_format(folder: Path) -> None:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == BUNDLE_NAMES


def test_safetensors_reads_the_very_names(folder: Path, bundle: Bundle) -> None:
    assert load((folder / "adapter.safetensors").read_bytes()).keys() == bundle.tensors.keys()


def test_write_returns_the_bundle_as_it_is_read(bundle: Bundle, tmp_path: Path) -> None:
    written = bundle.write(tmp_path / "x")
    assert written.manifest == Bundle.read(tmp_path / "x").manifest
    assert [file.path for file in written.manifest.files] == sorted(BUNDLE_NAMES - {"inlay.json", "README.md"})


def test_equal_bundles_give_equal_bytes(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    Bundle.read(folder).write(tmp_path / "again")
    for name in BUNDLE_NAMES:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_bytes_is_the_size_on_disk(folder: Path) -> None:
    assert Bundle.read(folder).bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_bundle_is_two_bytes_a_parameter_and_at_most_64_kib(make_bundle: Make) -> None:
    """LLaVA 1.5 on a LLaMA of 16 layers with LoRA on all seven linears: 224 LoRA tensors."""
    small = make_bundle()
    modules = {"self_attn": "qkvo", "mlp": ("gate", "up", "down")}
    tensors = {
        f"base_model.model.model.layers.{layer}.{block}.{name}_proj.lora_{half}.weight": torch.ones(
            (8, 64) if half == "A" else (64, 8), dtype=torch.bfloat16
        )
        for layer in range(16)
        for block, names in modules.items()
        for name in names
        for half in "AB"
    }
    targets = tuple(f"{name}_proj" for names in modules.values() for name in names)
    count = sum(tensor.numel() for tensor in tensors.values())
    parts = {**small.manifest.parts, "lora": PartSpec(kind="lora", parameters=count, dtype="bfloat16")}
    lora = LoraFolder(LoraSpec(r=8, alpha=16, targets=targets), tensors)
    bundle = Bundle(small.manifest.model_copy(update={"parts": parts}), small.tensors, lora)
    assert 0 < bundle.bytes - 2 * (count + 30) <= 64 << 10


def test_writing_and_reading_open_no_socket(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    bundle.write(tmp_path / "x")
    assert Bundle.read(tmp_path / "x").lora is not None


# --- files that do not hold what the manifest says -------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(BUNDLE_NAMES - {"README.md", "inlay.json"}))
def test_one_flipped_bit_is_found(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match=r"sha256 differs") as caught:
        Bundle.read(folder)
    assert caught.value.file == name


def test_the_hash_is_checked_before_a_tensor_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("parsed before it was checked")

    monkeypatch.setattr("inlay.hub.format.bundle.parse", refuse)
    data = bytearray((folder / "adapter.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "adapter.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match=r"sha256"):
        Bundle.read(folder)


def test_a_file_that_grew_is_found(folder: Path) -> None:
    with (folder / "adapter.safetensors").open("ab") as stream:
        stream.write(b"PK\x03\x04")
    with pytest.raises(BundleError, match=r"adapter.safetensors: expected \d+ bytes, got \d+"):
        Bundle.read(folder)


@pytest.mark.parametrize("name", sorted(BUNDLE_NAMES - {"README.md", "inlay.json"}))
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=r"listed in inlay.json but missing") as caught:
        Bundle.read(folder)
    assert caught.value.file == name


def test_a_missing_lora_folder_is_found(folder: Path) -> None:
    shutil.rmtree(folder / "lora")
    with pytest.raises(BundleError, match=r"lora/adapter_config.json: is listed in inlay.json but missing"):
        Bundle.read(folder)


def test_an_unlisted_file_of_the_format_is_found(make_bundle: Make, tmp_path: Path) -> None:
    make_bundle(lora=False).write(tmp_path / "x")
    (tmp_path / "x" / "lora").mkdir()
    (tmp_path / "x" / "lora" / "adapter_config.json").write_text("{}")
    with pytest.raises(BundleError, match=r"lora/adapter_config.json: is not listed"):
        Bundle.read(tmp_path / "x")


def test_half_a_lora_folder_is_refused(folder: Path) -> None:
    raw = json.loads((folder / "inlay.json").read_bytes())
    raw["files"] = [entry for entry in raw["files"] if entry["path"] != "lora/adapter_config.json"]
    (folder / "inlay.json").write_text(json.dumps(raw))
    (folder / "lora" / "adapter_config.json").unlink()
    with pytest.raises(BundleError, match=r"both files of lora/ or none"):
        Bundle.read(folder)


def test_a_pickle_in_place_of_the_tensors_is_called_a_pickle(folder: Path) -> None:
    (folder / "adapter.safetensors").write_bytes(pickle.dumps({"weight": [1.0]}))
    with pytest.raises(BundleError, match=r"adapter.safetensors: .*a Python pickle"):
        Bundle.read(folder)


def test_a_pickle_with_a_true_hash_is_called_a_pickle(folder: Path, reseal: Reseal) -> None:
    reseal(folder, {"adapter.safetensors": pickle.dumps({"weight": [1.0]})})
    with pytest.raises(BundleError, match=r"adapter.safetensors: expected safetensors, got a Python pickle"):
        Bundle.read(folder)


def test_a_declared_size_above_the_budget_is_refused_before_reading(folder: Path) -> None:
    raw = json.loads((folder / "inlay.json").read_bytes())
    for entry in raw["files"]:
        entry["size"] = 1 << 39
    (folder / "inlay.json").write_text(json.dumps(raw))
    os.truncate(folder / "adapter.safetensors", 1 << 39)  # a file of half a terabyte that takes no space
    with pytest.raises(BundleError, match=r"inlay.json: files: expected at most 4294967296 bytes"):
        Bundle.read(folder)


def test_a_huge_sparse_file_is_refused_before_reading(folder: Path) -> None:
    os.truncate(folder / "adapter.safetensors", 1 << 39)
    with pytest.raises(BundleError, match=r"adapter.safetensors: expected at most"):
        Bundle.read(folder)


# --- tensors that are not the ones that the manifest declares --------------------------------------------------------


def _change(bundle: Bundle, **tensors: torch.Tensor | None) -> bytes:
    changed = {**bundle.tensors, **{name.replace("__", "."): value for name, value in tensors.items()}}
    return save({name: tensor for name, tensor in changed.items() if tensor is not None})


# name: (change, words that must be said)
SPOILT: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"inputs__image__linear__bias": None}, "inputs.image: expected 30 parameters .* got 24"),
    "extra": ({"inputs__image__more": torch.ones(1, dtype=torch.bfloat16)}, "expected 30 parameters .* got 31"),
    "of no part": (
        {"outputs__image__w": torch.ones(1, dtype=torch.bfloat16)},
        "outputs.image.w: belongs to none of the parts",
    ),
    "prefix without a dot": (
        {"inputs__imagery": torch.ones(1, dtype=torch.bfloat16)},
        "belongs to none of the parts",
    ),
    "other dtype": ({"inputs__image__linear__bias": torch.ones(6)}, "linear.bias: expected bfloat16 .* got float32"),
    "nan": (
        {"inputs__image__linear__bias": torch.full((6,), float("nan"), dtype=torch.bfloat16)},
        "inputs.image.linear.bias: expected finite numbers",
    ),
}


@pytest.mark.parametrize(("tensors", "told"), SPOILT.values(), ids=SPOILT)
def test_spoilt_tensors_with_true_hashes_are_found(
    folder: Path, bundle: Bundle, reseal: Reseal, tensors: dict[str, Any], told: str
) -> None:
    reseal(folder, {"adapter.safetensors": _change(bundle, **tensors)})
    with pytest.raises(BundleError, match=rf"adapter.safetensors: .*{told}"):
        Bundle.read(folder)


def test_nan_in_the_lora_is_found(folder: Path, bundle: Bundle, reseal: Reseal) -> None:
    assert bundle.lora is not None
    name = next(iter(bundle.lora.tensors))
    spoilt = {**bundle.lora.tensors, name: torch.full((2, 6), float("inf"), dtype=torch.bfloat16)}
    reseal(folder, {"lora/adapter_model.safetensors": save(spoilt)})
    with pytest.raises(BundleError, match=r"lora/adapter_model.safetensors: .*expected finite"):
        Bundle.read(folder)


def test_an_inconsistent_bundle_is_not_written(bundle: Bundle, tmp_path: Path) -> None:
    broken = replace(bundle, tensors={"inputs.image.linear.weight": torch.ones(6, 4, dtype=torch.bfloat16)})
    with pytest.raises(BundleError, match=r"got 24"):
        broken.write(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_lora_that_is_not_declared_is_not_written(bundle: Bundle, tmp_path: Path) -> None:
    parts = {"inputs.image": bundle.manifest.parts["inputs.image"]}
    broken = replace(bundle, manifest=bundle.manifest.model_copy(update={"parts": parts}))
    with pytest.raises(BundleError, match=r"has no part 'lora'"):
        broken.write(tmp_path / "x")


def test_a_declared_lora_that_is_not_there_is_not_written(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has a part 'lora' but there is no lora folder"):
        replace(bundle, lora=None).write(tmp_path / "x")


def test_an_empty_bundle_is_not_written(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"empty"):
        Bundle(bundle.manifest.model_copy(update={"parts": {}}), {}).write(tmp_path / "x")


def test_a_part_without_parameters_needs_no_tensor(make_bundle: Make, equal: Equal, tmp_path: Path) -> None:
    bundle = make_bundle(lora=False)
    parts = {**bundle.manifest.parts, "inputs.audio": PartSpec(kind="identity", parameters=0, dtype="bfloat16")}
    bundle = replace(bundle, manifest=bundle.manifest.model_copy(update={"parts": parts}))
    bundle.write(tmp_path / "x")
    assert equal(Bundle.read(tmp_path / "x"), bundle)


def test_a_tensor_belongs_to_the_longest_part_name(make_bundle: Make) -> None:
    bundle = make_bundle(lora=False)
    spec = PartSpec(kind="k", parameters=2, dtype="bfloat16")
    parts = {**bundle.manifest.parts, "inputs": spec}
    tensors = {**bundle.tensors, "inputs.w": torch.ones(2, dtype=torch.bfloat16)}
    Bundle(bundle.manifest.model_copy(update={"parts": parts}), tensors).verify()


# --- memory and time -------------------------------------------------------------------------------------------------


def test_a_hostile_ten_megabyte_file_costs_little(folder: Path, reseal: Reseal) -> None:
    """At most 2 s and 200 MB over the baseline, measured in a process of its own."""
    header = json.dumps(
        {f"t{i}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i in range(140_000)}
    ).encode()
    reseal(folder, {"adapter.safetensors": len(header).to_bytes(8, "little") + header + bytes(560_000)})
    code = (
        "import sys, time, resource\nfrom inlay.hub import Bundle, BundleError\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nstart = time.process_time()\n"
        "try:\n    Bundle.read(sys.argv[1])\nexcept BundleError as error:\n    print('refused', error.file)\n"
        "print(time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    said, measured = run.stdout.splitlines()
    seconds, megabytes = map(float, measured.split())
    assert said == "refused adapter.safetensors"
    assert seconds < 2
    assert megabytes < 200


def test_the_serialiser_is_the_one_that_the_size_law_counts(bundle: Bundle) -> None:
    data = serialize(bundle.tensors)
    assert len(data) - 2 * 30 < 512
