"""The methods by which an adapter is saved as a bundle, sent to a hub, and loaded again.

They have the names and keywords of huggingface_hub's own mixin.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from inlay.adapters.bundles.bundle_io import describe, from_bundle, open_bundle, to_bundle
from inlay.adapters.bundles.storage_dtype import DiskDtype, round_module
from inlay.adapters.compatibility.canary import record
from inlay.adapters.core.model_core import ModelCore
from inlay.adapters.core.parts import AdapterError, AdapterParts
from inlay.hub.errors import BundleError
from inlay.hub.format.bundle import Bundle
from inlay.hub.remote.push import Pushed, own_repository, push

__all__ = ["HubMethods", "StaleCanaryWarning"]


class StaleCanaryWarning(UserWarning):
    """The weights have changed since the canary was recorded, so the bundle is written without a canary."""


class HubMethods(AdapterParts):
    """Saving, sending and loading an adapter."""

    def validate(self) -> None:
        """Check that the parts agree with each other, and that a bundle can store every value.

        Raises:
            AdapterError: names the field, the expected value and the given one.
        """
        super().validate()
        try:
            describe(self)
        except BundleError as error:
            raise AdapterError(f"{error.field or 'adapter'}: {error.reason}") from error

    def bundle(self, dtype: DiskDtype) -> Bundle:
        """The bundle of this adapter; the parameters are rounded to ``dtype`` in place.

        While the adapter is attached, the canary is recorded again. Otherwise the loaded canary is kept if it belongs
        to these weights, and omitted with a warning if not.
        """
        if self.attached:
            core = ModelCore(self.attachment.backbone, self)
            with core.held():
                self.round_to(dtype)
                self.canary = record(
                    core.probe,
                    core.modalities,
                    core.probe_conditioning,
                    core.makes,
                    core.backbone.llm.dtype,
                    core.backbone.ports,
                )
                return to_bundle(self, dtype, self.canary)
        self.round_to(dtype)
        if self.canary_is_stale:
            warnings.warn(
                f"adapter {self.name!r}: the weights have changed since the canary was recorded, so the bundle is "
                "written without one; save the adapter while it is attached to record a new one",
                StaleCanaryWarning,
                stacklevel=3,
            )
        return to_bundle(self, dtype, self.canary)

    def round_to(self, dtype: DiskDtype) -> None:
        """Round every parameter in place to a value of the dtype on disk; the dtype in memory is not changed."""
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
        """Write the bundle. The parameters are rounded in place, so that this adapter and the bundle are equal.

        Args:
            save_directory: a new folder, or with ``overwrite`` the folder of a bundle.
            dtype: the dtype of the weights on disk. ``int8`` takes a quarter of the size of float32;
                :func:`inlay.adapters.quantise` checks whether quality is kept.
            overwrite: replace a bundle, atomically for readers.
            push_to_hub: send the bundle to a hub afterwards; otherwise no network access takes place.
            repo_id: the target repository; the folder's name in the user's own namespace if not given.
            push_to_hub_kwargs: other arguments of :func:`inlay.hub.push`.

        Raises:
            BundleError: the folder exists, the disk is full, a weight is not finite.
            HubError: the bundle could not be sent; the folder is written nevertheless.
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
            repo_id: ``owner/name``; created if it does not exist.
            commit_message: title of the commit.
            private: whether the repository is private.
            token: ``None`` for the token of the user's login.
            branch: commit to this branch.
            create_pr: open a pull request instead.
            tag: a tag for the new commit.
            overwrite: send also if the repository contains another adapter.
            renew_card: replace a card that was edited by hand.
            endpoint: the hub, if not that of ``HF_ENDPOINT``.
            dtype: the dtype of the weights in the bundle; the parameters are rounded to it in place.

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
        """Load a bundle, in eval mode; call ``train()`` to continue training. The bundle is treated as untrusted input.

        Args:
            pretrained_model_name_or_path: the folder of a bundle or of a run, ``owner/name`` on a hub, or
                ``hf://owner/name@revision``.
            revision: branch, tag or commit on the hub.
            token: ``None`` for the token of the user's login, ``False`` for none.
            cache_dir: the cache, if not that of huggingface_hub.
            force_download: download every file again.
            local_files_only: read the cache only, as with ``HF_HUB_OFFLINE``.
            endpoint: the hub, if not that of ``HF_ENDPOINT``.
            trusted: a PEM file; a bundle that is not signed by this key, or under this root certificate, is refused.

        Raises:
            HubError: it cannot be downloaded; gives the reason.
            SignatureError: it has no signature that ``trusted`` verifies.
            BundleError: names the file, the field and the problem.
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
        return from_bundle(bundle, cls).eval()
