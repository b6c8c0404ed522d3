"""A bundle on the embedded models, with a LoRA that changes answers, and its language model as GGUF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from inlay.adapters import Adapter
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.export.gguf.base import base_content
from inlay.adapters.export.gguf.gguf_file import write_gguf
from inlay.adapters.inputs import projector_config
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.recipes import load_model
from inlay.recipes.systems.load_backbone import miniature_backbone

QUESTIONS = ("which shape is in the middle?", "how many objects are there?", "what is shown?")


def made(folder: Path, *, lora: bool = True, seed: int = 0, name: str = "tried") -> Path:
    """A bundle with random weights of a size that shows in the answers, and the canary."""
    backbone = miniature_backbone()
    adapter = Adapter.for_backbone(
        backbone,
        system="llava",
        name=name,
        layout=Layout(template="vicuna_v1"),
        inputs={"image": projector_config("mlp", {})},
        lora=LoraConfig(r=4, alpha=8.0) if lora else None,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model = adapter.attach(backbone)
    adapter.save_pretrained(folder)
    model.adapter.detach()
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("runtime") / "bundle")


@pytest.fixture(scope="session")
def plain_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One without a LoRA."""
    return made(tmp_path_factory.mktemp("runtime") / "plain", lora=False, name="plain")


@pytest.fixture(scope="session")
def torch_model(bundle: Path) -> Iterator[Any]:
    model = load_model(bundle)
    yield model
    model.adapter.detach()


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The embedded LLaMA as a GGUF file of a kind."""
    pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("bases")

    def make(kind: str) -> Path:
        path = folder / f"{kind}.gguf"
        if not path.exists():
            write_gguf(path, base_content(miniature_backbone().llm.model, kind))
        return path

    return make


@pytest.fixture(scope="session")
def conversations() -> list[list[Message]]:
    """Questions about three pictures, of different lengths."""
    found = []
    for number, question in enumerate(QUESTIONS):
        picture = Image.new("RGB", (48, 48), (40 * number, 200 - 60 * number, 90))
        picture.paste((255, 255, 0), (8 * number, 8, 8 * number + 14, 30))
        found.append([Message("user", (MediaPart("image", picture), TextPart(question * (number + 1))))])
    return found
