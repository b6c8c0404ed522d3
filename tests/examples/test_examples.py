"""The examples as a reader runs them: they train, are stored, loaded and asked, and stay short."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from inlay.adapters import Adapter, Backbone
from inlay.adapters.compatibility.verdict import IncompatibleBackbone
from inlay.adapters.inputs import PROJECTORS
from inlay.hub.errors import BundleError
from inlay.recipes.miniature.datasets.pictures import build
from inlay.recipes.settings.default_models import miniature_path
from inlay.recipes.systems.load_backbone import miniature_backbone

pytestmark = pytest.mark.usefixtures("own_projectors", "own_encoders")

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS = [f"--stages.{name}.{field}" for name in ("align", "instruct") for field in ("max_steps=2", "batch_size=4")]


def example(name: str) -> ModuleType:
    """An example as a module; what it does as a script is left to the test."""
    spec: Any = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Where dataclasses look up the types of their fields.
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    build(folder, 0, scenes=6, test_scenes=7, digits=2, test_digits=1)
    return folder


def settings(world: Path, run: Path) -> list[str]:
    files = [f"--data.{name}={world / name}.json" for name in ("align", "train", "test")]
    return [*files, f"--data.images={world / 'images'}", f"--output={run}", "--accelerator=cpu", *STEPS]


def question(world: Path) -> list[dict[str, Any]]:
    picture = next(iter(sorted((world / "images").iterdir())))
    return [{"role": "user", "content": [{"type": "image", "path": str(picture)}, {"type": "text", "text": "colour?"}]}]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_shorter_than_60_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60


def test_a_projector_of_ones_own_is_trained_stored_and_loaded(world: Path, tmp_path: Path) -> None:
    module, run = example("own_projector"), tmp_path / "run"
    chosen = ["--projector=pooled", '--projector_options={"every": 3}']
    assert module.main(["train", "llava", *chosen, *settings(world, run)]) == 0
    part = json.loads((run / "bundle" / "inlay.json").read_text())["parts"]["inputs.image"]
    assert (part["kind"], part["config"]["every"]) == ("pooled", 3)
    assert module.main(["evaluate", str(run), f"--data.test={world}/test.json", f"--data.images={world}/images"]) == 0
    model = Adapter.from_pretrained(run).attach(miniature_backbone(), strict=True)
    assert model.tokens == {"image": 12}
    del PROJECTORS["pooled"]
    with pytest.raises(BundleError, match=r"unknown projector 'pooled'.*register_projector\(Module, Config\)"):
        Adapter.from_pretrained(run)


def test_an_encoder_of_ones_own_is_trained_with_and_recognised(world: Path, tmp_path: Path) -> None:
    module, run, folder = example("own_encoder"), tmp_path / "run", tmp_path / "patches"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "raw_patches", "patch": 8}')
    llm = miniature_path("inlay-miniature/llama")
    assert module.main(["llava", *settings(world, run)], backbone=Backbone.from_pretrained(llm, folder)) == 0
    adapter = Adapter.from_pretrained(run)
    assert (adapter.interface["image"].tokens, adapter.interface["image"].source) == (36, "patches")
    model = adapter.attach(Backbone.from_pretrained(llm, folder))
    assert model.chat(question(world), max_new_tokens=2).tokens in (1, 2)
    adapter.detach()
    with pytest.raises(IncompatibleBackbone, match=r"image +family +raw_patches +clip_vision_model"):
        adapter.attach(miniature_backbone())
