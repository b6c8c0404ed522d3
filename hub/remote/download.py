"""A repository on a hub -> a snapshot in huggingface_hub's cache, every byte checked against the manifest.

The cache keeps contents under ``blobs/`` and links to them under ``snapshots/<commit>/``, so readers of one commit are
never disturbed by the next, and processes may fetch at once. A reference (``refs/main``) is written last: offline, it
leads to a bundle that was whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
import warnings
from collections.abc import Mapping
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
"""A half-written download that nobody has touched for so long belongs to a process that died."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT = 30.0


class OldCopyWarning(UserWarning):
    """The hub could not be reached, and the copy in the cache is used."""


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit."""

    commit: str
    sizes: Mapping[str, int | None]
    """Every file of the repository; None where the hub does not say how large."""
    private: bool
    hashes: Mapping[str, str]
    """The sha256 of files that the hub stores by it (LFS, Xet)."""


@dataclass(frozen=True)
class Download:
    """One repository and one cache.

    Args:
        place: what to fetch.
        client: from where.
        cache_dir: the cache; that of huggingface_hub if None.
        max_bytes: most bytes of all files together.
    """

    place: Repository
    client: Client
    cache_dir: str | os.PathLike[str] | None
    max_bytes: int

    def run(self, *, force: bool = False) -> str:
        """Bring the bundle into the cache, and return its commit.

        Args:
            force: fetch also what is there.

        Raises:
            HubError: it cannot be fetched.
            BundleError: it is not a bundle, or its bytes are not those that the manifest gives.
        """
        from huggingface_hub import constants

        pinned = bool(_COMMIT.fullmatch(self.place.revision))
        if force and constants.is_offline_mode():
            raise HubError(str(self.place), "fetching anew was asked for, and HF_HUB_OFFLINE is set", "offline")
        if constants.is_offline_mode() or (pinned and not force and self._whole(self.place.revision)):
            return self.cached_commit()
        try:
            listing = self.list()
        except HubError as error:
            if error.problem != "network" or force or not self._whole(self._reference()):
                raise
            warnings.warn(f"{error}. The copy in the cache is used", OldCopyWarning, stacklevel=4)
            return self.cached_commit()
        self._clean_up()
        self._download(listing, force=force)
        self._refer(listing.commit)
        return listing.commit

    def list(self) -> Listing:
        """Resolve the revision; the one request that does.

        Raises:
            HubError: no such repository or revision, no access, no network, or an answer that makes no sense.
        """
        info = self.client.call(
            self.place,
            lambda: self.client.api.model_info(
                self.place.repo_id, revision=self.place.revision, files_metadata=True, timeout=_TIMEOUT
            ),
        )
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            reason = f"the hub gives {shown(info.sha)} as the commit, not 40 hex digits"
            raise HubError(str(self.place), reason, "server")
        files = info.siblings or ()
        hashes = {item.rfilename: item.lfs.sha256 for item in files if item.lfs is not None}
        return Listing(info.sha, {item.rfilename: item.size for item in files}, bool(info.private), hashes)

    def cached_commit(self) -> str:
        """The commit that the cache holds for this revision; nobody is asked.

        Raises:
            HubError: the cache does not hold it, or not all of it.
        """
        commit = self._reference()
        if not self._whole(commit):
            reason = "not in the cache, and the hub may not be asked (HF_HUB_OFFLINE or local_files_only); pull it once"
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
        with contextlib.suppress(
            OSError
        ):  # a cache that is read-only, or a branch "a" beside "a/b": only offline misses it
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(commit, encoding="ascii")
            fresh.replace(target)

    def _whole(self, commit: str) -> bool:
        """Whether the cache holds every file of a commit, with the right bytes."""
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
                raise BundleError(spec.path, f"expected {spec.size} bytes as inlay.json says, the hub has {found}")
        for name in sorted((UNLISTED - {MANIFEST_NAME}) & set(listing.sizes)):
            if (listing.sizes[name] or 0) <= MAX_JSON_BYTES:
                self._file(name, listing.commit, force=force)
        for spec in manifest.files:
            self._checked_file(spec, listing.commit, force=force)

    def _checked_file(self, spec: FileSpec, commit: str, *, force: bool) -> None:
        """A file with the right bytes; wrong ones, from the cache or the hub, are thrown away and fetched once more."""
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
        """Remove what processes that were killed have left half-written."""
        for leftover in (self._home / "blobs").glob("*.incomplete"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                    leftover.unlink()
