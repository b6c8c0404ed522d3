"""Publishing: the methods by which an adapter becomes a bundle in a folder or on a hub, and comes back from one.

They have the names and keywords of huggingface_hub's own mixin, so that whoever knows that one knows these.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from torch import nn

from inlay.adapters.bundles.bundle_io import from_bundle, open_bundle
from inlay.adapters.bundles.storage_dtype import DiskDtype, round_module
from inlay.hub.format.bundle import Bundle
from inlay.hub.remote.push import Pushed, own_repository, push

__all__ = ["Publishable"]


class Publishable(nn.Module):
    """An ``nn.Module`` that can be saved, sent and read."""

    @abstractmethod
    def bundle(self, dtype: DiskDtype) -> Bundle:
        """The bundle of this adapter, weights rounded to ``dtype`` in place."""

    def round_to(self, dtype: DiskDtype) -> None:
        """Round every parameter to what the disk will hold, in place; the data type in memory stays."""
        round_module(self, dtype)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        dtype: DiskDtype = "bfloat16",
        overwrite: bool = False,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push_to_hub_kwargs: Any,
    ) -> Path:
        """Write the bundle. Rounds the parameters in place: then this is the bundle.

        Args:
            save_directory: where; it must not exist, unless overwrite is given and it holds a bundle.
            dtype: of the weights on disk; ``int8`` is a quarter of float32, see :func:`inlay.adapters.quantise` for
                whether they stand it.
            overwrite: replace a bundle; a reader sees the old one or the new one.
            push_to_hub: send it to a hub afterwards; the network is touched only then.
            repo_id: where to; the name of the folder, in the user's own namespace, if not given.
            push_to_hub_kwargs: other arguments of :func:`inlay.hub.push`.

        Raises:
            BundleError: the folder exists, the disk is full, a weight is not finite.
            HubError: it could not be sent; it is written all the same.
        """
        target = Path(save_directory)
        self.bundle(dtype).write(target, overwrite=overwrite)
        if push_to_hub:
            push(target, repo_id or own_repository(target.name, push_to_hub_kwargs), **push_to_hub_kwargs)
        return target

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        branch: str | None = None,
        create_pr: bool = False,
        tag: str | None = None,
        overwrite: bool = False,
        renew_card: bool = False,
        endpoint: str | None = None,
        dtype: DiskDtype = "bfloat16",
    ) -> Pushed:
        """Send the bundle to a hub, in one commit; see :func:`inlay.hub.push` for the arguments.

        Args:
            repo_id: ``owner/name``; made if it is not there.
            commit_message: title of the commit.
            private: whether the repository is private.
            token: ``None`` for the one that the user is logged in with.
            branch: commit to this branch.
            create_pr: open a pull request instead.
            tag: name the new commit.
            overwrite: also where the repository holds another adapter.
            renew_card: replace a card that was edited by hand.
            endpoint: the hub, if not that of ``HF_ENDPOINT``.
            dtype: of the weights in the bundle; the parameters are rounded to it in place.

        Raises:
            HubError: no access, another adapter in the repository, no network.
            BundleError: a weight is not finite.
        """
        with TemporaryDirectory(prefix="inlay-push-") as place:
            self.bundle(dtype).write(Path(place) / "bundle")
            return push(
                Path(place) / "bundle",
                repo_id,
                commit_message=commit_message,
                private=private,
                token=token,
                branch=branch,
                create_pr=create_pr,
                tag=tag,
                overwrite=overwrite,
                renew_card=renew_card,
                endpoint=endpoint,
            )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        endpoint: str | None = None,
        trusted: str | Path | None = None,
    ) -> Self:
        """Read a bundle. Nothing in it is trusted.

        Args:
            pretrained_model_name_or_path: the folder of a bundle or of a run, ``owner/name`` on a hub, or
                ``hf://owner/name@revision``.
            revision: branch, tag or commit on the hub.
            token: ``None`` for the one that the user is logged in with, ``False`` for none.
            cache_dir: the cache, if not that of huggingface_hub.
            force_download: fetch every file again.
            local_files_only: ask nobody; so does ``HF_HUB_OFFLINE``.
            endpoint: the hub, if not that of ``HF_ENDPOINT``.
            trusted: a PEM file: what is not signed by this key, or under this root certificate, is refused.

        Raises:
            HubError: it cannot be fetched; says why.
            SignatureError: it is not signed as ``trusted`` asks for.
            BundleError: names the file, the field and what is wrong with it.
        """
        bundle = open_bundle(
            pretrained_model_name_or_path,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            endpoint=endpoint,
            trusted=trusted,
        )
        return cls(**vars(from_bundle(bundle)))
