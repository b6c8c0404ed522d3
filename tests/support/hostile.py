"""Hostile bundles, built by code: each case takes an honest folder and spoils it as an attacker or an accident would.

The numbers are those of the table in docs/reference/hostile_input.md. No case is a file in the repository.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

__all__ = ["CANARY", "CASES", "Case"]

Case = Callable[[Path], object]
CANARY = "INLAY_TEST_CANARY"
"""Environment variable that names a file; hostile code would create it."""
CODE = f"import os; open(os.environ['{CANARY}'], 'w').write('run')"
WEIGHTS, MANIFEST, LORA, LORA_WEIGHTS = (
    *("adapter.safetensors", "inlay.json", "lora/adapter_config.json", "lora/adapter_model.safetensors"),
)
PATHS = [
    "../x",
    "/etc/passwd",
    "C:\\x",
    "\\\\host\\x",
    "a/../../x",
    "~",
    "a\0b",
    "a\nb",
    "x" * 300,
    "CON",
    ".git/config",
]


class Bomb:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (CODE,)


def seal(folder: Path, name: str, data: bytes) -> None:
    """Put other bytes in a file, with their true size and hash in the manifest: the author is the attacker."""
    (folder / name).write_bytes(data)

    def change(raw: dict[str, Any]) -> None:
        for entry in raw["files"]:
            if entry["path"] == name:
                entry |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    edit(change)(folder)


def edit(change: Callable[[dict[str, Any]], object]) -> Case:
    """A manifest with other values."""

    def case(folder: Path) -> None:
        raw = json.loads((folder / MANIFEST).read_bytes())
        change(raw)
        (folder / MANIFEST).write_text(json.dumps(raw))

    return case


def manifest(data: bytes) -> Case:
    """Other bytes in place of the manifest."""
    return lambda folder: (folder / MANIFEST).write_bytes(data)


def lora(**change: Any) -> Case:
    """A LoRA configuration with other values."""
    return lambda folder: seal(folder, LORA, json.dumps(json.loads((folder / LORA).read_bytes()) | change).encode())


def header(change: Callable[[dict[str, Any]], Any], extra: bytes = b"", name: str = WEIGHTS) -> Case:
    """A safetensors file with another header."""

    def case(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        raw = json.loads(data[8 : 8 + length])
        text = change(raw)
        text = text if isinstance(text, bytes) else json.dumps(raw).encode()
        seal(folder, name, struct.pack("<Q", len(text)) + text + data[8 + length :] + extra)

    return case


def weights(change: Callable[[bytes], bytes], name: str = WEIGHTS) -> Case:
    """Other bytes in place of the tensors."""
    return lambda folder: seal(folder, name, change((folder / name).read_bytes()))


def place(name: str, make: Callable[[Path], object]) -> Case:
    """Something else where a file of the bundle was, or a file too many."""

    def case(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        make(path)

    return case


def _socket(path: Path) -> None:
    place_before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(place_before)


def _hard_link(path: Path) -> None:
    outside = path.parents[2] / f"outside-{path.parent.name}"
    outside.write_bytes(b"x" * 100)
    os.link(outside, path)


def _zip() -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Bomb()))
    return stream.getvalue()


def _rename(raw: dict[str, Any], new: str) -> None:
    raw[new] = raw.pop("inputs.image.linear.weight")


def _many(count: int, size: int = 0) -> Callable[[dict[str, Any]], Any]:
    def change(raw: dict[str, Any]) -> None:
        raw.clear()
        raw |= {
            f"t{n}": {"dtype": "F32", "shape": [size], "data_offsets": [4 * n * size, 4 * (n + 1) * size]}
            for n in range(count)
        }

    return change


def _entry(**change: Any) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw["inputs.image.linear.weight"].update(change)


def _keys(text: str, count: int) -> bytes:
    """An object of ``count`` keys with one and the same value."""
    return ("{" + ",".join(f'"{n:05}":{text}' for n in range(count)) + "}").encode()


def _manifest_with(path: str, text: bytes) -> Case:
    """The honest manifest with ``text`` as the value of one field, which may be of any size."""

    def case(folder: Path) -> None:
        raw = json.loads((folder / MANIFEST).read_bytes())
        raw["canary"] = {"prompt": "x", "positions": [-1], "token_ids": [0], "logits": [1.0], "tolerance": 0.01}
        *outer, last = path.split(".")
        inner = raw
        for key in outer:
            inner = inner[key]
        inner[last] = "HERE"
        (folder / MANIFEST).write_bytes(json.dumps(raw).encode().replace(b'"HERE"', text))

    return case


def _many_targets(folder: Path) -> None:
    """A LoRA of 2,000 modules that match two targets each, and one target that no module matches."""
    modules = [f"m{n}.a.b" for n in range(2000)]
    targets = [name for module in modules for name in (module, f"x.{module}")]
    keys = [f"base_model.model.x.{module}.lora_{half}.weight" for module in modules for half in "AB"]
    entry = {"dtype": "BF16", "shape": [1, 1]}
    specs = {key: entry | {"data_offsets": [2 * n, 2 * n + 2]} for n, key in enumerate(keys)}
    text = json.dumps(specs, separators=(",", ":")).encode()
    lora(r=1, target_modules=[*targets, "zzz"])(folder)
    seal(folder, LORA_WEIGHTS, struct.pack("<Q", len(text)) + text + bytes(2 * len(keys)))


def _sparse(folder: Path) -> None:
    edit(lambda raw: [entry.update(size=1 << 39) for entry in raw["files"] if entry["path"] == WEIGHTS])(folder)
    os.truncate(folder / WEIGHTS, 1 << 39)


def _linked_folder(folder: Path) -> None:
    (folder / "lora").rename(folder.parent / "elsewhere")
    (folder / "lora").symlink_to(folder.parent / "elsewhere")


def _only_a_pickle(folder: Path) -> None:
    (folder / LORA_WEIGHTS).unlink()
    (folder / "lora/adapter_model.bin").write_bytes(pickle.dumps(Bomb()))


def _cases() -> Iterator[tuple[str, Case]]:
    yield "1 missing", lambda folder: (folder / MANIFEST).unlink()
    yield "1 folder", place(MANIFEST, Path.mkdir)
    yield "1 empty", manifest(b"")
    yield "2 text", manifest(b"hello")
    yield "2 utf-16", manifest('{"format": "inlay"}'.encode("utf-16"))
    yield "2 byte-order mark", manifest(b"\xef\xbb\xbf{}")
    yield "3 nine megabytes", manifest(b'{"a": "' + b"x" * (9 << 20) + b'"}')
    yield "3 deep", manifest(b'{"a":' * 10_000 + b"1" + b"}" * 10_000)
    yield "4 duplicate key", manifest(b'{"format": "inlay", "format": "inlay"}')
    doubled = _keys("0", 100_000)[:-1] + b',"99999":0}'
    yield "4 duplicate key behind 100,000 others", manifest(doubled)
    yield "4 duplicate key in a tensor header", header(lambda raw: doubled[: 1 << 20])
    yield "4 duplicate key in a LoRA configuration", lambda folder: seal(folder, LORA, doubled)
    for number in ("NaN", "Infinity", "1e999", "1" + "0" * 5000):
        yield f"5 {number[:8]}", manifest(b'{"format": "inlay", "format_version": %s}' % number.encode())
    yield "6 unknown key", edit(lambda raw: raw.update(post_install="os.system"))
    yield "6 list for object", edit(lambda raw: raw.update(parts=[]))
    yield "6 boolean for number", edit(lambda raw: raw["parts"]["inputs.image"].update(parameters=True))
    yield "6 wrong ports", _manifest_with("interface", _keys("0", 85_000))
    yield "6 empty ports", _manifest_with("interface", _keys("{}", 4000))
    yield "6 wrong settings", _manifest_with("interface.llm.settings", _keys("[]", 85_000))
    yield "6 unknown fields", _manifest_with("layout", _keys("0", 4000))
    yield "6 wrong numbers", _manifest_with("canary.logits", b"[" + b"{}," * 300_000 + b"{}]")
    yield "6 wrong conditioning", _manifest_with("canary.conditioning", _keys("[" + "{}," * 4000 + "{}]", 16))
    yield "6 wrong stop texts", _manifest_with("layout.stop", b"[" + b"0," * 300_000 + b"0]")
    yield "6 placeholders", edit(lambda raw: raw["layout"].update(prompt="{}" * 4096))
    yield "6 empty stop text", edit(lambda raw: raw["layout"].update(stop=[""]))
    yield "6 unknown geometry", edit(lambda raw: raw["layout"].update(geometry={"image": "padd"}))
    yield "6 tolerance", _manifest_with("canary.tolerance", b"1e308")
    yield "6 position", _manifest_with("canary.positions", b"[1000000]")
    yield "7 newer", edit(lambda raw: raw.update(format_version=3))
    yield "7 older", edit(lambda raw: raw.update(format_version=0))
    yield "8 listed file missing", lambda folder: (folder / WEIGHTS).unlink()
    yield "8 file too many", place("notes.txt", lambda path: path.write_text("x"))
    yield "9 one bit", lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1] + b"\x01")
    for path in PATHS:
        yield f"10 {path[:12]!r}", edit(lambda raw, path=path: raw["files"][0].update(path=path))  # type: ignore[misc]
    yield "11 link out", place(WEIGHTS, lambda path: path.symlink_to("/etc/passwd"))
    yield "11 linked folder", _linked_folder
    yield "11 pipe", place(WEIGHTS, os.mkfifo)
    yield "11 socket", place(WEIGHTS, _socket)
    yield "11 zero", place(WEIGHTS, lambda path: path.symlink_to("/dev/zero"))
    yield "11 hard link to other bytes", place(WEIGHTS, _hard_link)
    yield "12 case", place("Inlay.json", lambda path: path.write_text("{}"))
    yield "12 unicode", place("inl\u0061\u0301y.json", lambda path: path.write_text("{}"))
    yield "13 commit that is none", edit(lambda raw: raw["interface"]["llm"].update(revision="main"))
    yield "13 long source", edit(lambda raw: raw["interface"]["llm"].update(source="x" * 10_000))
    yield "13 another base", lora(base_model_name_or_path="evil/model")
    for text in ("\x1b[31m", "a\u202eb", "a\nb", "\ud800"):
        yield f"14 {text!a}", edit(lambda raw, text=text: raw.update(name=text))  # type: ignore[misc]
    foreign = {"pickle": pickle.dumps(Bomb()), "zip": _zip(), "empty": b"\0", "npy": b"\x93NUMPY" + bytes(99)}
    for name, data in foreign.items():
        yield f"16 {name}", weights(lambda _, data=data: data)  # type: ignore[misc]
    for length in (0, 2**63, 101 << 20, (1 << 20) + 1):
        yield f"16 length {length}", weights(lambda data, length=length: struct.pack("<Q", length) + data[8:])  # type: ignore[misc]
    yield "16 cut", weights(lambda data: data[:-3])
    yield "16 list", header(lambda raw: b"[]")
    yield "16 not utf-8", header(lambda raw: b'{"\xff": 1}')
    for dtype in ("X1", "F64", "I8", "BOOL", "C64", "F8_E4M3"):
        yield f"21 {dtype}", header(_entry(dtype=dtype))
    yield "16 negative shape", header(_entry(shape=[-6, 4]))
    yield "16 overflow", header(_entry(shape=[2**62, 2**62]))
    yield "16 past the end", header(_entry(data_offsets=[0, 1 << 40]))
    yield "16 backwards", header(_entry(data_offsets=[48, 0]))
    yield "16 metadata of numbers", header(lambda raw: raw.update(__metadata__={"a": 1}))
    yield "17 twice", header(lambda raw: json.dumps(raw).encode()[:-1] + b',"a":1,"a":1}')
    yield "17 extra key", header(_entry(code="os"))
    yield "18 no tensors", header(lambda raw: b"{}")
    yield "19 renamed", header(lambda raw: _rename(raw, "inputs.audio.weight"))
    yield "20 empty dimension", header(_entry(shape=[0, 4]))
    yield "22 not a number", weights(lambda data: data[:-2] + b"\xff\x7f")
    yield "23 sparse half terabyte", _sparse
    yield "24 many empty", header(_many(90_000))
    yield "24 many small", header(_many(90_000, 1), bytes(360_000))
    for name in ("../../x", "__class__", "inputs.image.__init__.__globals__", "/etc/x", "x" * (1 << 20)):
        yield f"25 {name[:20]}", header(lambda raw, name=name: _rename(raw, name))  # type: ignore[misc]
    yield "26 zip behind", weights(lambda data: data + _zip())
    yield "28 only a pickle", _only_a_pickle
    yield "29 a pickle beside", place("lora/adapter_model.bin", lambda path: path.write_bytes(pickle.dumps(Bomb())))
    hostile: dict[str, list[Any]] = {
        "auto_mapping": [{"parent_library": "os", "base_model_class": "system"}],
        "megatron_core": ["os"],
        "layer_replication": [[[0, 1]] * 10_000],
        "r": [10**9, -1, "8", True],
        "target_modules": ["(a+)+$", "all-linear", ["(a+)+$"], []],
        "modules_to_save": [["lm_head"]],
        "init_lora_weights": ["loftq", "/etc/passwd"],
        "peft_type": ["VERA"],
        "runtime_config": [{"ephemeral_gpu_offload": True}],
        "trainable_token_indices": [list(range(10_000))],
        "lora_alpha": [0, 1e300],
    }
    for key, values in hostile.items():
        for place_in, value in enumerate(values):
            yield f"30 {key} {place_in}", lora(**{key: value})
    modules = ("a.py", "sitecustomize.py", "__init__.py", "None.py", "lora/a.py", "torch.py")
    for name in ("requirements.txt", "x.pth", *modules):
        yield f"31 {name}", place(name, lambda path: path.write_text(CODE))
    yield "32 another rank", lora(r=4)
    yield "32 many targets", _many_targets
    yield "32 a module that is no target", lora(target_modules=["k_proj"])


CASES: dict[str, Case] = dict(_cases())
