"""``push``: send a bundle to a hub, in one commit.

Only the files that the manifest lists, the manifest, the card and the signature are sent; other files in the folder are
not. The repository is read first, and the new commit names the commit that was read as its parent: a repository that
holds something else, or that has changed meanwhile, is not overwritten. Readers get the old commit until then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inlay.hub.errors import BundleError, HubError
from inlay.hub.format.card_file import CardChoice, choose_card
from inlay.hub.format.files import CARD_NAME, KNOWN_NAMES, bundle_folder, check_listing, read_files
from inlay.hub.format.manifest import MANIFEST_NAME, Manifest
from inlay.hub.remote.address import Repository, check_revision
from inlay.hub.remote.client import Client
from inlay.hub.remote.download import Download, Listing
from inlay.hub.remote.ranges import read_range
from inlay.hub.safety.safe_read import IGNORED_NAMES, OpenFolder
from inlay.hub.safety.strict_json import MAX_JSON_BYTES
from inlay.hub.safety.text import shown

__all__ = ["Pushed", "own_repository", "push"]

# Text files are sent as they are, so a token in a card or in the path of the data would be published.
_SECRETS = {
    "looks like a Hugging Face token": re.compile(rb"hf_[A-Za-z0-9]{30,}"),
    "looks like an AWS key": re.compile(rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "looks like a GitHub token": re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_\w{40,}"),
    "looks like an API key": re.compile(rb"\bsk-[A-Za-z0-9_-]{32,}"),
    "looks like a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
_HARMLESS = re.compile(r"(?:README\.md|LICEN[CS]E.*|NOTICE.*|\.git.*|.*\.(?:png|jpe?g|webp|gif|svg))", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """Result of a push."""

    repo_id: str
    commit: str
    """The commit of the bundle; the earlier one if nothing has changed."""
    url: str
    """Address of the commit, or of the pull request."""
    changed: bool
    """Whether there is a new commit."""
    card: CardChoice
    """The origin of the repository's card."""
    left_out: tuple[str, ...]
    """Files of the folder that do not belong to the bundle; they were not sent."""


def push(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    branch: str | None = None,
    create_pr: bool = False,
    tag: str | None = None,
    commit_message: str | None = None,
    overwrite: bool = False,
    renew_card: bool = False,
    endpoint: str | None = None,
    token: str | bool | None = None,
) -> Pushed:
    """Send a bundle to a hub.

    Args:
        folder: the folder of a bundle or of a run.
        repo_id: ``owner/name``; created if it does not exist.
        private: True: a new repository is private, and an existing public one is an error; False: the opposite.
        branch: commit to this branch, created if it does not exist; ``main`` if not given.
        create_pr: open a pull request instead, which needs no write access.
        tag: a tag for the new commit.
        commit_message: ``Upload <name>`` if not given.
        overwrite: send also if the repository contains another adapter, or something other than a bundle.
        renew_card: replace a card that was edited by hand.
        endpoint: the hub; ``HF_ENDPOINT`` or huggingface.co if not given.
        token: ``None`` for the token of the user's login.

    Raises:
        BundleError: the folder is not a bundle, or a damaged one; nothing is sent.
        HubError: no access, another adapter in the repository, a token or a private key in a file, no network.
    """
    place = Repository(repo_id=repo_id, revision=branch or "main")
    if tag is not None:
        check_revision(tag)
    if create_pr and place.revision != "main":
        raise HubError(str(place), "a pull request goes to main; leave out either create_pr or branch", "address")
    files, manifest, left_out = _read(bundle_folder(Path(folder)))
    client = Client(endpoint, token)
    _check_secrets(client, files, place)  # before anything is created on the hub; the card may still change below
    held = _open(client, place, private=private)
    old = _old_files(client, place, held, manifest, overwrite=overwrite)
    card, files[CARD_NAME] = choose_card(
        manifest, repo_id, files.get(CARD_NAME), old.get(CARD_NAME), old.get(MANIFEST_NAME), renew=renew_card
    )
    _check_secrets(client, files, place)
    gone = sorted((set(held.sizes) & KNOWN_NAMES) - set(files))
    commit, url = _commit(client, place, held, files, gone, commit_message or f"Upload {manifest.name}", create_pr)
    if tag is not None:
        client.call(f"{repo_id}@{tag}", lambda: client.api.create_tag(repo_id, tag=tag, revision=commit), again=False)
    changed = commit != held.commit
    return Pushed(repo_id=repo_id, commit=commit, url=url, changed=changed, card=card, left_out=left_out)


def own_repository(name: str, options: Mapping[str, Any]) -> str:
    """Return ``owner/name`` in the namespace of the token's user.

    Args:
        name: the repository's name without owner.
        options: the arguments of :func:`push`, of which ``endpoint`` and ``token`` are used.

    Raises:
        HubError: no token, or one that is not valid.
    """
    client = Client(options.get("endpoint"), options.get("token"))
    return f"{client.call(name, client.api.whoami)['name']}/{name}"


