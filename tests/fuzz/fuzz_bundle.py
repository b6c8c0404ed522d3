"""Fuzzing of everything in a bundle that is parsed: any bytes give a value or a BundleError, and nothing else.

With libFuzzer behind it (``pip install "inlay[fuzz]"``, Linux)::

    python tests/fuzz/fuzz_bundle.py -max_total_time=600

The first byte of an input chooses the parser. ``tests/hub/test_fuzz.py`` runs the same function on its own mutations.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType

from inlay.hub.errors import InlayError
from inlay.hub.format.header import read_header
from inlay.hub.format.manifest import Manifest
from inlay.hub.format.peft_folder import read_config
from inlay.hub.format.tensors import parse
from inlay.hub.safety.strict_json import read_object

__all__ = ["PARSERS", "one_input", "seeds"]

PARSERS: tuple[Callable[[bytes], object], ...] = (
    lambda data: Manifest.from_json(data).to_json(),
    lambda data: read_header(data, len(data), "fuzz"),
    lambda data: parse(data, "fuzz"),
    read_config,
    lambda data: read_object(data, "fuzz"),
)


def one_input(data: bytes) -> bool:
    """Parse; True where something was read, False where it was refused."""
    if not data:
        return False
    try:
        PARSERS[data[0] % len(PARSERS)](data[1:])
    except InlayError as error:
        # What a terminal or a log gets to see is one printable line, whatever the input was.
        if not str(error).isprintable() or len(str(error)) > 2000:
            raise AssertionError(f"an error that is no line of text: {str(error)!r}") from error
        return False
    return True


def seeds() -> list[bytes]:
    """Honest inputs to begin with."""
    digest = "sha256:" + "0" * 64
    port = {"kind": "llm", "family": "llama", "width": 8, "weights": digest}
    manifest = {"format": "inlay", "format_version": 1, "system": "llava", "name": "x", "interface": {"llm": port}}
    part = {"kind": "linear", "parameters": 2, "dtype": "float32"}
    manifest |= {"layout": {"template": "plain"}, "parts": {"inputs.image": part}}
    header = json.dumps({"a.b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    tensors = len(header).to_bytes(8, "little") + header + bytes(8)
    lora = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    texts = [json.dumps(manifest).encode(), tensors, tensors, json.dumps(lora).encode(), b'{"a": [1, {"b": null}]}']
    return [bytes([number]) + text for number, text in enumerate(texts)]


def _functions() -> Iterator[FunctionType]:
    """Everything of ours that parses; to instrument the whole process, torch included, would take minutes."""
    for name, module in sorted(sys.modules.items()):
        if not name.startswith("inlay.hub."):
            continue
        for value in vars(module).values():
            members = vars(value).values() if inspect.isclass(value) and value.__module__ == name else (value,)
            for member in members:
                function = getattr(member, "__func__", member)
                if inspect.isfunction(function) and function.__module__ == name:
                    yield function


def main() -> None:
    """Hand over to libFuzzer; a corpus of honest inputs is made where none is named."""
    import atheris

    corpus = Path(next((item for item in sys.argv[1:] if not item.startswith("-")), "build/fuzz-corpus"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    arguments = [item for item in sys.argv if item.startswith("-")]

    def target(data: bytes) -> None:
        one_input(data)

    for function in _functions():
        atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
