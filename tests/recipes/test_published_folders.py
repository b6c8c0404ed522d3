"""The command lines of docs/start/own-pictures.md, word by word, on folders laid out as the published models are.

The folders lie under the names of the models on the Hub, relative to the working folder, so not even a path differs.
Only options that make the run short are added.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hub_layouts import PUBLISHED

from inlay.adapters.adapter import Adapter
from inlay.recipes.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "start" / "own-pictures.md"
SHORT = ["--max_steps", "2", "--batch_size", "4", "--accelerator", "cpu"]
DATA = [
    "--data.align",
    "align.json",
    "--data.train",
    "train.json",
    "--data.test",
    "test.json",
    "--data.images",
    "images/",
]
FORMER = json.dumps({"queries": 4, "hidden": 16, "layers": 2, "heads": 2, "ffn": 24})
pytestmark = pytest.mark.filterwarnings("ignore:.*there are no safetensors files")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with every model."""
    root = tmp_path_factory.mktemp("work")
    for name, write in PUBLISHED.items():
        write(root / name)
    return root


@pytest.fixture(autouse=True)
def working_folder(place: Path, image_of: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with eight pictures and questions about them."""
    monkeypatch.chdir(place)
    (place / "images").mkdir(exist_ok=True)
    rows = []
    for number in range(8):
        image_of(number).save(place / "images" / f"{number}.png")
        turns = [{"from": "human", "value": "<image>\nwhat is shown?"}, {"from": "gpt", "value": "two cats"}]
        rows.append({"id": str(number), "image": f"{number}.png", "conversations": turns})
    for name, chosen in (("align", rows[:4]), ("train", rows[:6]), ("test", rows[6:])):
        (place / f"{name}.json").write_text(json.dumps(chosen))
    return place


def of_page(beginning: str) -> list[str]:
    """The arguments of a command line on the page."""
    text = PAGE.read_text().replace("\\\n", " ")
    [line] = [line for line in text.splitlines() if line.startswith(f"inlay {beginning}")]
    return shlex.split(line, comments=True)[1:]


def chat(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A question with a picture is answered without naming a model again."""
    capsys.readouterr()
    asked = ["--image", "images/7.png", "--question", "what is shown?", "--max_new_tokens", "3"]
    assert main(["chat", run, *asked]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.endswith("\n")


def test_llava_on_vicuna_and_clip_as_the_page_says(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = of_page("train llava --backbone.llm")
    assert not list((place / "lmsys/vicuna-7b-v1.5").glob("*.safetensors"))
    assert {"lmsys/vicuna-7b-v1.5", "openai/clip-vit-large-patch14-336", "images/"} <= set(line)
    assert main([*line, *SHORT]) == 0, capsys.readouterr().err
    interface = Adapter.from_pretrained("runs/llava").interface
    assert (interface["llm"].source, interface["llm"].family) == ("vicuna-7b-v1.5", "llama")
    chat("runs/llava", capsys)


def test_llava_on_opt_and_siglip2(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = ["--backbone.llm", "facebook/opt-2.7b", "--backbone.image", "google/siglip2-so400m-patch14-384"]
    assert main(["train", "llava", *models, *DATA, *SHORT, "--output", "runs/opt"]) == 0, capsys.readouterr().err
    chat("runs/opt", capsys)


@pytest.mark.parametrize(
    ("system", "version", "llm", "image"),
    [
        ("blip2", "opt", "facebook/opt-2.7b", "openai/clip-vit-large-patch14-336"),
        ("instructblip", "t5", "google/flan-t5-xl", "google/siglip2-so400m-patch14-384"),
    ],
)
def test_the_blip_family_on_opt_and_flan_t5(
    system: str, version: str, llm: str, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["--version", version, "--backbone.llm", llm, "--backbone.image", image]
    small = ["--projector_options", FORMER, "--output", f"runs/{system}"]
    if system == "instructblip":
        small += ["--backbone.prompt", "bert-base-uncased"]
    assert main(["train", system, *models, *DATA, *SHORT, *small]) == 0, capsys.readouterr().err
    chat(f"runs/{system}", capsys)
