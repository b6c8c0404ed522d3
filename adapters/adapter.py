"""The adapter: parts, interface and layout. An ``nn.Module`` while it trains, a bundle when it is saved.

What trains is what the adapter holds; the backbone never does. Several adapters can sit on one backbone in turn.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from inlay.adapters import canary
from inlay.adapters.backbone import PROMPT_PORT, Backbone
from inlay.adapters.inputs import InputProjector, build_projector
from inlay.adapters.interface import IncompatibleBackbone, Report, check
from inlay.adapters.layout import Layout
from inlay.adapters.lora import Attachment, LoraConfig, LoraError, LoraPart
from inlay.adapters.model import MultimodalModel
from inlay.adapters.prompt import Prompts
from inlay.adapters.store import Contents, DiskDtype, from_bundle, open_bundle, to_bundle
from inlay.hub.bundle import Bundle
from inlay.hub.errors import InlayError
from inlay.hub.manifest import CanarySpec, PortSpec, TrainingSpec
from inlay.hub.publish import Pushed, own_repository, push

__all__ = ["Adapter", "AttachError", "AttachedModel", "OtherWeightsWarning", "Part"]


class AttachError(InlayError):
    """An adapter or a backbone is already taken, or not attached."""


class OtherWeightsWarning(UserWarning):
    """The backbone fits, but has other weights than the one that the adapter was trained on."""


@dataclass(frozen=True, slots=True)
class Part:
    """One trainable piece, as the part table shows it."""

    name: str
    """``inputs.image``, ``lora``, ..."""
    kind: str
    """``linear``, ``mlp``, ``lora``, ..."""
    module: nn.Module

    @property
    def parameters(self) -> int:
        """How many numbers it trains."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def dtype(self) -> str:
        """Data type in memory."""
        return str(next(self.module.parameters()).dtype).removeprefix("torch.")


@dataclass(frozen=True)
class _Attached:
    backbone: Backbone
    lora: Attachment | None