def _read(folder: Path) -> tuple[dict[str, bytes], Manifest, tuple[str, ...]]:
    """The files to send, every tensor verified, the manifest, and the names of the files that are not sent."""
    from inlay.hub.format.bundle import Bundle

    with OpenFolder(folder) as opened:
        manifest = Manifest.from_json(opened.read(MANIFEST_NAME, MAX_JSON_BYTES))
        files = read_files(opened, manifest)
        entries = {path.relative_to(opened.path).as_posix() for path in opened.path.glob("*")}
        entries |= {path.relative_to(opened.path).as_posix() for path in (opened.path / "lora").glob("*")}
    check_listing(manifest, frozenset(files))
    Bundle.from_files(manifest, files)
    return files, manifest, tuple(sorted(entries - set(files) - IGNORED_NAMES - {"lora"}))


def _open(client: Client, place: Repository, *, private: bool | None) -> Listing:
    """The current state of the repository; a missing repository or branch is created."""
    repo_id, download = place.repo_id, Download(place, client, None, 0)
    try:
        held = download.list()
    except HubError as error:
        if error.problem not in ("missing", "revision", "token"):
            raise
        if error.problem == "revision":
            client.call(place, lambda: client.api.create_branch(repo_id, branch=place.revision, exist_ok=True))
        else:
            client.call(place, lambda: client.api.create_repo(repo_id, private=private, exist_ok=True))
            if place.revision != "main":
                client.call(place, lambda: client.api.create_branch(repo_id, branch=place.revision, exist_ok=True))
        held = download.list()
    if private is not None and held.private != private:
        now, asked = ("private", "public") if held.private else ("public", "private")
        reason = f"expected a {asked} repository, got a {now} one, so nothing is sent; change it in its settings"
        raise HubError(repo_id, reason, "foreign")
    return held


def _old_files(
    client: Client, place: Repository, held: Listing, manifest: Manifest, *, overwrite: bool
) -> dict[str, bytes]:
    """The manifest and card in the repository; an error if it holds something that must not be overwritten."""
    old: dict[str, bytes] = {}
    for name in (MANIFEST_NAME, CARD_NAME):
        size = held.sizes.get(name)
        if name in held.sizes and size is not None and size <= MAX_JSON_BYTES:
            old[name] = read_range(client, place, name, held.commit, 0, MAX_JSON_BYTES)  # not through the cache
    strangers = sorted(name for name in set(held.sizes) - KNOWN_NAMES if not _HARMLESS.fullmatch(name))
    problem = None
    if MANIFEST_NAME in held.sizes:
        try:
            other = Manifest.from_json(old.get(MANIFEST_NAME, b""))
        except BundleError as error:
            problem = f"it holds an inlay.json that this version of inlay cannot read ({error.reason})"
        else:
            if (other.system, other.name) != (manifest.system, manifest.name):
                problem = f"it holds another adapter, {shown(other.name)} of the system {other.system}"
    elif strangers:
        problem = f"it holds something else ({', '.join(map(shown, strangers[:3]))})"
    if problem is not None and not overwrite:
        reason = f"{problem}, so it is not overwritten; choose another name, or overwrite=True (--overwrite)"
        raise HubError(str(place), reason, "foreign")
    return old


def _check_secrets(client: Client, files: dict[str, bytes], place: Repository) -> None:
    """Refuse to publish the user's own tokens, and any text that has the form of a token or a private key."""
    tokens = [token.encode(errors="surrogateescape") for token in client.secrets()]
    for name in sorted(files):
        # Weights are almost random bytes, in which the form of a token, and short texts, occur by chance.
        weights = name.endswith(".safetensors")
        own = [re.compile(re.escape(token)) for token in tokens if len(token) >= 8 or not weights]
        patterns = [("is the token in use", pattern) for pattern in own] + ([] if weights else [*_SECRETS.items()])
        for what, pattern in patterns:
            if match := pattern.search(files[name]):
                line = files[name].count(b"\n", 0, match.start()) + 1
                reason = f"{name}, line {line}: {what}, so nothing is sent; remove it, and revoke it"
                raise HubError(str(place), reason, "secret")


def _commit(
    client: Client,
    place: Repository,
    held: Listing,
    files: dict[str, bytes],
    gone: list[str],
    message: str,
    create_pr: bool,
) -> tuple[str, str]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    def run() -> tuple[str, str]:
        adds = [CommitOperationAdd(name, data) for name, data in sorted(files.items())]
        info = client.api.create_commit(
            place.repo_id,
            [*adds, *map(CommitOperationDelete, gone)],
            commit_message=message,
            revision=place.revision,
            create_pr=create_pr,
            parent_commit=held.commit,
        )
        return str(info.oid), str(info.pr_url or info.commit_url)

    # Not repeated: if only the answer was lost, the commit exists; another push then reports the changed parent.
    return client.call(place, run, again=False)
