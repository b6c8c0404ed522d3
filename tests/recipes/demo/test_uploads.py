"""Uploads to the page: bounded before they are read or decoded, and nothing but pixels is taken of them."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from serve_client import Served, data_url, shown

from inlay.recipes.serve.limits import Limits

ASK = "what is shown ?"


def picture(size: tuple[int, int] = (8, 6), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (255, 0, 0)).save(buffer, options.pop("format", "PNG"), **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size and has almost no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_the_content_decides_what_a_picture_is(page: Served) -> None:
    assert page.ask(shown(data_url(picture(format="WEBP"), "text/html"))).status == 200
    assert page.ask(shown(data_url(b"GIF89a" + bytes(50), "image/png"))).status == 400


def test_a_polyglot_is_pixels_and_nothing_of_it_comes_back(page: Served) -> None:
    script = b"<html><script>alert('polyglot')</script>PK\3\4"
    answered = page.ask(shown(data_url(picture(format="JPEG", comment=script) + script)))
    assert answered.status == 200
    assert b"polyglot" not in answered.body


@pytest.mark.parametrize("size", [(50_000, 50_000), (9_000, 9_000), (1, 60_000_000)])
def test_a_bomb_is_refused_before_it_is_decoded(page: Served, size: tuple[int, int]) -> None:
    page.ask(shown(data_url(picture())))
    before = resident()
    assert page.ask(shown(data_url(bomb(*size)))).error["code"] == "invalid_media"
    assert resident() - before < 50e6


@pytest.mark.parametrize("count", [17, 100])
def test_too_many_files_at_once_are_refused_with_the_number(page: Served, count: int) -> None:
    answered = page.ask(shown(data_url(picture())) * count)
    assert (answered.status, "more than 16 media" in answered.error["message"]) == (413, True)


def test_fifty_users_at_once_cost_the_memory_of_those_who_are_taken(
    open_page: Callable[..., Served], adapters: dict[str, Any]
) -> None:
    page = open_page(limits=Limits(waiting=2, batch=1, new_tokens=1))
    asked = shown(data_url(picture((600, 400)) + bytes(200_000)))
    page.ask(asked, max_tokens=1)
    opened = threading.Event()
    llm = adapters["a"].attachment.backbone.llm.model
    handle = llm.get_input_embeddings().register_forward_pre_hook(lambda *_: opened.wait(60) and None)
    before, held = resident(), []
    with ThreadPoolExecutor(50) as pool:
        calls = [pool.submit(page.ask, asked, max_tokens=1) for _ in range(50)]
        page.until(lambda: sum(call.done() for call in calls) == 47)
        held.append(page.held)
        opened.set()
        statuses = sorted(call.result().status for call in calls)
    handle.remove()
    assert (statuses, held) == ([200] * 3 + [429] * 47, [3])
    assert resident() - before < 80e6


@pytest.mark.parametrize("tokens", [10**9, 0, -1, 1.5, "8", "٣", True])
def test_a_senseless_number_of_tokens_is_named(page: Served, tokens: Any) -> None:
    answered = page.ask(ASK, max_tokens=tokens)
    assert (answered.status, answered.error["param"]) == (400, "max_tokens")


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "a",
        [{"role": "user", "content": ""}],
        [{"role": "assistant", "content": "a"}],
        [{"role": "user", "content": ["a"]}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "media": [{"type": "image_url"}]}],
        [{"role": "tool", "content": "a"}],
        [{"role": "user", "content": "\ud800"}],
    ],
)
def test_a_conversation_that_is_none_is_refused(page: Served, messages: Any) -> None:
    assert page.ask("", messages=messages).status == 400
    assert page.ask(ASK, max_tokens=1).status == 200


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"model": NaN}', b"\xff", b'{"model": "a", "model": "b"}', b"null"])
def test_json_with_two_readings_is_refused(page: Served, body: bytes) -> None:
    assert page.call("/v1/chat/completions", body).status == 400


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "owner/name", "hf://owner/name", "c", ""])
def test_a_request_cannot_name_an_adapter_that_is_not_served(page: Served, name: str) -> None:
    assert page.ask(ASK, name).status == 404
