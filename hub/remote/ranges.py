"""Reading a byte range of a file on a hub, so that a bundle can be inspected without downloading its tensors."""

from __future__ import annotations

from inlay.hub.errors import HubError
from inlay.hub.remote.address import Repository
from inlay.hub.remote.client import Client

__all__ = ["read_range"]


def read_range(client: Client, place: Repository, name: str, commit: str, start: int, stop: int) -> bytes:
    """Read bytes ``start`` to ``stop`` of a file; fewer if the file is shorter.

    Args:
        client: the hub.
        place: the repository.
        name: a file in it.
        commit: the commit.
        start: first byte.
        stop: end of the range, exclusive; if a server ignores ranges, reading stops here.

    Raises:
        HubError: the file cannot be read.
    """
    return client.call(place, lambda: _read(client, place, name, commit, start, stop))


def _read(client: Client, place: Repository, name: str, commit: str, start: int, stop: int) -> bytes:
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # lazy names

    url = hf_hub_url(place.repo_id, name, revision=commit, endpoint=client.endpoint)
    headers = build_hf_headers(token=client.token, library_name="inlay")
    # A range of a compressed answer would be other bytes.
    headers |= {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    with get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
        if response.status_code >= 400:
            response.read()
        hf_raise_for_status(response)
        skip = start if response.status_code == 200 else 0
        if response.status_code not in (200, 206):
            raise HubError(str(place), f"expected the bytes of {name}, got status {response.status_code}", "server")
        data = b""
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) >= skip + stop - start:
                break
    return data[skip : skip + stop - start]
