"""The demo over real HTTP on the loopback. The numbers are those of docs/hostile_input.md."""

from __future__ import annotations

import io
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from demo_client import BOUNDARY, Answer, Client, Echo, Opened, conversation, form, png, resident, until
from PIL import Image

from inlay.recipes.commands.demo import main
from inlay.recipes.demo.demonstration import examples_of
from inlay.recipes.demo.limits import DemoError, Limits
from inlay.recipes.miniature.datasets.pictures import build

BEACON = "<script>alert(1)</script><img src=x onerror=alert(1)> ![b](http://127.0.0.1/beacon.png)"


# What it is for


def test_an_attached_adapter_answers_about_a_picture_and_remembers(
    opened: Opened, backbone_of: Any, adapter_of: Any
) -> None:
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    client = opened(model)
    first = client.ask("what colour?", [png()], max_new_tokens="3")
    assert first.status == 200, first.error
    turns = [{"role": "user", "text": "what colour?", "pictures": 1}]
    turns += [{"role": "assistant", "text": first.json["text"]}, {"role": "user", "text": "how many squares?"}]
    fields = [("conversation", json.dumps({"turns": turns}).encode()), ("picture", png()), ("max_new_tokens", b"3")]
    second = client.post(form(fields))
    said = [{"role": turn["role"], "content": turn["text"] or " "} for turn in turns]
    said[0]["content"] = [
        {"type": "image", "image": Image.new("RGB", (8, 6), (255, 0, 0))},
        {"type": "text", "text": "what colour?"},
    ]
    assert second.json["text"] == model.chat(said, max_new_tokens=3).text
    assert second.json["tokens"] <= 3


def test_sampling_is_asked_for_by_a_temperature(client: Client, echo: Echo) -> None:
    client.ask(temperature="0")
    client.ask(temperature="0.7")
    assert [options.get("temperature") for _, options in echo.asked] == [None, 0.7]
    assert echo.asked[1][1]["do_sample"] is True


def test_the_page_and_its_files_are_served(client: Client) -> None:
    for path, kind in [("/", "text/html"), ("/style.css", "text/css"), ("/script.js", "text/javascript")]:
        answer = client.call("GET", path)
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(kind)
    assert client.call("GET", "/about").json["max_new_tokens"] == 16


def test_a_run_on_the_miniature_brings_examples(tmp_path: Path, opened: Opened, echo: Echo) -> None:
    build(tmp_path / "data", 0, scenes=4, test_scenes=7, digits=2, test_digits=2)
    examples = examples_of(tmp_path)
    client = opened(echo, examples=examples)
    assert 1 < len(examples) <= 6
    assert client.call("GET", "/about").json["examples"] == [example.question for example in examples]
    assert Image.open(io.BytesIO(client.call("GET", "/example/1").body)).format == "PNG"
    assert client.call("GET", f"/example/{len(examples)}").status == 404


def test_a_bundle_without_data_has_no_examples(tmp_path: Path) -> None:
    assert examples_of(tmp_path) == examples_of(Path("owner/name")) == []


# 54: paths


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2fpyproject.toml",
        "//etc/passwd",
        "/etc/passwd",
        "/file=/etc/passwd",
        "/gradio_api/file=/etc/passwd",
        "/script.js/../server.py",
        "/example/../../server.py",
        "/example/-1",
        "/page/index.html",
        "/index.html",
        "/server.py",
        "/?file=/etc/passwd",
        "file:///etc/passwd",
        "/.git/config",
    ],
)
def test_54_nothing_but_the_fixed_addresses_is_served(client: Client, path: str) -> None:
    for method in ("GET", "POST"):
        answer = client.call(method, path)
        assert (answer.status, answer.error) == (404, "there is nothing here")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_54_other_methods_are_refused_without_html(client: Client, method: str) -> None:
    answer = client.call(method, "/")
    assert answer.status == 501
    assert "error" in answer.json


# 56: text is text


def test_56_html_and_beacons_come_back_as_json_that_is_never_html(client: Client, echo: Echo) -> None:
    answer = client.ask(BEACON)
    assert answer.json["text"] == BEACON
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert echo.asked[0][0][0].text == BEACON


