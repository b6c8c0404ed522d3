"""The server over HTTP: addresses, errors in OpenAI's form, keys, host names, limits, and bad clients."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from serve_client import Served, request, shown

from inlay.recipes.serve.limits import Limits
from inlay.recipes.serve.request.media import MediaAccess

KEY = "a-key-of-sixteen-characters"
ASK = "what is shown ?"


def test_models_are_listed_by_name(served: Served) -> None:
    listed = served.call("/v1/models").json
    assert listed["object"] == "list"
    assert [card["id"] for card in listed["data"]] == ["a", "b"]
    assert served.call("/v1/models/b").json["id"] == "b"
    assert served.call("/v1/models/c").status == 404


def test_an_unknown_model_is_404_with_the_known_ones(served: Served) -> None:
    answered = served.ask(ASK, "gpt-9")
    assert answered.status == 404
    assert (answered.error["code"], answered.error["param"]) == ("model_not_found", "model")
    assert "a, b" in answered.error["message"]


@pytest.mark.parametrize("body", [b"{", b"", b'{"model": "a"}', b"\x00" * 100])
def test_bad_json_is_400_in_openais_form(served: Served, body: bytes) -> None:
    answered = served.call("/v1/chat/completions", body)
    assert answered.status == 400
    assert answered.error.keys() == {"message", "type", "param", "code"}
    assert answered.error["type"] == "invalid_request_error"


def test_a_stop_list_of_five_is_400(served: Served) -> None:
    error = served.ask(ASK, stop=list("abcde")).error
    assert error["param"] == "stop"
    assert "at most 4 items" in error["message"]


def test_an_unknown_address_and_method_have_openais_form(served: Served) -> None:
    message = served.call("/v1/nothing").error["message"]
    assert message.startswith("Invalid URL (GET /v1/nothing); expected one of ")
    assert "POST /v1/chat/completions" in message
    assert served.call("/v1/chat/completions").status == 405
    assert served.call("/docs").status == 404


def test_another_content_type_is_415_so_that_web_pages_cannot_ask(served: Served) -> None:
    answered = served.call("/v1/chat/completions", request(ASK), Content_Type="text/plain")
    assert answered.status == 415
    assert not any(name.lower().startswith("access-control") for name in answered.headers)


def test_a_huge_body_is_413_before_it_is_read(serve: Any, adapters: Any) -> None:
    served = serve(adapters, Limits(request_bytes=1000))
    with served.open(b"x", length=10**12) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    chunked = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    chunked += b"Transfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 4
    with served.open() as connection:
        connection.sendall(chunked)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    served.until(lambda: served.held == 0)


def test_more_tokens_than_allowed_are_400(serve: Any, adapters: Any) -> None:
    served = serve(adapters, Limits(new_tokens=4, most_tokens=8))
    assert served.ask(ASK, max_tokens=9).error["param"] == "max_tokens"
    body = request(ASK)
    del body["max_tokens"]
    assert served.call("/v1/chat/completions", body).json["usage"]["completion_tokens"] == 4
    assert served.ask(ASK, max_completion_tokens=2).json["usage"]["completion_tokens"] == 2


def test_a_key_is_required_for_all_but_health(serve: Any, adapters: Any) -> None:
    served = serve(adapters, key=KEY)
    assert served.call("/v1/models").error["code"] == "missing_api_key"
    assert served.call("/metrics").status == 401
    for wrong in ("", KEY[:-1], KEY + "x", "é"):
        assert served.call("/v1/models", Authorization=f"Bearer {wrong}").status == 401
    assert served.call("/v1/models", Authorization=f"Bearer {KEY}").status == 200
    assert served.call("/health").json == {"status": "ok"}


def test_another_host_name_is_403_unless_it_is_allowed(serve: Any, adapters: Any) -> None:
    from inlay.recipes.serve.http_api.guard import Doors

    served = serve(adapters, doors=Doors(hosts=["127.0.0.1", "models.example.org"]))
    refused = served.call("/v1/models", Host="evil.example:8000")
    assert refused.status == 403
    assert "expected 127.0.0.1, models.example.org, got 'evil.example:8000'" in refused.error["message"]
    assert served.call("/v1/models", Host="models.example.org").status == 200


def test_a_file_outside_of_the_folder_is_400_over_http(serve: Any, adapters: Any, tmp_path: Any, image_of: Any) -> None:
    (tmp_path / "in").mkdir()
    image_of(1).save(tmp_path / "out.png")
    image_of(1).save(tmp_path / "in" / "1.png")
    served = serve(adapters, access=MediaAccess(tmp_path / "in", urls=True))
    assert served.ask(shown("1.png")).status == 200
    for url in ("../out.png", f"file://{tmp_path}/out.png", "http://169.254.169.254/latest/meta-data/"):
        answered = served.ask(shown(url))
        assert (answered.status, answered.error["code"]) == (400, "invalid_media")


def test_thirty_two_clients_at_once_get_the_answers_of_one(serve: Any, adapters: Any, image_of: Any) -> None:
    served = serve(adapters, Limits(window_ms=20))
    asked = [(shown(image_of(n % 4)), "ab"[n % 2]) for n in range(32)]
    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda one: served.ask(*one), asked))
    assert {answered.status for answered in together} == {200}
    assert [one.text for one in together[:4]] == [served.ask(*one).text for one in asked[:4]]
    assert all(answered.text == together[n % 4].text for n, answered in enumerate(together))
    served.until(lambda: served.held == 0)


def test_a_full_queue_is_429_with_the_time_to_wait(serve: Any, adapters: Any, gate: threading.Event) -> None:
    served = serve(adapters, Limits(batch=1, waiting=1))
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(served.ask, ASK) for _ in range(2)]
        served.until(lambda: served.held == 2)
        refused = served.ask(ASK)
        gate.set()
        assert [call.result().status for call in calls] == [200, 200]
    assert (refused.status, refused.error["type"]) == (429, "rate_limit_error")
    assert int(refused.headers["retry-after"]) > 0
    assert served.ask(ASK).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ends_when_its_client_leaves(
    serve: Any, adapters: Any, gate: threading.Event, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    served = serve(adapters, Limits(batch=1))
    written: list[int] = []
    from inlay.recipes.serve.engine.row import Row

    plain = Row.take

    def take(row: Row, *arguments: Any) -> None:
        written.append(arguments[0])
        plain(row, *arguments)

    monkeypatch.setattr(Row, "take", take)
    connection = served.open(request(ASK, max_tokens=400, stream=stream))
    served.until(lambda: len(written) > 2)
    connection.close()
    served.until(lambda: served.held == 0)
    gate.set()
    assert served.ask(ASK, max_tokens=1).status == 200  # the next one in the queue
    assert len(written) < 20
    assert 'status="499"' in served.call("/metrics").body.decode()


def test_a_waiting_request_is_dropped_when_its_client_leaves(serve: Any, adapters: Any, gate: threading.Event) -> None:
    served = serve(adapters, Limits(batch=1))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.ask, ASK)
        served.until(lambda: served.held == 1)
        engine = served.app.state.chat.engine
        connection = served.open(request("this one goes"))
        served.until(lambda: engine.waiting == 1)
        connection.close()
        served.until(lambda: served.held == 1)
        gate.set()
        assert first.result().status == 200
    served.until(lambda: engine.waiting == 0)


def test_a_body_that_does_not_arrive_is_408_and_frees_its_place(serve: Any, adapters: Any) -> None:
    served = serve(adapters, Limits(body_seconds=0.6))
    with served.open(b"{", length=100) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
    served.until(lambda: served.held == 0)


def test_a_connection_without_headers_is_closed(serve: Any, adapters: Any) -> None:
    served = serve(adapters, Limits(body_seconds=0.6))
    with served.open() as connection:
        connection.sendall(b"POST /v1/chat")
        assert connection.recv(100) == b""


def test_a_client_that_reads_nothing_is_given_up() -> None:
    pytest.importorskip("fastapi", reason="needs inlay[serve]")
    from inlay.recipes.serve.http_api.guard import Doors, Guard

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.body"})

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    guard = Guard(app, doors=Doors(hosts=()), credentials=None, send_seconds=0.05)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(TimeoutError):
        asyncio.run(guard(scope, never, never))


def test_a_fault_of_the_server_is_500_without_details_and_it_goes_on(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = served.app.state.chat.engine
    with monkeypatch.context() as patch:
        patch.setattr(type(engine.models.model), "write", lambda *_, **__: 1 / 0)
        answered = served.ask(ASK)
    assert (answered.status, answered.error["type"]) == (500, "server_error")
    assert "division" not in answered.error["message"]
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert served.ask(ASK).status == 200


def test_metrics_count_requests_and_tokens(served: Served) -> None:
    served.ask(ASK)
    served.ask(ASK, "gone")
    page = served.call("/metrics").body.decode()
    assert 'inlay_requests_total{model="a",status="200"} 1.0' in page
    assert 'inlay_requests_total{model="",status="404"} 1.0' in page
    assert 'inlay_completion_tokens_total{model="a"} 8.0' in page
    assert "inlay_queue_length 0.0" in page
    assert 'inlay_first_token_seconds_count{model="a"} 1.0' in page
    assert "inlay_batch_rows_count 1.0" in page
    assert "_created" not in page


def test_many_half_open_connections_do_not_keep_others_out(serve: Callable[..., Served], adapters: Any) -> None:
    served = serve(adapters)
    silent: list[socket.socket] = [served.open() for _ in range(100)]
    try:
        assert served.ask(ASK).status == 200
    finally:
        for connection in silent:
            connection.close()


def test_more_half_open_connections_than_allowed_do_not_keep_others_out(serve: Any, adapters: Any) -> None:
    served = serve(adapters, Limits(connections=20))
    silent: list[socket.socket] = []
    try:
        for number in range(60):
            silent.append(served.open())
            silent[-1].sendall((b"", b"P", b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n")[number % 3])
        assert served.ask(ASK).status == 200
    finally:
        for connection in silent:
            connection.close()


def test_connections_that_are_answered_are_bounded(serve: Any, adapters: Any, gate: threading.Event) -> None:
    served = serve(adapters, Limits(connections=2))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.ask, ASK)
        served.until(lambda: served.held == 1)
        with served.open():
            assert served.call("/health").status == 503
        gate.set()
        assert first.result().status == 200
    served.until(lambda: served.call("/health").status == 200)
