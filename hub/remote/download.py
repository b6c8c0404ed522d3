"""Downloading a repository into huggingface_hub's cache, with every byte checked against the manifest.

The cache keeps contents under ``blobs/`` and links to them under ``snapshots/<commit>/``, so a download does not affect
readers of another commit, and processes may download at the same time. A reference (``refs/main``) is written last,
after the caller has accepted the snapshot: offline it leads to a complete and accepted bundle.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inlay.hub.errors import BundleError, HubError
from inlay.hub.format.files import KNOWN_NAMES, UNLISTED, check_listing, read_checked, read_manifest
from inlay.hub.format.manifest import MANIFEST_NAME, FileSpec, Manifest
from inlay.hub.remote.address import Repository
from inlay.hub.remote.client import Client
from inlay.hub.safety.safe_read import OpenFolder
from inlay.hub.safety.strict_json import MAX_JSON_BYTES
from inlay.hub.safety.text import shown

__all__ = ["Download", "Listing", "OldCopyWarning"]

STALE_SECONDS = 600
"""Seconds after its last write at which a partial download is taken as abandoned."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


class OldCopyWarning(UserWarning):
    """The hub could not be reached, so the copy in the cache is used."""


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit."""

    commit: str
    sizes: Mapping[str, int | None]
    """Name to size of every file; None where the hub gives no size."""
    private: bool
    hashes: Mapping[str, str]
    """Name to sha256 of the files that the hub stores by hash (LFS, Xet)."""


@dataclass(frozen=True)
class Download:
    """One repository and one cache.

    Args:
        place: the repository.
        client: the hub.
        cache_dir: the cache; that of huggingface_hub if None.
        max_bytes: limit on the bytes of all files together.
    """

    place: Repository
    client: Client
    cache_dir: str | os.PathLike[str] | None
    max_bytes: int

    def run(self, accept: Callable[[Path], None], *, force: bool = False, offline: bool = False) -> str:
        """Download the bundle into the cache, and return its commit.

        Args:
            accept: called with the folder of the complete snapshot; raises to refuse it, and no reference is then
                written. A copy that was in the cache before is checked in the same way.
            force: download every file again.
            offline: use the cache only.

        Raises:
            HubError: it cannot be downloaded.
            BundleError: it is not a bundle, or its bytes differ from the manifest.
        """
        from huggingface_hub import constants

        pinned = bool(_COMMIT.fullmatch(self.place.revision))
        if force and constants.is_offline_mode():
            raise HubError(str(self.place), "HF_HUB_OFFLINE is set, so nothing can be downloaded again", "offline")
        if offline or constants.is_offline_mode() or (pinned and not force and self._whole(self.place.revision)):
            return self._accepted(accept)
        try:
            listing = self.list()
        except HubError as error:
            if error.problem != "network" or force or not self._whole(self._reference()):
                raise
            warnings.warn(f"{error}. The copy in the cache is used", OldCopyWarning, stacklevel=4)
            return self._accepted(accept)
        self._clean_up()
        self._download(listing, force=force)
        accept(self.snapshot(listing.commit))
        self._refer(listing.commit)
        return listing.commit

    def _accepted(self, accept: Callable[[Path], None]) -> str:
        commit = self.cached_commit()
        accept(self.snapshot(commit))
        return commit

    def list(self) -> Listing:
        """Resolve the revision to a commit. Later requests use this commit, so all files belong together.

        Raises:
            HubError: no such repository or revision, no access, no network, or an invalid answer.
        """
        repo_id, revision = self.place.repo_id, self.place.revision
        info = self.client.call(
            self.place, lambda: self.client.api.model_info(repo_id, revision=revision, files_metadata=True)
        )
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            reason = f"expected a commit of 40 hex digits from the hub, got {shown(info.sha)}"
            raise HubError(str(self.place), reason, "server")
        files = info.siblings or ()
        hashes = {item.rfilename: item.lfs.sha256 for item in files if item.lfs is not None}
        return Listing(info.sha, {item.rfilename: item.size for item in files}, bool(info.private), hashes)

    def list_or_cached(self) -> Listing | str:
        """The listing, or the commit in the cache if the hub cannot be reached.

        Raises:
            HubError: neither.
        """
        try:
            return self.list()
        except HubError as error:
            if error.problem not in ("offline", "network"):
                raise
            try:
                return self.cached_commit()
            except HubError as missing:
                raise (error if error.problem == "network" else missing) from None

    def cached_commit(self) -> str:
        """Find the commit that the cache holds for this revision; no request is sent.

        Raises:
            HubError: the cache does not contain all of its files.
        """
        commit = self._reference()
        if not self._whole(commit):
            reason = "not in the cache, and no request may be sent (HF_HUB_OFFLINE, local_files_only); pull it online"
            raise HubError(str(self.place), reason, "offline")
        return commit

    def snapshot(self, commit: str) -> Path:
        """The folder of a commit in the cache."""
        return self._home / "snapshots" / commit

    @property
    def _cache(self) -> Path:
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE if self.cache_dir is None else self.cache_dir).expanduser().resolve()

    @property
    def _home(self) -> Path:
        return self._cache / f"models--{self.place.repo_id.replace('/', '--')}"

    def _reference(self) -> str:
        if _COMMIT.fullmatch(self.place.revision):
            return self.place.revision
        try:
            text = (self._home / "refs" / self.place.revision).read_text(encoding="ascii")[:64].strip()
        except (OSError, ValueError):
            return ""
        return text if _COMMIT.fullmatch(text) else ""

    def _refer(self, commit: str) -> None:
        if commit == self.place.revision:
            return
        target = self._home / "refs" / self.place.revision
        fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        # This fails for a read-only cache, or for a branch "a" if there is "a/b"; then only offline use is impossible.
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(commit, encoding="ascii")
            fresh.replace(target)

    def _whole(self, commit: str) -> bool:
        """Whether the cache holds every file of a commit with the listed bytes."""
        if not commit:
            return False
        try:
            with OpenFolder(self.snapshot(commit)) as opened:
                for spec in read_manifest(opened, self.max_bytes).files:
                    read_checked(opened, spec)
        except BundleError:
            return False
        return True

    def _download(self, listing: Listing, *, force: bool) -> None:
        if MANIFEST_NAME not in listing.sizes:
            known = ", ".join(shown(name) for name in sorted(listing.sizes)[:5]) or "no files"
            raise BundleError(str(self.place), f"not a bundle: the repository holds no {MANIFEST_NAME} ({known})")
        size = listing.sizes[MANIFEST_NAME] or 0
        if size > MAX_JSON_BYTES:
            raise BundleError(MANIFEST_NAME, f"expected at most {MAX_JSON_BYTES} bytes of JSON, got {size}")
        self._file(MANIFEST_NAME, listing.commit, force=force)
        with OpenFolder(self.snapshot(listing.commit)) as opened:
            try:
                manifest = Manifest.from_json(opened.read(MANIFEST_NAME, MAX_JSON_BYTES))
            except BundleError:
                self._forget(listing.commit, MANIFEST_NAME)
                raise
        check_listing(manifest, frozenset(listing.sizes) & KNOWN_NAMES, self.max_bytes)
        for spec in manifest.files:
            found = listing.sizes[spec.path]
            if found is not None and found != spec.size:
                raise BundleError(spec.path, f"expected {spec.size} bytes as listed in inlay.json, the hub has {found}")
        for name in sorted((UNLISTED - {MANIFEST_NAME}) & set(listing.sizes)):
            if (listing.sizes[name] or 0) <= MAX_JSON_BYTES:
                self._file(name, listing.commit, force=force)
        for spec in manifest.files:
            self._checked_file(spec, listing.commit, force=force)

    def _checked_file(self, spec: FileSpec, commit: str, *, force: bool) -> None:
        """Download a file. Wrong bytes, from the cache or the hub, are deleted and downloaded once more."""
        for last in (False, True):
            self._file(spec.path, commit, force=force or last)
            try:
                with OpenFolder(self.snapshot(commit)) as opened:
                    read_checked(opened, spec)
            except BundleError:
                self._forget(commit, spec.path)
                if last:
                    raise
            else:
                return

    def _file(self, name: str, commit: str, *, force: bool) -> None:
        from huggingface_hub import hf_hub_download

        options: dict[str, Any] = {
            "endpoint": self.client.endpoint,
            "token": self.client.token,
            "library_name": "inlay",
        }
        self.client.call(
            self.place,
            lambda: hf_hub_download(
                self.place.repo_id, name, revision=commit, cache_dir=self._cache, force_download=force, **options
            ),
        )

    def _forget(self, commit: str, name: str) -> None:
        link = self.snapshot(commit) / name
        blob = Path(os.path.realpath(link))
        with contextlib.suppress(OSError):
            link.unlink()
        if blob.is_relative_to(self._cache):
            with contextlib.suppress(OSError):
                blob.unlink()

    def _clean_up(self) -> None:
        """Remove partial downloads of killed processes."""
        for leftover in (self._home / "blobs").glob("*.incomplete"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                    leftover.unlink()
