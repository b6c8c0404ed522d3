"""``search``: bundles on a hub, found by the tags in their cards, and bundles in the local cache."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from inlay.hub.errors import BundleError
from inlay.hub.format.card import port_tag
from inlay.hub.format.files import read_manifest
from inlay.hub.format.manifest import Manifest
from inlay.hub.remote.client import Client
from inlay.hub.safety.safe_read import OpenFolder
from inlay.hub.safety.text import forbidden_character

__all__ = ["Found", "Offers", "in_cache", "on_hub"]

Offers: TypeAlias = frozenset[tuple[str, int]]
"""Families and widths of the models inside a model."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One bundle."""

    repo_id: str
    where: Literal["hub", "cache"]
    commit: str | None
    """The newest commit on the hub, or the one in the cache."""
    tags: tuple[str, ...]
    """The tags in its card: system, families, ports."""


def on_hub(
    ports: Mapping[str, Offers],
    *,
    author: str | None = None,
    limit: int = 100,
    endpoint: str | None = None,
    token: str | bool | None = None,
) -> list[Found]:
    """Search a hub.

    Args:
        ports: for each port, the families and widths that the backbone has there; empty for every bundle.
        author: only bundles of this user or organisation.
        limit: maximum number of bundles.
        endpoint: the hub; ``HF_ENDPOINT`` or huggingface.co if not given.
        token: ``None`` for the token of the user's login, ``False`` for none.

    Raises:
        HubError: the hub cannot be reached, or ``HF_HUB_OFFLINE`` is set.
    """
    client = Client(endpoint, token)

    def ask() -> list[Found]:
        found: dict[str, Found] = {}
        for wanted in _combinations(ports):
            for info in client.api.list_models(filter=["inlay", *wanted], author=author, limit=limit):
                tags = tuple(text for text in info.tags or () if not forbidden_character(text))
                found[info.id] = Found(repo_id=info.id, where="hub", commit=info.sha, tags=tags)
        return sorted(found.values(), key=lambda item: item.repo_id)[:limit]

    return client.call("search", ask, again=False)  # huggingface_hub retries each page itself


def in_cache(ports: Mapping[str, Offers], cache_dir: str | os.PathLike[str] | None = None) -> list[Found]:
    """Search the cache; no request is sent, and everything that is not a bundle is ignored.

    Args:
        ports: as in :func:`on_hub`.
        cache_dir: the cache; that of huggingface_hub if not given.
    """
    from huggingface_hub import constants

    found = []
    for folder in sorted(
        Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir).glob("models--*/snapshots/*")
    ):
        try:
            with OpenFolder(folder) as opened:
                manifest = read_manifest(opened)
        except BundleError:
            continue
        if all(_fits(manifest, port, offers) for port, offers in ports.items()):
            repo_id = folder.parents[1].name.removeprefix("models--").replace("--", "/")
            tags = [port_tag(name, port.family, port.width) for name, port in sorted(manifest.interface.items())]
            facts = Found(repo_id=repo_id, where="cache", commit=folder.name, tags=("inlay", manifest.system, *tags))
            found.append(facts)
    return found


def _fits(manifest: Manifest, port: str, offers: Offers) -> bool:
    spec = manifest.interface.get(port)
    return spec is not None and (spec.family, spec.width) in offers


def _combinations(ports: Mapping[str, Offers]) -> Iterable[list[str]]:
    """The tags of every combination of one family and width for each port; a port has one or two of them."""
    combinations: list[list[str]] = [[]]
    for port, offers in sorted(ports.items()):
        combinations = [[*begun, port_tag(port, *offer)] for begun in combinations for offer in sorted(offers)]
    return combinations