def test_56_the_page_may_run_its_own_script_alone_and_never_parses_text(client: Client) -> None:
    page, script = client.call("GET", "/"), client.call("GET", "/script.js").body.decode()
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert b"<script>" not in page.body
    assert b" on" + b"load=" not in page.body
    assert [
        word for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(") if word in script
    ] == []
    assert all(b"//" not in client.call("GET", path).body for path in ("/", "/style.css"))


# 57: the adapter is chosen at the terminal


@pytest.mark.parametrize("name", ["model", "adapter", "bundle", "repo_id"])
def test_57_a_request_cannot_name_an_adapter(client: Client, echo: Echo, name: str) -> None:
    assert client.post(conversation([{"role": "user", "text": "a"}], **{name: b"owner/name"})).status == 400
    assert echo.asked == []
    assert f'name="{name}"'.encode() not in client.call("GET", "/").body


# 59: many at once


def test_59_one_is_answered_a_few_wait_and_the_rest_is_sent_away(client: Client, echo: Echo) -> None:
    client.ask(pictures=[png((600, 400))])
    before, threads = resident(), threading.active_count()
    echo.go.clear()
    answers: list[Answer] = []
    body = png((600, 400)) + bytes(200_000)
    callers = [threading.Thread(target=lambda: answers.append(client.ask(pictures=[body]))) for _ in range(50)]
    for caller in callers:
        caller.start()
    assert until(lambda: len(answers) == 47)
    assert {answer.status for answer in answers} == {503}
    assert {answer.headers["Retry-After"] for answer in answers} == {"5"}
    echo.go.set()
    for caller in callers:
        caller.join()
    assert sorted(answer.status for answer in answers) == [200] * 3 + [503] * 47
    assert echo.most_inside == 1
    assert until(lambda: threading.active_count() <= threads)
    echo.asked.clear()
    assert resident() - before < 40e6


def test_59_who_leaves_while_waiting_is_not_answered_and_the_server_lives(client: Client, echo: Echo) -> None:
    echo.go.clear()
    first = threading.Thread(target=client.ask)
    first.start()
    assert until(lambda: echo.inside == 1)
    body = conversation([{"role": "user", "text": "gone"}])
    head = f"POST /ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    with socket.create_connection(("127.0.0.1", client.port), 5) as wire:
        wire.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    echo.go.set()
    first.join()
    assert client.ask("still there?").json["text"] == "still there?"
    assert [messages[-1].text for messages, _ in echo.asked] == ["what is shown?", "still there?"]


def test_59_who_leaves_in_the_middle_of_an_answer_does_no_harm(
    client: Client, echo: Echo, capsys: pytest.CaptureFixture[str]
) -> None:
    echo.go.clear()
    body = conversation([{"role": "user", "text": "gone"}])
    head = f"POST /ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    wire = socket.create_connection(("127.0.0.1", client.port), 5)
    wire.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert until(lambda: echo.inside == 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()
    echo.go.set()
    assert client.ask().status == 200
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nX: ", b"POST /ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nx"]
)
def test_59_a_request_that_drips_is_cut_off(opened: Opened, echo: Echo, sent: bytes) -> None:
    client = opened(echo, Limits(seconds=0.4, waiting=0))
    with socket.create_connection(("127.0.0.1", client.port), 5) as wire:
        wire.sendall(sent)
        for _ in range(3):
            time.sleep(0.1)
            wire.sendall(b"x")
        start = time.monotonic()
        reply = wire.recv(1000)
        assert time.monotonic() - start < 1
        assert reply == b"" or b" 408 " in reply or b" 403 " in reply
    assert until(lambda: client.ask().status == 200)


def half_open(port: int, count: int) -> list[socket.socket]:
    """Connections that never send all of their headers."""
    wires = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(count)]
    for number, wire in enumerate(wires):
        wire.sendall((b"", b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")[number % 3])
    return wires


def test_59_half_open_connections_shut_nobody_out(opened: Opened, echo: Echo) -> None:
    client = opened(echo, Limits(head_seconds=60.0, seconds=60.0))  # none is closed for its age
    wires = half_open(client.port, 140)
    try:
        assert client.ask("still there?").json["text"] == "still there?"
        assert client.call("GET", "/").status == 200
    finally:
        for wire in wires:
            wire.close()


def test_59_headers_have_a_shorter_time_than_an_upload(opened: Opened, echo: Echo) -> None:
    client = opened(echo, Limits(seconds=20.0, head_seconds=0.3))
    (wire,) = half_open(client.port, 1)
    with wire:
        wire.settimeout(5)
        assert wire.recv(100) == b""
    body = conversation([{"role": "user", "text": "slowly"}])
    head = f"POST /ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    with socket.create_connection(("127.0.0.1", client.port), 5) as wire:
        wire.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        time.sleep(0.5)
        wire.sendall(body)
        assert b" 200 " in wire.recv(100)


def test_59_connections_that_are_answered_are_bounded(opened: Opened, echo: Echo) -> None:
    client = opened(echo, Limits(connections=1))
    echo.go.clear()
    first = threading.Thread(target=client.ask)
    first.start()
    assert until(lambda: echo.inside == 1)
    answer = client.call("GET", "/")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    echo.go.set()
    first.join()
    assert until(lambda: client.call("GET", "/").status == 200)


def test_59_a_model_that_fails_says_why_at_the_terminal_only(
    client: Client, echo: Echo, capsys: pytest.CaptureFixture[str]
) -> None:
    echo.fails = RuntimeError("CUDA out of memory in /home/me/secret with hf_token")
    answer = client.ask()
    assert answer.status == 500
    assert "secret" not in answer.error
    assert "hf_token" not in answer.error
    assert "CUDA out of memory" in capsys.readouterr().err
    echo.fails = None
    assert client.ask().status == 200


# 60: who may ask


def test_60_it_listens_on_the_loopback_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Stop(Exception):
        pass

    def note(host: str, port: int, limits: Limits, allowed: list[str]) -> None:
        assert allowed == []
        seen.append((host, port, limits.upload_bytes))
        raise Stop

    monkeypatch.setattr("inlay.recipes.demo.server.DemoServer", note)
    with pytest.raises(Stop):
        main(["runs/llava"])
    assert seen == [("127.0.0.1", 7860, 10_000_000)]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1", "1"])
def test_60_a_name_that_a_stranger_could_point_here_is_refused(client: Client, host: str) -> None:
    assert client.call("GET", "/about", headers={"Host": host}).status == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:7860", "[::1]:7860", "192.168.1.7"])
def test_60_addresses_and_localhost_are_our_own(client: Client, host: str) -> None:
    assert client.call("GET", "/about", headers={"Host": host}).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:7860"])
def test_60_other_pages_in_the_same_browser_may_not_ask(client: Client, echo: Echo, origin: str) -> None:
    answer = client.post(conversation([{"role": "user", "text": "a"}]), Origin=origin)
    assert answer.status == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert echo.asked == []


def test_60_the_own_page_may_ask(client: Client) -> None:
    own = f"127.0.0.1:{client.port}"
    assert client.post(conversation([{"role": "user", "text": "a"}]), Host=own, Origin=f"http://{own}").status == 200


PROXY = "demo.example.org"


@pytest.mark.parametrize("host", [PROXY, "127.0.0.1:7860", "Demo.Example.org"])
@pytest.mark.parametrize("origin", [f"https://{PROXY}", "https://DEMO.example.org"])
def test_60_a_page_behind_a_proxy_may_ask(opened: Opened, echo: Echo, host: str, origin: str) -> None:
    """The proxy passes its own name on, or puts the address of this server there; the origin is the proxy's."""
    client = opened(echo, allowed=[PROXY])
    assert client.call("GET", "/about", headers={"Host": host}).status == 200
    asked = client.post(conversation([{"role": "user", "text": "a"}]), Host=host, Origin=origin)
    assert asked.status == 200, asked.error


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", None),
        ("evil.example", "https://evil.example"),
        (PROXY, "https://evil.example"),
        (PROXY, "null"),
        (PROXY, f"https://{PROXY}.evil.example"),
        (PROXY, f"https://{PROXY}:8443"),
        (PROXY, f"ftp://{PROXY}"),
        (f"{PROXY}.evil.example", f"https://{PROXY}"),
        ("127.0.0.1", "https://evil.example"),
    ],
)
def test_60_others_are_refused_behind_a_proxy_too(opened: Opened, echo: Echo, host: str, origin: str | None) -> None:
    client = opened(echo, allowed=[PROXY])
    more = {"Host": host} if origin is None else {"Host": host, "Origin": origin}
    assert client.post(conversation([{"role": "user", "text": "a"}]), **more).status == 403
    assert echo.asked == []


