"""The model for lmms-eval, called as lmms-eval calls it; without lmms-eval its base class is a stand-in."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems import llava
from inlay.recipes.systems.load_backbone import backbone_from
from inlay.recipes.training.load_model import load_model

ROOT = Path(__file__).parents[3]
COLOURS = ("red", "blue", "green")


@dataclass(frozen=True)
class Manifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None


class Base:
    """lmms_eval 0.7.3, api/model.py: what its evaluator sets and a model uses."""

    is_simple = True

    def __init__(self) -> None:
        self.cache_hook = SimpleNamespace(add_partial=lambda *_: None)
        self.task_dict: dict[str, Any] = {}


@pytest.fixture
def model_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if find_spec("lmms_eval") is None:
        held: dict[str, dict[str, Any]] = {
            "api.model": {"lmms": Base},
            "models.registry_v2": {"ModelManifest": Manifest},
            "api": {},
            "models": {},
        }
        for name, content in ({"": {}} | held).items():
            module = ModuleType(f"lmms_eval.{name}".rstrip("."))
            vars(module).update(content)
            monkeypatch.setitem(sys.modules, module.__name__, module)
    yield import_module("inlay.recipes.lmms_eval.model")
    del sys.modules["inlay.recipes.lmms_eval.model"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    adapter = llava.recipe().adapter(backbone_from(BackboneSettings()), "first")
    for name, parameter in adapter.named_parameters():
        if name.endswith("/B"):
            torch.nn.init.normal_(parameter, std=0.05)
    saved: Path = adapter.save_pretrained(tmp_path_factory.mktemp("bundle") / "bundle")
    return saved


def documents() -> list[dict[str, Any]]:
    return [{"picture": Image.new("RGB", (20, 14), colour), "answer": colour} for colour in COLOURS]


def asked_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    content = [{"type": "image", "url": document["picture"]}, {"type": "text", "text": "What colour?"}]
    return [{"role": "user", "content": content}]


def requests_of(kind: str, options: list[dict[str, Any]]) -> list[Any]:
    """As ``construct_requests`` of lmms-eval's tasks builds them."""
    visuals = lambda document: [document["picture"]]  # noqa: E731
    where = [(row, "colours", "test") for row in range(len(COLOURS))]
    if kind == "chat":
        return [SimpleNamespace(args=("", asked_of, own, *at)) for own, at in zip(options, where, strict=True)]
    return [SimpleNamespace(args=("What colour?", own, visuals, *at)) for own, at in zip(options, where, strict=True)]


def made(model_file: Any, kind: str, bundle: Path, **options: Any) -> Any:
    model = getattr(model_file, "InlayChat" if kind == "chat" else "InlaySimple")(str(bundle), device="cpu", **options)
    model.task_dict = {"colours": {"test": documents()}}
    return model


@pytest.mark.parametrize("kind", ["chat", "simple"])
def test_answers_are_those_of_the_model_in_the_order_of_the_requests(
    model_file: Any, bundle: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [{"max_new_tokens": 3}, {"max_new_tokens": 6, "image_aspect_ratio": "pad"}, {"max_new_tokens": 3}]
    said = made(model_file, kind, bundle, batch_size=2).generate_until(requests_of(kind, options))
    reference = load_model(bundle)
    wanted = []
    for document, own in zip(documents(), options, strict=True):
        content = [{"type": "image", "image": document["picture"]}, {"type": "text", "text": "What colour?"}]
        limit = own["max_new_tokens"]
        wanted.append(
            reference.chat([{"role": "user", "content": content}], max_new_tokens=limit, do_sample=False).text
        )
    assert said == wanted
    assert len(set(said)) > 1
    assert capsys.readouterr().out == "inlay: generation option image_aspect_ratio of the task has no effect\n"


def test_an_answer_ends_where_the_task_says(model_file: Any, bundle: Path) -> None:
    model = made(model_file, "simple", bundle)
    (whole, *_) = model.generate_until(requests_of("simple", [{"max_new_tokens": 6}] * 3))
    end = whole[len(whole) // 2]
    (cut, *_) = model.generate_until(requests_of("simple", [{"max_new_tokens": 6, "until": [end]}] * 3))
    assert cut == whole.partition(end)[0]


def test_the_loss_of_a_continuation_is_the_models_and_greedy_is_its_own_answer(model_file: Any, bundle: Path) -> None:
    model = made(model_file, "simple", bundle)
    (likely, *_) = model.generate_until(requests_of("simple", [{"max_new_tokens": 64}] * 3))
    visuals = lambda document: [document["picture"]]  # noqa: E731
    at = (0, "colours", "test")
    pairs = [f" {likely}", lambda document: document["answer"]]
    found = model.loglikelihood([SimpleNamespace(args=("What colour?", target, visuals, *at)) for target in pairs])
    assert [greedy for _, greedy in found] == [True, False]
    assert 0 <= found[0][0] < found[1][0]


def test_the_entry_point_gives_both_classes(model_file: Any) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    manifest = resolve_name(project["entry-points"]["lmms_eval.models"]["inlay"])()
    assert manifest.model_id == "inlay"
    assert resolve_name(manifest.simple_class_path.replace(".model.", ".model:")) is model_file.InlaySimple
    assert resolve_name(manifest.chat_class_path.replace(".model.", ".model:")).is_simple is False
    assert not any("lmms" in line for line in project["dependencies"])


def test_several_processes_and_unknown_arguments_are_refused(
    model_file: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="got conv_template"):
        made(model_file, "simple", bundle, conv_template="vicuna")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="inlay serve"):
        made(model_file, "simple", bundle)
