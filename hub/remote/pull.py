"""``pull``: download a bundle from a hub, or take it from a folder or the cache, and check it.

The revision is resolved to a commit once, and every file comes from that commit. Only names that the format defines are
requested. huggingface_hub does not check contents, so the downloaded files are compared with the manifest's hashes.
They are stored in the cache of huggingface_hub, where other programs find them too; several processes may pull into it
at the same time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from inlay.hub.errors import BundleError, HubError
from inlay.hub.format.files import (
    MAX_TENSOR_BYTES,
    bundle_folder,
    check_is_bundle,
    read_checked,
    read_files,
    read_manifest,
)
from inlay.hub.remote.address import locate, or_no_folder
from inlay.hub.remote.client import Client
from inlay.hub.remote.download import Download
from inlay.hub.safety.atomic import replace_folder
from inlay.hub.safety.safe_read import OpenFolder, real_path

__all__ = ["Pulled", "check_available", "pull"]


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """A bundle on this machine, complete and checked."""

    folder: Path
    repo_id: str | None = None
    """The repository that it came from; None for a folder."""
    commit: str | None = None
    """The commit, 40 hex digits."""


def pull(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    endpoint: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    trusted: str | os.PathLike[str] | None = None,
    max_bytes: int = MAX_TENSOR_BYTES,
) -> Pulled:
    """Download a bundle, or take it from a folder or the cache, and check it.

    Args:
        source: ``owner/name``, ``hf://owner/name@revision``, or the folder of a bundle or of a run.
        revision: branch, tag, pull request or commit; ``main`` if not given.
        folder: copy the bundle to this folder, in one step. If not given, a repository stays in the cache, and a folder
            is not copied.
        overwrite: replace a bundle in ``folder``.
        endpoint: the hub; ``HF_ENDPOINT`` or huggingface.co if not given.
        token: ``None`` for the token of the user's login, ``False`` for none.
        cache_dir: the cache; that of huggingface_hub if not given.
        force_download: download every file again.
        local_files_only: send no request; ``HF_HUB_OFFLINE`` has the same effect.
        trusted: a PEM file, the public key of a signer or the root of a signer's certificate. A bundle without a valid
            signature is refused, and the cache keeps the bundle that it held for this revision.
        max_bytes: limit on the bytes of all tensors together; checked before any tensor is downloaded.

    Raises:
        HubError: it cannot be downloaded.
        SignatureError: it has no signature that ``trusted`` verifies, or ``trusted`` is not a key or certificate.
        BundleError: it is not a bundle, or a damaged one; a bundle that was there before is not changed.
    """
    place = locate(source, revision)
    accept = _signature_check(trusted)
    if folder is not None and not overwrite and os.path.lexists(real_path(folder)):
        raise BundleError(os.fspath(folder), "already exists; choose another folder, or overwrite=True")
    if isinstance(place, Path):
        found = Pulled(folder=bundle_folder(place))
        accept(found.folder)
    else:
        download = Download(place, Client(endpoint, token), cache_dir, max_bytes)
        try:
            commit = download.run(accept, force=force_download, offline=local_files_only)
        except HubError as error:
            raise or_no_folder(error, source) from None
        found = Pulled(folder=download.snapshot(commit), repo_id=place.repo_id, commit=commit)
    if folder is not None:
        return replace(found, folder=_copy(found.folder, folder, overwrite=overwrite, max_bytes=max_bytes))
    if found.repo_id is None:
        with OpenFolder(found.folder) as opened:
            for spec in read_manifest(opened, max_bytes).files:
                read_checked(opened, spec)
    return found


def check_available(source: str | os.PathLike[str]) -> None:
    """Check that the hub, or the cache without a network, has a repository; one request, and no download.

    Args:
        source: as of :func:`pull`; a folder is not checked.

    Raises:
        HubError: it cannot be downloaded.
    """
    if not isinstance(place := locate(source), Path):
        try:
            Download(place, Client(None, None), None, MAX_TENSOR_BYTES).list_or_cached()
        except HubError as error:
            raise or_no_folder(error, source) from None


def _signature_check(trusted: str | os.PathLike[str] | None) -> Callable[[Path], None]:
    """The check that a bundle must pass before it is used. An unusable key is an error before any download."""
    if trusted is None:
        return lambda folder: None
    from inlay.hub.format.signature import check_trusted, verify_signature

    check_trusted(trusted)
    return lambda folder: verify_signature(folder, trusted)


def _copy(source: Path, folder: str | os.PathLike[str], *, overwrite: bool, max_bytes: int) -> Path:
    """Write the checked bytes to another folder."""
    with OpenFolder(source) as opened:
        files = read_files(opened, read_manifest(opened, max_bytes))
    return replace_folder(folder, files, overwrite=overwrite, check_old=check_is_bundle)
