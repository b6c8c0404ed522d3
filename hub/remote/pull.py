"""``pull``: a bundle from a hub, a folder or the cache, checked before anybody sees it.

The revision is resolved to a commit once, and every file comes from that commit. Only names that the format knows are
asked for. The client does not check contents, so the manifest's hashes are checked here, on what has landed. Files land
in the cache of huggingface_hub, where other programs find them too; several processes may pull into it at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from inlay.hub.errors import HubError
from inlay.hub.format.files import (
    MAX_TENSOR_BYTES,
    bundle_folder,
    check_is_bundle,
    read_checked,
    read_files,
    read_manifest,
)
from inlay.hub.remote.address import locate
from inlay.hub.remote.client import Client
from inlay.hub.remote.download import Download
from inlay.hub.safety.atomic import replace_folder
from inlay.hub.safety.safe_read import OpenFolder

__all__ = ["Pulled", "pull"]


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """A bundle on this machine, whole and checked."""

    folder: Path
    """Where it is."""
    repo_id: str | None = None
    """Which repository it came from; None for a folder."""
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
    """Get a bundle and check it.

    Args:
        source: ``owner/name``, ``hf://owner/name@revision``, or the folder of a bundle or of a run.
        revision: branch, tag, pull request or commit; ``main`` if not given.
        folder: copy it there, in one step; without it, a repository stays in the cache and a folder where it is.
        overwrite: replace a bundle in ``folder``.
        endpoint: the hub; ``HF_ENDPOINT`` or huggingface.co if not given.
        token: ``None`` for the one that the user is logged in with, ``False`` for none.
        cache_dir: the cache; that of huggingface_hub if not given.
        force_download: fetch every file again.
        local_files_only: ask nobody; so does ``HF_HUB_OFFLINE``.
        trusted: a PEM file, the public key of a signer or the root of a signer's certificate: what is not signed so is
            refused.
        max_bytes: most bytes of all tensors together; refused before anything large is fetched.

    Raises:
        HubError: it cannot be fetched.
        SignatureError: it is not signed as ``trusted`` asks for.
        BundleError: it is no bundle, or a damaged one; nothing of it is left at the place of an earlier one.
    """
    place = locate(source, revision)
    if isinstance(place, Path):
        found = Pulled(folder=bundle_folder(place))
    else:
        download = Download(place, Client(endpoint, token), cache_dir, max_bytes)
        try:
            commit = download.cached_commit() if local_files_only else download.run(force=force_download)
        except HubError as error:
            # A mistyped folder looks like a repository.
            if os.fspath(source).startswith("hf://") or error.problem not in ("missing", "token", "offline", "network"):
                raise
            raise HubError(error.where, f"{error.reason}; and there is no folder of this name", error.problem) from None
        found = Pulled(folder=download.snapshot(commit), repo_id=place.repo_id, commit=commit)
    if trusted is not None:
        from inlay.hub.format.signature import verify_signature

        verify_signature(found.folder, trusted)
    if folder is not None:
        return replace(found, folder=_copy(found.folder, folder, overwrite=overwrite, max_bytes=max_bytes))
    if found.repo_id is None:
        with OpenFolder(found.folder) as opened:
            for spec in read_manifest(opened, max_bytes).files:
                read_checked(opened, spec)
    return found


def _copy(source: Path, folder: str | os.PathLike[str], *, overwrite: bool, max_bytes: int) -> Path:
    """Write the files that are checked, the very bytes, as a folder of their own."""
    with OpenFolder(source) as opened:
        files = read_files(opened, read_manifest(opened, max_bytes))
    return replace_folder(folder, files, overwrite=overwrite, check_old=check_is_bundle)
