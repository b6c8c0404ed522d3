"""Encoders that are not loaded: what they would say of themselves, and all their features that are asked for, is known.

Once an encoder was loaded, a small record keeps its port and its spaces beside the state of its files. As long as those
have not changed, the next run loads it for the first medium that is not in the cache, and otherwise never.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from inlay.adapters.encoders.protocol import Encoder, Inputs
from inlay.adapters.media.digest import media_digest
from inlay.adapters.media.image import Geometry
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.video import Picks
from inlay.hub.format.manifest import PortSpec
from inlay.recipes.cache.facts import encoder_facts
from inlay.recipes.cache.shard import write_file
from inlay.recipes.cache.sources import Files
from inlay.recipes.cache.store import CacheStore, CacheWarning, Space, digest_of

__all__ = ["StoredEncoder", "load_encoder", "space_of", "stored_encoders"]

HELD = "held"
"""Name of inputs that are features already."""


def space_of(store: CacheStore, encoder: Encoder, modality: Modality, geometry: Geometry) -> Space:
    """Where the features of an encoder lie."""
    if isinstance(encoder, StoredEncoder):
        return encoder.space(geometry)
    facts = encoder_facts(encoder, modality, geometry)
    return store.space(digest_of(facts), facts)


def load_encoder(encoder: Encoder) -> Encoder:
    """The same, with its weights in memory."""
    if isinstance(encoder, StoredEncoder):
        encoder.load()
    return encoder


def stored_encoders(
    store: CacheStore,
    modalities: Sequence[Modality],
    files: Files,
    load: Callable[[], Mapping[Modality, Encoder]],
    asked: Callable[[Mapping[str, PortSpec]], Mapping[str, Any]],
) -> dict[Modality, Encoder]:
    """Encoders that are loaded, all at once, when one of them is needed.

    Args:
        store: where features and records are.
        modalities: of the encoders.
        files: that they are loaded from, with all that decides how.
        load: loads them.
        asked: the facts of the files as they would be for an adapter with these ports, which names what was default.
    """
    if files.digest() is None:
        return dict(load())
    group = _Group(store, files, load, asked)
    return {modality: cast(Encoder, StoredEncoder(modality, group)) for modality in modalities}


class _Group:
    """Encoders that are loaded together, and their record."""

    def __init__(
        self,
        store: CacheStore,
        files: Files,
        load: Callable[[], Mapping[Modality, Encoder]],
        asked: Callable[[Mapping[str, PortSpec]], Mapping[str, Any]],
    ) -> None:
        self.store, self.files, self._load, self._asked = store, files, load, asked
        self.name = files.digest()
        self.known = self._read(self.name)

    @cached_property
    def loaded(self) -> Mapping[Modality, Encoder]:
        """The encoders."""
        return self._load()

    def _read(self, name: str | None) -> dict[str, Any]:
        try:
            held = json.loads(self._path(name).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return held if isinstance(held, dict) else {}

    def _path(self, name: str | None) -> Path:
        return self.store.root / "encoders" / f"{name}.json"

    def note(self, modality: Modality, encoder: Encoder, space: str, digest: str) -> None:
        """Keep what is known of a loaded encoder, unless its files have changed since it was asked for."""
        own = self.known.get(modality)
        spaces = own.get("spaces") if isinstance(own, dict) else None
        spaces = {**(spaces if isinstance(spaces, dict) else {}), space: digest}
        port = encoder.port.model_dump(mode="json")
        self.known[modality] = {"port": port, "dtype": str(encoder.dtype).removeprefix("torch."), "spaces": spaces}
        if self.files.digest(settled=True) != self.name:
            return
        ports: dict[str, PortSpec] = {str(name): other.port for name, other in self.loaded.items()}
        for name in {self.name, self.files.digest(**self._asked(ports))}:
            with suppress(OSError):  # the next run loads the encoder, and that is all
                self._path(name).parent.mkdir(parents=True, exist_ok=True)
                write_file(self._path(name), json.dumps({**self._read(name), **self.known}, indent=2).encode() + b"\n")


class StoredEncoder(nn.Module):
    """An encoder in the place of one that is loaded when it has to be.

    Args:
        modality: of its media.
        group: loads it.
    """

    def __init__(self, modality: Modality, group: _Group) -> None:
        super().__init__()
        self.modality, self.group = modality, group
        self.register_buffer("place", torch.empty(0), persistent=False)
        self.inner: nn.Module | None = None
        self._record = _valid(group.known.get(modality))

    @property
    def loaded(self) -> bool:
        """Whether the weights were read."""
        return self.inner is not None

    def load(self) -> Encoder:
        """The encoder itself."""
        if self.inner is None:
            self.inner = cast(nn.Module, self.group.loaded[self.modality]).to(self.device)
        return cast(Encoder, self.inner)

    def space(self, geometry: Geometry) -> Space:
        """Where its features lie; known beforehand, or of what was loaded."""
        name = f"{geometry} {self.device.type}"
        known = self._record[2].get(name) if self._record is not None else None
        if known is not None and not self.loaded:
            return self.group.store.space(known)
        encoder = self.load()
        facts = encoder_facts(encoder, self.modality, geometry)
        digest = digest_of(facts)
        if known not in (None, digest):
            warnings.warn(
                f"{encoder.port.source}: the {self.modality} encoder is not the one that was recorded for these files; "
                "its features are computed again",
                CacheWarning,
                stacklevel=2,
            )
        self.group.note(self.modality, encoder, name, digest)
        self._record = _valid(self.group.known.get(self.modality))
        return self.group.store.space(digest, facts)

    @property
    def picks(self) -> Picks | None:
        """As the encoder does it, which has to be loaded to know."""
        return getattr(self.load(), "picks", None)

    def preprocess(self, media: Sequence[Any], geometry: Geometry) -> Inputs:
        """As the encoder does it; or features, where those of all media are there."""
        if self.loaded or not media:
            return self.load().preprocess(media, geometry)
        keys = [media_digest(self.modality, medium).hex() for medium in media]
        space = self.space(geometry)
        shapes = dict.fromkeys(keys, (self.tokens, self.width))
        found = {} if self.loaded else space.find(keys, shapes)
        if len(found) < len(set(keys)):
            return self.load().preprocess(media, geometry)
        return {HELD: torch.stack([found[key] for key in keys])}

    def encode(self, inputs: Any) -> Tensor:
        """Frozen features ``[n, tokens, width]``."""
        if isinstance(inputs, Mapping) and set(inputs) == {HELD}:
            held: Tensor = inputs[HELD]
            return held.to(self.device)
        return self.load().encode(inputs)

    @property
    def port(self) -> PortSpec:
        """What an adapter has to know of it."""
        return self.load().port if self.loaded or self._record is None else self._record[0]

    @property
    def family(self) -> str:
        """The architecture."""
        return self.port.family

    @property
    def tokens(self) -> int:
        """Features per medium."""
        return int(self.port.tokens or 0)

    @property
    def width(self) -> int:
        """Values per feature."""
        return self.port.width

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        return self.load().dtype if self.loaded or self._record is None else self._record[1]

    @property
    def device(self) -> torch.device:
        """Where the encoder is, or would be."""
        return self.get_buffer("place").device


_Known = tuple[PortSpec, torch.dtype, Mapping[str, str]]


def _valid(held: object) -> _Known | None:
    """A record, if it is one."""
    if not isinstance(held, dict) or not isinstance(held.get("spaces"), dict):
        return None
    kind, spaces = getattr(torch, str(held.get("dtype")), None), held["spaces"]
    if not isinstance(kind, torch.dtype) or not all(_is_digest(value) for value in spaces.values()):
        return None
    try:
        port = PortSpec.model_validate_json(json.dumps(held.get("port")))
    except ValidationError:
        return None
    return (port, kind, spaces) if port.kind == "encoder" and port.tokens else None


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
