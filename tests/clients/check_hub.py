"""A bundle's way to a hub and back, against any hub: the tests' own, a private one, the real one.

::

    HF_ENDPOINT=http://127.0.0.1:8000 HF_TOKEN=hf_... python tests/clients/check_hub.py owner/inlay-check

Makes the private repository, works in it, and deletes it at the end; refuses one that is there already. Prints one line
a step.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi

from inlay.hub import Bundle, BundleError, HubError, LayoutSpec, Manifest, PartSpec, PortSpec, pull, push
from inlay.hub.remote.inspect import inspect_bundle
from inlay.hub.remote.search import in_cache


def make(value: float) -> Bundle:
    """A bundle of a few kilobytes."""
    port = PortSpec(kind="llm", family="llama", width=8, weights="sha256:" + "0" * 64)
    part = PartSpec(kind="linear", parameters=4096, dtype="float32")
    manifest = Manifest(
        system="llava",
        name="check",
        interface={"llm": port},
        layout=LayoutSpec(template="plain"),
        parts={"inputs.x": part},
    )
    return Bundle(manifest, {"inputs.x.weight": torch.full((64, 64), value)})


def value(folder: Path) -> float:
    """What :func:`make` was given."""
    return float(Bundle.read(folder).tensors["inputs.x.weight"][0, 0])


def step(text: str, passed: bool) -> None:
    """Say it, and stop where it is not so."""
    print(f"{'ok' if passed else 'FAILED'}  {text}", flush=True)
    if not passed:
        raise SystemExit(1)


def refused(source: str, problem: str, **options: Any) -> bool:
    """Whether a pull is refused for this reason."""
    try:
        pull(source, **options)
    except HubError as error:
        return error.problem == problem
    return False


def check(repo_id: str, work: Path) -> None:
    """All steps."""
    cache: dict[str, Any] = {"cache_dir": work / "cache"}
    make(1.0).write(work / "one")
    make(2.0).write(work / "two")
    first = push(work / "one", repo_id, private=True, tag="v1")
    step("push makes a private repository and a tag", first.changed and bool(HfApi().model_info(repo_id).private))
    step("pull gives it back", value(pull(repo_id, **cache).folder) == 1.0)
    step("nothing is sent twice", not push(work / "one", repo_id).changed)
    second = push(work / "two", repo_id)
    step("a new version is a new commit", second.commit != first.commit)
    step("pull gives the new one", value(pull(repo_id, **cache).folder) == 2.0)
    step("the tag gives the old one", value(pull(f"hf://{repo_id}@v1", **cache).folder) == 1.0)
    request = push(work / "one", repo_id, create_pr=True)
    step("a pull request leaves main", value(pull(repo_id, **cache).folder) == 2.0 and request.changed)
    branch = push(work / "one", repo_id, branch="draft")
    step("a branch is made", pull(repo_id, revision="draft", **cache).commit == branch.commit)
    overview = inspect_bundle(repo_id)
    step("inspect reads headers alone", overview.tensors["adapter.safetensors"]["inputs.x.weight"].shape == (64, 64))
    step("the cache lists it", repo_id in {found.repo_id for found in in_cache({}, work / "cache")})
    step("a missing revision is told", refused(repo_id, "revision", revision="no-such-branch"))
    step(
        "a private repository is not seen without a token", refused(repo_id, "token", token=False, force_download=True)
    )
    HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="inlay.json", repo_id=repo_id)
    try:
        pull(repo_id, **cache)
    except BundleError as error:
        step("a broken manifest is told", error.file == "inlay.json")


def main() -> None:
    """Check a repository that must not exist yet."""
    (repo_id,) = sys.argv[1:]
    api = HfApi()
    step(f"{repo_id} is free", not api.repo_exists(repo_id))
    try:
        with tempfile.TemporaryDirectory() as work:
            check(repo_id, Path(work))
    finally:
        api.delete_repo(repo_id, missing_ok=True)
    step("deleted again", not api.repo_exists(repo_id))


if __name__ == "__main__":
    main()
