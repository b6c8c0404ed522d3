"""Settings that cannot work, and statuses that a hub does not give, each with its own message."""

from __future__ import annotations

import huggingface_hub.constants
import pytest
from hub_emulator import Hub

from inlay.hub import HubError
from inlay.hub.remote.address import Repository
from inlay.hub.remote.client import Client
from inlay.hub.remote.download import Download


def _list(client: Client) -> object:
    return Download(Repository(repo_id="me/x"), client, None, 0).list()


@pytest.mark.parametrize("endpoint", ["notaurl", "", "ftp://hub", "https://", "https:// x"])
def test_an_endpoint_that_is_not_an_address_is_named(hub: Hub, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        HubError, match=rf"me/x: endpoint: expected an address with https://, got '{endpoint}'"
    ) as caught:
        _list(Client(endpoint))
    assert caught.value.problem == "address"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    with pytest.raises(HubError, match=r"me/x: HF_ENDPOINT: expected an address with https://"):
        _list(Client())
    assert hub.seen == []


@pytest.mark.parametrize("token", ["hf_ä", "hf_a b", "hf_a\nb", "hf_\u200bsecret", "hf_\udcff"])
def test_a_token_with_a_wrong_character_is_told_and_not_shown(
    hub: Hub, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for client in (Client(token=token), Client()):
        monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
        with pytest.raises(HubError, match=r"me/x: the token contains a character that no token has") as caught:
            _list(client)
        assert caught.value.problem == "token"
        assert token not in str(caught.value)
    assert hub.seen == []


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_the_request_is_told_once(hub: Hub, status: int) -> None:
    hub.fail("/revision/", "status", times=99, value=status)
    message = rf"the server does not support this request \(status {status}\).*check that the address \(HF_ENDPOINT\)"
    with pytest.raises(HubError, match=message) as caught:
        _list(Client())
    assert caught.value.problem == "server"
    assert len(hub.requests("/revision/")) == 1
