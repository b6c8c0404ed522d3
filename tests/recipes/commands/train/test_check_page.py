"""``inlay check --page``: one file that shows the data and loads nothing."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.recipes.cli import main
from inlay.recipes.commands.train.check_page import check_page, histogram
from inlay.recipes.training.checks.check import CheckReport
from inlay.recipes.training.checks.data_report import SetFacts, StageFacts, TokenFacts

HOSTILE = '<script>alert(1)</script> "quoted" & [[x]]'
VOID = {"meta", "img", "rect"}


class Tree(HTMLParser):
    """Tags in order; every tag that is opened must be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.marked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID or tag == "rect":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if "mark" in self.open:
            self.marked.append(data)


def read(page: str) -> Tree:
    tree = Tree()
    tree.feed(page)
    assert tree.open == []
    return tree


def report(source: Any) -> CheckReport:
    sets = SetFacts(
        name="train",
        file=HOSTILE,
        format="llava",
        rows=3,
        stages="instruct",
        media={"image": (1, 1)},
        turns=[1, 2],
        sizes=[(30, 20)],
    )
    tokens = TokenFacts(rows=3, lengths=[5, 9, 40], labelled=[1, 2, 2], context=64)
    pieces = [(f"{HOSTILE}\nquestion ", False), (f"{HOSTILE} answer", True)]
    stage = StageFacts(
        name="instruct", amount="3 samples", tokens=tokens, examples=[(HOSTILE, pieces, [("image", source)])]
    )
    return CheckReport(title=HOSTILE, sets=[sets], stages=[stage])


def test_texts_are_escaped_and_nothing_is_loaded(tmp_path: Path, image_of: Any) -> None:
    image_of(0, size=(400, 100)).save(tmp_path / "a.png")
    page = check_page(report(tmp_path / "a.png"))
    tree = read(page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tree.tags}
    links = [
        value or "" for _, attributes in tree.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert links
    assert all(link.startswith("data:image/jpeg;base64,") for link in links)
    assert "http:" not in page
    assert "https:" not in page
    assert f"{HOSTILE}\nquestion " in "".join(tree.words)
    assert not any(name.startswith("on") for _, attributes in tree.tags for name in attributes)


def test_the_labelled_text_is_marked_and_no_other(tmp_path: Path, image_of: Any) -> None:
    image_of(0).save(tmp_path / "a.png")
    assert "".join(read(check_page(report(tmp_path / "a.png"))).marked) == f"{HOSTILE} answer"


def test_pictures_are_thumbnails_and_one_that_cannot_be_read_is_a_line(tmp_path: Path, image_of: Any) -> None:
    image_of(0, size=(400, 100)).save(tmp_path / "a.png")
    page = check_page(report(tmp_path / "a.png"))
    data = re.findall(r"base64,([A-Za-z0-9+/=]+)", page)
    assert [Image.open(io.BytesIO(base64.b64decode(one))).size for one in data] == [(192, 48)]
    assert "gone.png" in check_page(report(tmp_path / "gone.png"))


@pytest.mark.parametrize("values", [[3], [1, 1, 1, 5], list(range(1000)), [0, 10**6]])
def test_a_histogram_counts_every_value_once(values: list[int]) -> None:
    counts = [int(count) for count in re.findall(r": (\d+)</title>", histogram(values, "x"))]
    assert sum(counts) == len(values)
    assert len(counts) <= 25
    assert f">{min(values)}</text>" in histogram(values, "x")
    assert f">{max(values)}</text>" in histogram(values, "x")


def test_no_values_have_no_histogram() -> None:
    assert histogram([], "x") == ""


def test_the_command_writes_the_page(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folders["data"]
    arguments = ["check", "llava", f"--backbone.llm={folders['llama']}", f"--backbone.image={folders['eva']}"]
    arguments += [f"--data.train={data / 'train.json'}", f"--data.images={data / 'images'}", "--data.test_size=2"]
    arguments += [f"--output={tmp_path / 'run'}", f"--page={tmp_path / 'check.html'}", "--accelerator=cpu"]
    assert main(arguments) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert said.rstrip().endswith(f"page: {tmp_path / 'check.html'}")
    assert "test" in said
    assert "held out" in said
    assert "tokens of" in said or "in a row" in said
    tree = read((tmp_path / "check.html").read_text())
    assert sum(tag == "img" for tag, _ in tree.tags) >= 2
    assert [tag for tag, _ in tree.tags].count("h2") == 3
    assert not (tmp_path / "run").exists()


def test_a_page_that_cannot_be_written_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.json").write_text(json.dumps([]))
    for page in (tmp_path, tmp_path / "nosuch" / "check.html"):
        assert main(["check", "llava", f"--page={page}"]) == 2
        assert f"page: expected a file in a folder that exists, got {page}" in capsys.readouterr().err
