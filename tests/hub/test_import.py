from __future__ import annotations

import subprocess
import sys

import pytest

import inlay.hub


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("inlay.hub", "torch pydantic huggingface_hub safetensors"),
        ("inlay.hub.format.manifest", "torch huggingface_hub safetensors"),
        ("inlay.hub.format.peft_folder", "torch peft transformers"),
        ("inlay.hub.format.bundle", "peft transformers"),
        ("inlay.hub.remote.pull", "torch huggingface_hub safetensors"),
        ("inlay.hub.remote.push", "torch safetensors transformers"),
    ],
)
def test_importing_is_cheap(module: str, absent: str) -> None:
    code = f"import sys, {module}; print(sorted(set({absent.split()!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", inlay.hub.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(inlay.hub, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"inlay.hub.*nothing"):
        inlay.hub.nothing  # noqa: B018  # the access is what is tested
