"""What is sent to the demo: pictures, conversations, numbers. Numbers of tests: docs/reference/hostile_input.md."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from demo_client import BOUNDARY, Client, Echo, Opened, bomb, conversation, form, png, resident

from inlay.recipes.demo.limits import Limits

# 53: uploads


def test_53_an_upload_is_refused_by_its_length_before_it_is_read(client: Client, echo: Echo) -> None:
    answer = client.post(b"x" * 1_000_001)
    assert (answer.status, "1 MB" in answer.error) == (413, True)
    huge = client.call("POST", "/ask", b"", {"Content-Length": "9" * 30})
    assert huge.status == 413
    assert echo.asked == []


@pytest.mark.parametrize("length", ["-1", "²", "1_0", "0x10", ""])
def test_53_a_length_that_is_no_number_is_refused(client: Client, length: str) -> None:
    with socket.create_connection(("127.0.0.1", client.port), 5) as wire:
        wire.sendall(f"POST /ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n".encode())
        assert b" 411 " in wire.recv(100)


def test_53_chunked_uploads_have_no_length_and_are_refused(client: Client) -> None:
    assert client.call("POST", "/ask", b"", {"Transfer-Encoding": "chunked"}).status == 411


def test_53_content_decides_what_a_picture_is(client: Client) -> None:
    assert client.ask(pictures=[png(format="WEBP")], kind="text/html").status == 200
    for data in (b"GIF89a" + bytes(50), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"", b"PK\3\4"):
        answer = client.ask(pictures=[data], kind="image/png")
        assert (answer.status, "picture 1" in answer.error) == (400, True)


def test_53_a_polyglot_is_pixels_and_nothing_of_it_comes_back(client: Client, echo: Echo) -> None:
    script = b"<html><script>alert('polyglot')</script>PK\3\4"
    answer = client.ask("a", [png(format="JPEG", comment=script) + script])
    assert answer.status == 200
    assert b"polyglot" not in answer.body
    assert echo.asked[0][0][0].content[0].source.mode == "RGB"


@pytest.mark.parametrize("size", [(50_000, 50_000), (9_000, 9_000), (1, 4_000_000)])
def test_53_a_bomb_is_refused_before_it_is_decoded(client: Client, size: tuple[int, int]) -> None:
    before = resident()
    answer = client.ask(pictures=[bomb(*size)])
    assert (answer.status, "too many" in answer.error) == (400, True)
    assert resident() - before < 50e6


def test_53_many_pictures_share_one_allowance_of_pixels(opened: Opened, echo: Echo) -> None:
    client = opened(echo, Limits(pixels=150))
    assert client.ask(pictures=[png()] * 3).status == 200
    assert "picture 4" in client.ask(pictures=[png()] * 4).error


@pytest.mark.parametrize("count", [9, 100])
def test_53_a_hundred_files_at_once_are_refused_with_a_message(client: Client, count: int) -> None:
    answer = client.ask(pictures=[png()] * count)
    assert (answer.status, "pictures" in answer.error) == (413, True)
    assert client.ask().status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"\r\n" * 400_000,
        form({})[:-4],
        form({"picture": b""})[:-30],
        b"--" + BOUNDARY.encode() + b"\r\n\r\n",
    ],
)
def test_53_a_damaged_form_is_refused_at_once(client: Client, body: bytes) -> None:
    start = time.monotonic()
    answer = client.post(body)
    assert answer.status == 400
    assert time.monotonic() - start < 2


# 55: pictures are bytes


@pytest.mark.parametrize(
    "source",
    [
        "http://127.0.0.1:1/x.png",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "/etc/hostname",
        "data:image/png",
    ],
)
def test_55_addresses_and_paths_are_no_pictures(client: Client, source: str) -> None:
    assert "JPEG, PNG or WebP" in client.ask(pictures=[source.encode()]).error
    for key in ("image", "path", "url", "pictures"):
        assert client.post(conversation([{"role": "user", "text": "a", key: source}])).status == 400


# 58: numbers


def test_58_tokens_are_clamped(client: Client, echo: Echo) -> None:
    assert client.ask(max_new_tokens="1000000000").json["max_new_tokens"] == 512
    assert client.ask().json["max_new_tokens"] == 16
    assert [options["max_new_tokens"] for _, options in echo.asked] == [512, 16]


@pytest.mark.parametrize("value", ["0", "-1", "1e3", "NaN", "", "٣", "²", "1_0", "0x10", "1.5", "9" * 5000])
def test_58_a_bad_number_of_tokens_is_named(client: Client, value: str) -> None:
    answer = client.ask(max_new_tokens=value)
    assert (answer.status, answer.error.startswith("max_new_tokens: expected")) == (400, True)


@pytest.mark.parametrize("value", ["NaN", "-1", "inf", "1e9", "٣", ".5", "", "0,5"])
def test_58_a_bad_temperature_is_named(client: Client, value: str) -> None:
    answer = client.ask(temperature=value)
    assert (answer.status, answer.error.startswith("temperature: expected")) == (400, True)


@pytest.mark.parametrize(
    "turns",
    [
        [],
        "a",
        [{"role": "user", "text": ""}],
        [{"role": "user", "text": "x" * 4001}],
        [{"role": "system", "text": "a"}],
        [{"role": "user", "text": "a"}] * 2,
        [{"role": "user", "text": "a"}] * 3,
        [{"role": "user", "text": ["a"]}],
        [{"role": "user", "text": "a", "pictures": True}],
        [{"role": "user", "text": "a", "pictures": 1}],
        [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}] * 40 + [{"role": "user", "text": "a"}],
    ],
)
def test_58_a_conversation_that_is_none_is_refused(client: Client, echo: Echo, turns: Any) -> None:
    answer = client.post(conversation(turns))
    assert (answer.status, answer.error.startswith("conversation: ")) == (400, True)
    assert echo.asked == []


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"turns": NaN}', b"\xff", b'{"a": 1, "a": 1}', b"null"])
def test_58_json_with_two_readings_is_refused(client: Client, data: bytes) -> None:
    assert client.post(form({"conversation": data})).status == 400
