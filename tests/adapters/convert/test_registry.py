"""The converters: recognised by their files, chosen by name, and registered by a user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert import (
    ConvertError,
    Imported,
    KeyTable,
    Models,
    Source,
    import_adapter,
    read_checkpoint,
    register_converter,
)
from inlay.adapters.parts.registration import RegistrationError

KEYS = KeyTable((("connector.{leaf}", "inputs.image.layer.{leaf}"),))


pytestmark = pytest.mark.usefixtures("own_registrations")


def matches(source: Source) -> bool:
    return source.has("connector.bin") is not None


def read(source: Source, template: str | None) -> Imported:
    weights = Source(source.folder / "connector.bin").weights
    names = KEYS.rename(weights, source).names
    out, width = weights["connector.weight"].shape
    return Imported(
        system="own",
        layout=Layout(template=template or "plain"),
        models=Models(),
        inputs={"image": ("linear", {"width_in": width, "width_out": out})},
        tensors={own: weights[name] for own, name in names.items()},
    )


def test_a_registered_format_is_recognised_and_imported(backbone_of: Any, tmp_path: Path) -> None:
    weight = torch.randn(32, 24)
    torch.save({"connector.weight": weight, "connector.bias": torch.ones(32)}, tmp_path / "connector.bin")
    register_converter("own", matches, read)
    adapter = import_adapter(tmp_path, backbone=backbone_of()).adapter
    assert adapter.system == "own"
    assert torch.equal(adapter.inputs["image"].layer.weight, weight)


def test_the_name_of_another_format_is_refused() -> None:
    with pytest.raises(RegistrationError, match="llava"):
        register_converter("llava", matches, read)


def test_an_unknown_checkpoint_is_refused_with_the_known_formats(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"known are: llava .*hf_blip.*--format"):
        read_checkpoint(tmp_path)


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="format: expected one of llava, hf_llava"):
        read_checkpoint(tmp_path, converter="lava")


def test_functions_of_other_arguments_are_refused() -> None:
    read: Any = str.upper
    with pytest.raises(RegistrationError, match=r"converter 'mine': read: expected a function of \(source, template\)"):
        register_converter("mine", lambda source: True, read)
