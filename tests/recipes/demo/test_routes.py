"""The addresses of the page: a fixed table, strict headers, facts and examples."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from PIL import Image
from serve_client import Served

from inlay.recipes.demo.examples import Example
from inlay.recipes.media_files.save import encoded

STATIC = [item.name for item in (files("inlay.recipes.demo") / "page").iterdir() if item.name.count(".") == 1]
SCRIPTS = [name for name in STATIC if name.endswith(".js")]


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html"), ("/style.css", "text/css"), ("/icon.svg", "image/svg")])
def test_the_page_and_its_files_are_served(page: Served, path: str, kind: str) -> None:
    answered = page.call(path)
    assert answered.status == 200
    assert answered.headers["content-type"].startswith(kind)


def test_every_script_that_a_script_imports_is_served(page: Served) -> None:
    sources = {name: page.call(f"/{name}").body.decode() for name in SCRIPTS}
    named = {word.split('"')[0] for text in sources.values() for word in text.split('from "/')[1:]}
    assert "main.js" in sources
    assert named <= sources.keys()


def test_nothing_of_the_page_comes_from_other_hosts(page: Served) -> None:
    for name in ("", *SCRIPTS, "style.css"):
        text = page.call(f"/{name}").body.decode()
        assert "http://" not in text
        assert "https://" not in text


def test_the_page_runs_its_own_scripts_alone(page: Served) -> None:
    answered = page.call("/")
    policy = answered.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert b"style=" not in answered.body
    assert b"<script>" not in answered.body


def test_a_site_that_is_named_may_show_the_page_in_a_frame(open_page: Callable[..., Served]) -> None:
    policy = open_page(frames=("https://huggingface.co",)).call("/").headers["content-security-policy"]
    assert policy.endswith("frame-ancestors https://huggingface.co")


@pytest.mark.parametrize("path", ["/", "/about", "/v1/models", "/nothing", "/main.js"])
def test_every_response_has_the_headers_that_browsers_obey(page: Served, path: str) -> None:
    headers = page.call(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_the_facts_are_those_of_the_adapters(page: Served, adapters: dict[str, Any]) -> None:
    facts = page.call("/about").json
    first = facts["adapters"][0]
    assert [one["id"] for one in facts["adapters"]] == ["a", "b"]
    assert (first["reads"], first["generation"]) == (["image"], {})
    assert first["parameters"] == sum(value.numel() for value in adapters["a"].parameters())
    assert {row["port"] for row in first["backbone"]} == set(adapters["a"].interface)
    assert facts["limits"]["new_tokens"] == 512


def test_an_adapter_that_generates_names_its_modalities(open_page: Callable[..., Served], senses_of: Any) -> None:
    adapter = senses_of(dropout=0.0).model.adapter.eval()
    (facts,) = open_page({"any": adapter}).call("/about").json["adapters"]
    assert facts["reads"] == ["image", "audio", "video"]
    assert list(facts["generation"]) == ["image", "audio", "video"]


def test_examples_are_served_with_their_media(open_page: Callable[..., Served], image_of: Any) -> None:
    file = encoded(image_of(1))
    page = open_page(examples={"b": [Example("draw it"), Example("what is shown?", (("image", file),))]})
    first, second = page.call("/about").json["examples"]
    assert (first["adapter"], first["question"], first["media"]) == ("b", "draw it", [])
    (medium,) = second["media"]
    answered = page.call(medium["url"])
    assert answered.headers["content-type"] == medium["type"] == "image/png"
    assert Image.open(io.BytesIO(answered.body)).size == image_of(1).size


@pytest.mark.parametrize("path", ["/examples/1/0", "/examples/0/1", "/examples/-1/0", "/examples/0/0/0", "/examples/"])
def test_other_examples_are_404(open_page: Callable[..., Served], image_of: Any, path: str) -> None:
    page = open_page(examples={"a": [Example("what is shown?", (("image", encoded(image_of(1))),))]})
    assert page.call("/examples/0/0").status == 200
    assert page.call(path).status == 404


def test_without_a_key_there_is_no_login(page: Served) -> None:
    assert page.call("/").status == 200
    assert page.call("/login").status == 404
    assert page.call("/about").json["login"] is False