@pytest.mark.parametrize("name", ["https://demo.example.org", "demo.example.org/page", "*", "", "a b"])
def test_60_what_is_no_name_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(DemoError, match=r"allow_host: expected a name without https:// and path"):
        main(["no/bundle", "--port=0", "--allow_host", name, "--allow_host", "demo.example.org"])


def test_60_errors_name_no_path_and_answers_no_library(client: Client) -> None:
    answer = client.ask(pictures=[b"x"])
    assert str(Path.cwd()) not in answer.error
    assert answer.headers["Server"] == "inlay"


def test_a_taken_port_is_told_before_a_model_is_loaded(client: Client) -> None:
    with pytest.raises(DemoError, match=f"port {client.port}.*--port"):
        main(["no/bundle", "--port", str(client.port)])


@pytest.mark.parametrize("options", [["--port", "99999"], ["--waiting", "-1"], ["--upload_mb", "0"]])
def test_senseless_options_are_refused(options: list[str]) -> None:
    with pytest.raises(DemoError):
        main(["no/bundle", *options])


def test_control_c_ends_it_with_a_line_and_status_0(tmp_path: Path) -> None:
    code = (
        "from inlay.recipes.commands.demo import serve; from inlay.recipes.demo.server import DemoServer; import sys;"
        "from inlay.recipes.demo.demonstration import Demonstration;"
        "sys.exit(serve(DemoServer('127.0.0.1', 0), Demonstration(None, 'none')))"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as demo:
        try:
            assert "http://127.0.0.1:" in demo.stdout.readline()
            demo.send_signal(signal.SIGINT)
            assert demo.wait(60) == 0
            assert demo.stdout.read().strip() == "stopped"
        finally:
            demo.kill()
