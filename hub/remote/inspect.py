"""``inspect``: the manifest and the safetensors headers of a bundle, without its tensors.

In a folder every byte is checked. From a repository a few kilobytes are read by range requests: sizes, shapes and names
are compared with the manifest, and so are the hub's own hashes of files that it stores by hash; contents are checked by
pull.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from inlay.hub.errors import BundleError, HubError
from inlay.hub.format.files import KNOWN_NAMES, MAX_TENSOR_BYTES, SIGNATURE_NAME, bundle_folder, check_listing
from inlay.hub.format.header import TensorSpec, header_end, parameters_in, read_header
from inlay.hub.format.manifest import MANIFEST_NAME, Manifest
from inlay.hub.format.peft_folder import LORA_CONFIG, LORA_PART, LORA_TENSORS, read_config
from inlay.hub.remote.address import Repository, locate, or_no_folder
from inlay.hub.remote.client import Client
from inlay.hub.remote.download import Download, Listing
from inlay.hub.remote.ranges import read_range
from inlay.hub.safety.strict_json import MAX_JSON_BYTES

__all__ = ["Integrity", "Overview", "inspect_bundle"]

Integrity: TypeAlias = Literal["whole", "listed", "unchecked"]
"""``whole``: every byte is checked; ``listed``: the hub's own hashes equal the manifest's; ``unchecked``: neither."""

_FIRST = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Manifest, tensors and state of a bundle."""

    manifest: Manifest
    tensors: Mapping[str, Mapping[str, TensorSpec]]
    """The tensors of each file, by the file's name."""
    size: int
    """Bytes of all files together."""
    integrity: Integrity
    signed: bool
    """Whether there is a signature; ``verify_signature`` checks it."""
    commit: str | None = None
    """The commit of a repository; None for a folder."""


def inspect_bundle(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Overview:
    """Inspect a bundle; the arguments are those of :func:`inlay.hub.pull`.

    Raises:
        HubError: the repository cannot be read.
        BundleError: it is not a bundle, or its files contradict each other.
    """
    place = locate(source, revision)
    if isinstance(place, Path):
        return _folder(bundle_folder(place), None)
    download = Download(place, Client(endpoint, token), cache_dir, MAX_TENSOR_BYTES)
    try:
        found = download.list_or_cached()
    except HubError as error:
        raise or_no_folder(error, source) from None
    if isinstance(found, str):
        return _folder(download.snapshot(found), found)
    return _repository(place, download.client, found)


def _folder(folder: Path, commit: str | None) -> Overview:
    from inlay.hub.format.bundle import Bundle

    bundle = Bundle.read(folder)
    files: list[str] = [spec.path for spec in bundle.manifest.files if spec.path.endswith(".safetensors")]
    tensors: dict[str, Mapping[str, TensorSpec]] = {
        name: _headers(_part(folder / name), (folder / name).stat().st_size, name) for name in files
    }
    known = [folder / name for name in KNOWN_NAMES if (folder / name).is_file()]
    return Overview(
        manifest=bundle.manifest,
        tensors=tensors,
        size=sum(path.stat().st_size for path in known),
        integrity="whole",
        signed=(folder / SIGNATURE_NAME).is_file(),
        commit=commit,
    )


def _repository(place: Repository, client: Client, listing: Listing) -> Overview:
    def part(name: str) -> Callable[[int, int], bytes]:
        return lambda start, stop: read_range(client, place, name, listing.commit, start, stop)

    if MANIFEST_NAME not in listing.sizes:
        raise BundleError(str(place), f"not a bundle: the repository holds no {MANIFEST_NAME}")
    manifest = Manifest.from_json(part(MANIFEST_NAME)(0, MAX_JSON_BYTES + 1))
    check_listing(manifest, frozenset(listing.sizes) & KNOWN_NAMES)
    tensors: dict[str, Mapping[str, TensorSpec]] = {}
    hashed = 0
    for spec in manifest.files:
        if (found := listing.sizes[spec.path]) not in (None, spec.size):
            raise BundleError(spec.path, f"expected {spec.size} bytes as listed in inlay.json, the hub has {found}")
        if (stored := listing.hashes.get(spec.path)) is not None:
            if stored != spec.sha256:
                raise BundleError(spec.path, "its sha256 on the hub differs from the one in inlay.json")
            hashed += 1
        if spec.path == LORA_CONFIG:
            read_config(part(spec.path)(0, MAX_JSON_BYTES + 1))
            hashed += 1
        else:
            tensors[spec.path] = _headers(part(spec.path), spec.size, spec.path)
    _check_counts(manifest, tensors)
    return Overview(
        manifest=manifest,
        tensors=tensors,
        size=sum(size or 0 for name, size in listing.sizes.items() if name in KNOWN_NAMES),
        integrity="listed" if hashed == len(manifest.files) else "unchecked",
        signed=SIGNATURE_NAME in listing.sizes,
        commit=listing.commit,
    )


def _check_counts(manifest: Manifest, tensors: Mapping[str, Mapping[str, TensorSpec]]) -> None:
    """Compare the number of parameters in the headers with the manifest, as reading the tensors does."""
    for file, specs in tensors.items():
        parts = {name: part for name, part in manifest.parts.items() if (name == LORA_PART) == (file == LORA_TENSORS)}
        declared = sum(part.parameters for part in parts.values())
        found = parameters_in(specs)
        if declared != found:
            reason = f"expected {declared} parameters as declared in inlay.json ({', '.join(parts) or 'no part'})"
            raise BundleError(file, f"{reason}, got {found}")


def _part(path: Path) -> Callable[[int, int], bytes]:
    def read(start: int, stop: int) -> bytes:
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(stop - start)

    return read


def _headers(part: Callable[[int, int], bytes], size: int, name: str) -> dict[str, TensorSpec]:
    data = part(0, min(_FIRST, size))
    end = header_end(data, size, name)
    if end > len(data):
        data += part(len(data), end)
    return read_header(data, size, name)