class Adapter(nn.Module):
    """Input projectors and LoRA for one kind of backbone.

    Args:
        system: the system from the literature, such as ``llava``.
        name: a name for people.
        interface: what each port must be like.
        layout: how conversations are laid out.
        inputs: modality -> input projector.
        lora: LoRA on the LLM, or None.
        training: where the weights come from.
        canary: the stored test input, see :mod:`inlay.adapters.canary`.
        license: under which the weights are published.
    """

    def __init__(
        self,
        *,
        system: str,
        name: str,
        interface: Mapping[str, PortSpec],
        layout: Layout,
        inputs: Mapping[str, nn.Module],
        lora: LoraPart | None = None,
        training: TrainingSpec | None = None,
        canary: CanarySpec | None = None,
        license: str | None = None,
    ) -> None:
        super().__init__()
        self.system, self.name, self.layout = system, name, layout
        self.interface = dict(interface)
        self.inputs = nn.ModuleDict(dict(inputs))
        self.lora = lora
        self.training_facts, self.canary, self.license = training, canary, license
        self._attached: _Attached | None = None

    @classmethod
    def for_backbone(
        cls,
        backbone: Backbone,
        *,
        system: str,
        name: str,
        layout: Layout,
        inputs: Mapping[str, tuple[str, Mapping[str, Any]]],
        lora: LoraConfig | None = None,
    ) -> Adapter:
        """A new adapter whose widths are read from the backbone.

        Args:
            backbone: what it is for; on the meta device the parts are created there too.
            system: as above.
            name: as above.
            layout: as above.
            inputs: modality -> kind of projector and its fields besides the widths.
            lora: LoRA's configuration, or None.
        """
        device = "meta" if backbone.device.type == "meta" else "cpu"
        ports = {"llm": backbone.llm.port}
        projectors = {}
        for modality, (kind, fields) in inputs.items():
            encoder = backbone.encoder(modality)
            ports[modality] = encoder.port
            with torch.device(device):
                projectors[modality] = build_projector(
                    kind, {"width_in": encoder.width, "width_out": backbone.llm.width, **fields}
                )
            if _reads_prompt(projectors[modality]):
                sizes: Any = projectors[modality].config
                ports[PROMPT_PORT] = backbone.prompter().port_for(sizes.vocabulary)
        part = LoraPart.for_model(backbone.llm.model, lora) if lora else None
        return cls(system=system, name=name, interface=ports, layout=layout, inputs=projectors, lora=part)

    def parts(self) -> Iterator[Part]:
        """Every trainable piece; together they hold every parameter of the adapter."""
        for modality, module in self.inputs.items():
            yield Part(f"inputs.{modality}", str(self.projector(modality).kind), module)
        if self.lora is not None:
            yield Part("lora", self.lora.kind, self.lora)

    def projector(self, modality: str) -> InputProjector:
        """The input projector of a modality."""
        module = self.inputs[modality]
        if not isinstance(module, InputProjector):
            raise AttachError(f"inputs.{modality}: {type(module).__name__} is not an input projector")
        return module

    def reads_prompt(self, modality: str) -> bool:
        """Whether the input projector of a modality takes in the words of a medium's turn."""
        return _reads_prompt(self.inputs[modality])

    def project(self, modality: str, features: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Frozen features to LLM embeddings: ``[n, features, width_in]`` -> ``[n, tokens, width_out]``.

        Args:
            modality: which projector.
            features: of ``n`` media.
            prompts: the words of each medium's turn, for a projector that reads them.
        """
        module = self.inputs[modality]
        read = () if prompts is None else (prompts.ids, prompts.mask)
        projected: Tensor = module(features.to(next(module.parameters()).dtype), *read)
        return projected

    def compatibility(self, backbone: Backbone) -> Report:
        """The verdict on a backbone, without attaching."""
        return check(self.interface, backbone.ports)

    def attach(self, backbone: Backbone, *, strict: bool = False, verify: bool = True) -> MultimodalModel[Adapter]:
        """Plug into a backbone.

        Args:
            backbone: the frozen models; their tensors are not changed.
            strict: refuse a backbone that merely fits.
            verify: run the bundle's canary when the weights are exactly those that it was trained on.

        Raises:
            IncompatibleBackbone: with a table of what differs.
            AttachError: this adapter or the backbone is already taken.
            CanaryError: attached, but not doing what it did when it was saved.
        """
        if self._attached is not None:
            raise AttachError(f"adapter {self.name!r} is already attached; call detach() first")
        if backbone.attached is not None:
            raise AttachError(f"the backbone holds adapter {backbone.attached!r}; detach it, or use model.swap(other)")
        report = self.compatibility(backbone)
        if report.verdict == "incompatible":
            raise IncompatibleBackbone(report, self.name)
        if report.verdict == "fits" and self.training_facts is not None:
            if strict:
                raise IncompatibleBackbone(
                    report, self.name, "It fits, but has other weights, and strict=True was asked for."
                )
            warnings.warn(
                f"adapter {self.name!r} fits this backbone, which has other weights than it was trained on:\n"
                f"{report.table()}",
                OtherWeightsWarning,
                stacklevel=2,
            )
        self.to(backbone.device)
        try:
            undo = self.lora.attach(backbone.llm.model) if self.lora is not None else None
        except LoraError as error:
            raise IncompatibleBackbone(report, self.name, str(error)) from error
        self._attached = _Attached(backbone, undo)
        backbone.attached = self.name
        model = MultimodalModel(backbone, self)
        if verify and self.canary is not None and report.verdict == "exact":
            try:
                canary.verify(model.probe, self.canary, backbone.llm.dtype)
            except BaseException:
                self.detach()
                raise
        return model

    def detach(self) -> None:
        """Take the adapter off; the backbone is bit for bit what it was."""
        if self._attached is None:
            raise AttachError(f"adapter {self.name!r} is not attached")
        backbone, lora = self._attached.backbone, self._attached.lora
        if lora is not None:
            lora.undo()
        self._attached = None
        backbone.attached = None

    def sparing(self) -> AbstractContextManager[None]:
        """While this lasts, frozen parts that do nothing yet are left out of the forward pass; no number changes."""
        return self.lora.sparing() if self.lora is not None else nullcontext()

    @property
    def attached(self) -> bool:
        """Whether the adapter sits on a backbone."""
        return self._attached is not None

    def round_to(self, dtype: DiskDtype) -> None:
        """Round every parameter to what the disk will hold, in place; the data type in memory stays."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(parameter.to(getattr(torch, dtype)).to(parameter.dtype))

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
            dtype: of the weights on disk.
            overwrite: replace a bundle; a reader sees the old one or the new one.
            push_to_hub: send it to a hub afterwards; the network is touched only then.
            repo_id: where to; the name of the folder, in the user's own namespace, if not given.
            push_to_hub_kwargs: other arguments of :func:`inlay.hub.push`.

        Raises:
            BundleError: the folder exists, the disk is full, a weight is not finite.
            HubError: it could not be sent; it is written all the same.
        """
        target = Path(save_directory)
        self._bundle(dtype).write(target, overwrite=overwrite)
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
            self._bundle(dtype).write(Path(place) / "bundle")
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

    def _bundle(self, dtype: DiskDtype) -> Bundle:
        self.round_to(dtype)
        if self._attached is not None:
            model = MultimodalModel(self._attached.backbone, self)
            self.canary = canary.record(model.probe, model.modalities)
        contents = Contents(
            system=self.system,
            name=self.name,
            interface=self.interface,
            layout=self.layout,
            inputs=dict(self.inputs.items()),
            lora=self.lora,
            training=self.training_facts,
            canary=self.canary,
            license=self.license,
        )
        return to_bundle(contents, dtype)

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
    ) -> Adapter:
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


def _reads_prompt(projector: nn.Module) -> bool:
    return bool(getattr(projector, "reads_prompt", False))


AttachedModel: TypeAlias = MultimodalModel[Adapter]
"""What ``attach`` returns."""
