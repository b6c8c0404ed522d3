"""The served adapters of one backbone: name -> adapter, and which of them share a batch.

Adapters without token rows whose LoRA changes linears that the *host* changes too, with the same sizes, share batches:
the host is attached and each row has its own projector and LoRA (:mod:`inlay.adapters.chat.per_row_adapters`). Any
other adapter is answered in batches of its own, for which it is attached in the host's place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.sample_groups import unsampled_tokens
from inlay.adapters.compatibility.verdict import IncompatibleBackbone, check
from inlay.adapters.conversation.turn_end import TurnEnd
from inlay.adapters.core.attach import admit_row
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.recipes.serve.errors import ApiError
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.training.load_model import backbone_of

__all__ = ["Group", "Models", "load_models", "makes"]


@dataclass(frozen=True)
class Group:
    """Requests with the same group can be answered in one batch."""

    host: str
    """Name of the adapter that is attached."""
    end: TurnEnd
    """The end of the answers."""


class Models:
    """Adapters on one backbone; used by one thread at a time, except :attr:`adapters`.

    Args:
        model: one of the adapters, attached.
        adapters: name -> adapter; the attached one is among them.

    Raises:
        IncompatibleBackbone: an adapter does not fit the backbone.
    """

    def __init__(self, model: AttachedModel, adapters: Mapping[str, Adapter]) -> None:
        self.model, self.adapters = model, dict(adapters)
        self._groups: dict[str, Group] = {}
        self._unsampled: dict[Group, tuple[int, ...]] = {}
        plain = {name: adapter for name, adapter in self.adapters.items() if adapter.tokens is None}
        host = max(plain, key=lambda name: _size(plain[name]), default=None)
        shared = {name for name in plain if host is not None and _covers(plain[host], plain[name])}
        for name, adapter in self.adapters.items():
            if name not in shared:
                self._attach(adapter)  # its canary is checked now
                self._groups[name] = Group(name, self.model.turn_end(adapter.layout))
        if host is not None:
            self._attach(plain[host])
            for name in shared:
                self._groups[name] = Group(host, self.model.turn_end(plain[name].layout))
                if name != host:
                    admit_row(plain[name], self.backbone)

    @property
    def backbone(self) -> Backbone:
        """The frozen models."""
        return self.model.backbone

    def adapter(self, name: str) -> Adapter:
        """The adapter of a name.

        Raises:
            ApiError: 404, there is none.
        """
        if name not in self.adapters:
            raise ApiError(
                f"The model {name[:200]!r} does not exist; expected one of {', '.join(self.adapters)}",
                status=404,
                param="model",
                code="model_not_found",
            )
        return self.adapters[name]

    def group(self, name: str, beams: int = 1) -> Group:
        """The group of an adapter's requests; for beam search the adapter itself is attached."""
        group = self._groups[name]
        return group if beams == 1 else Group(name, group.end)

    def unsampled(self, group: Group) -> tuple[int, ...]:
        """Ids that are never sampled in the group's batches; its host is attached."""
        if group not in self._unsampled:
            model = self.model
            ends = {*model.backbone.llm.stop_ids, *group.end.ids}
            self._unsampled[group] = unsampled_tokens(model, ends, media=bool(model.adapter.signals.ids))
        return self._unsampled[group]

    def attached(self, group: Group) -> AttachedModel:
        """The model with the group's host attached."""
        self._attach(self.adapters[group.host])
        return self.model

    def _attach(self, adapter: Adapter) -> None:
        if self.model.adapter is not adapter:
            self.model = self.model.swap(adapter)


def makes(adapter: Adapter, backbone: Backbone) -> tuple[Modality, ...]:
    """The modalities that an adapter generates with a backbone's generators."""
    able = GENERATED if adapter.layout.meta else adapter.outputs
    return tuple(name for name in GENERATED if name in able and name in backbone.generators)


def _size(adapter: Adapter) -> int:
    return 0 if adapter.lora is None else len(adapter.lora.shapes)


def _covers(host: Adapter, other: Adapter) -> bool:
    """Whether another adapter's rows can be answered while the host is attached."""
    if other.lora is None:
        return True
    if host.lora is None:
        return False
    shapes = host.lora.shapes
    return all(shapes.get(name) == size for name, size in other.lora.shapes.items())


def load_models(runs: Mapping[str, str], backbone: Backbone | BackboneSettings, trusted: Path | None = None) -> Models:
    """Load the backbone once, and all adapters.

    Args:
        runs: model name -> run folder, bundle, or repository on the Hub.
        backbone: loaded frozen models, or settings that name some of them.
        trusted: as of :func:`inlay.recipes.training.load_model.load_model`.

    Raises:
        InlayError: a bundle that cannot be read, or that does not fit the backbone of the others.
    """
    adapters = {name: Adapter.from_pretrained(run, trusted=trusted).eval() for name, run in runs.items()}
    # The adapter with the most ports decides which frozen models are loaded.
    first = max(adapters, key=lambda name: len(adapters[name].interface))
    offered = adapters[first].interface
    for name, adapter in adapters.items():
        report = check({port: spec for port, spec in adapter.interface.items() if port in offered}, offered)
        if report.verdict == "incompatible":
            hint = f"All adapters of a server share one backbone; that of {first} is compared. Serve {name} separately."
            raise IncompatibleBackbone(report, name, hint)
    return Models(adapters[first].attach(backbone_of(runs[first], adapters[first], backbone)), adapters)
