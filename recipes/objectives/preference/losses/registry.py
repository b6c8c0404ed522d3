"""The registry of preference losses, and the base of all of them.

A loss is a frozen dataclass: its fields are the settings, with the published defaults, and calling it with
log-probabilities gives one loss per row, ``[B]``, which is never reduced inside. A call is a pure function of settings
and log-probabilities. ``register_preference_loss`` adds one.

Example:
    >>> import torch
    >>> dpo = preference_loss("sigmoid", beta=0.1)
    >>> ones = torch.ones(2)
    >>> pairs = PairLogProbs(chosen=-ones, rejected=-ones, chosen_tokens=ones, rejected_tokens=ones,
    ...                      ref_chosen=-ones, ref_rejected=-ones)
    >>> [round(value, 4) for value in dpo(pairs).tolist()], round(dpo.first_step(), 4)
    ([0.6931, 0.6931], 0.6931)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from inlay.adapters.parts.registration import IMPORT_OWN, same_definition
from inlay.recipes.objectives.preference.losses.streams import (
    LogProbs,
    LossError,
    PairLogProbs,
    UnpairedLogProbs,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LN2",
    "BetaLoss",
    "PreferenceLoss",
    "log_loss",
    "preference_loss",
    "preference_loss_names",
    "preference_loss_type",
    "register_preference_loss",
]

LN2 = 0.6931471805599453
"""``-log sigmoid(0)``."""

_ROOM = "inlay.recipes.objectives.preference.losses"
_PACKAGED = {
    "sigmoid": f"{_ROOM}.dpo:Sigmoid",
    "sigmoid_norm": f"{_ROOM}.dpo:SigmoidNorm",
    "robust": f"{_ROOM}.dpo:Robust",
    "exo_pair": f"{_ROOM}.dpo:ExoPair",
    "hinge": f"{_ROOM}.dpo:Hinge",
    "discopop": f"{_ROOM}.dpo:Discopop",
    "ipo": f"{_ROOM}.ipo:Ipo",
    "sppo_hard": f"{_ROOM}.ipo:SppoHard",
    "apo_zero": f"{_ROOM}.apo:ApoZero",
    "apo_down": f"{_ROOM}.apo:ApoDown",
    "bco_pair": f"{_ROOM}.bco_nca:BcoPair",
    "nca_pair": f"{_ROOM}.bco_nca:NcaPair",
    "aot": f"{_ROOM}.aot:Aot",
    "aot_unpaired": f"{_ROOM}.aot:AotUnpaired",
    "simpo": f"{_ROOM}.reference_free:Simpo",
    "cpo": f"{_ROOM}.reference_free:Cpo",
    "orpo": f"{_ROOM}.reference_free:Orpo",
    "kto": f"{_ROOM}.kto:Kto",
    "apo_zero_unpaired": f"{_ROOM}.kto:ApoZeroUnpaired",
    "dpop": f"{_ROOM}.anchored:Dpop",
    "mdpo": f"{_ROOM}.multimodal:Mdpo",
    "symmpo": f"{_ROOM}.multimodal:Symmpo",
    "sft": f"{_ROOM}.sums:Sft",
    "rpo": f"{_ROOM}.sums:Rpo",
    "mpo": f"{_ROOM}.sums:Mpo",
}
"""Losses of the package; each is imported on first use."""

_REGISTERED: dict[str, type[PreferenceLoss[Any]]] = {}

Rows = TypeVar("Rows", bound=LogProbs)
T = TypeVar("T", bound="type[PreferenceLoss[Any]]")


@dataclass(frozen=True, kw_only=True)
class PreferenceLoss(ABC, Generic[Rows]):
    """The base of all preference losses."""

    name: ClassVar[str] = ""
    """Name in the registry and in configuration files."""
    needs: ClassVar[tuple[str, ...]] = ()
    """The optional streams that the loss needs."""
    rows: ClassVar[type[LogProbs]] = PairLogProbs
    """:class:`PairLogProbs`, or :class:`UnpairedLogProbs` for single answers with a label."""
    batch_level: ClassVar[bool] = False
    """Whether the loss of a row depends on the other rows of the batch, at least by default."""

    @property
    def needs_reference(self) -> bool:
        """Whether the reference's log-probabilities are needed."""
        return any(stream.startswith("ref_") for stream in self.needs)

    @abstractmethod
    def per_row(self, log_probs: Rows) -> Tensor:
        """The formula; :meth:`__call__` checks the streams first."""

    def first_step(self) -> float | None:
        """The loss of a policy that equals the reference, for every row; None if it depends on the data."""
        return None

    def __call__(self, log_probs: Rows) -> Tensor:
        """The loss of each row.

        Args:
            log_probs: an object of the class :attr:`rows`.

        Returns:
            ``[B]``, in the dtype of the streams.

        Raises:
            LossError: rows of the other class, or a missing stream.
        """
        if not isinstance(log_probs, self.rows):
            wanted = "single answers with labels" if self.rows is UnpairedLogProbs else "pairs"
            raise LossError(f"{self.name}: expected {wanted} ({self.rows.__name__}), got {type(log_probs).__name__}")
        log_probs.require(self.needs, self.name)
        return self.per_row(log_probs)


@dataclass(frozen=True, kw_only=True)
class BetaLoss(PreferenceLoss[Rows]):
    """The base of losses with a temperature."""

    beta: float = 0.1
    """Temperature above 0: a small one allows a large distance from the reference."""

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise LossError(f"{self.name}: beta: expected a number above 0, got {self.beta}")

    def check(self, setting: str, holds: bool, wanted: str) -> None:
        """Check a setting.

        Raises:
            LossError: the condition is not met.
        """
        if not holds:
            raise LossError(f"{self.name}: {setting}: expected {wanted}, got {getattr(self, setting)}")


def log_loss(x: Tensor) -> Tensor:
    """``-log sigmoid(x) = log(1 + e^-x)``, accurate for any x.

    Example:
        >>> import torch
        >>> log_loss(torch.tensor([0.0, -200.0, 200.0])).tolist()
        [0.6931471824645996, 200.0, 0.0]
    """
    return x.new_zeros(()).logaddexp(-x)


def register_preference_loss(kind: T) -> T:
    """Register a loss under its name; works as a decorator.

    Args:
        kind: a frozen dataclass derived from :class:`PreferenceLoss`, with a ``name``; every field has a default.

    Raises:
        LossError: not such a class, a field without default, an unknown stream in ``needs``, or another class has this
            name. Registering the same class again is allowed.
    """
    if not (isinstance(kind, type) and issubclass(kind, PreferenceLoss) and is_dataclass(kind) and kind.name):
        raise LossError(f"expected a dataclass derived from PreferenceLoss with a name, got {kind!r}")
    if required := [field.name for field in fields(kind) if field.default is field.default_factory is MISSING]:
        raise LossError(f"loss {kind.name}: expected a default for every field, got none for {required[0]}")
    streams = [field.name for field in fields(kind.rows)]
    if unknown := [stream for stream in kind.needs if stream not in streams]:
        raise LossError(f"loss {kind.name}: needs: expected names among {', '.join(streams)}, got {unknown[0]!r}")
    if kind.name in _PACKAGED or not same_definition(_REGISTERED.get(kind.name, kind), kind):
        raise LossError(f"loss {kind.name}: another loss has this name; choose another name")
    _REGISTERED[kind.name] = kind
    return kind


def preference_loss_names() -> tuple[str, ...]:
    """The names of all losses, packaged ones first."""
    return (*_PACKAGED, *_REGISTERED)


def preference_loss_type(name: str) -> type[PreferenceLoss[Any]]:
    """Look up the class of a loss by name.

    Raises:
        LossError: unknown name.
    """
    if name in _PACKAGED:
        found: type[PreferenceLoss[Any]] = resolve_name(_PACKAGED[name])
        return found
    if name not in _REGISTERED:
        raise LossError(f"loss: expected one of {', '.join(preference_loss_names())}, got {name!r}; {IMPORT_OWN}")
    return _REGISTERED[name]


def preference_loss(name: str, /, **settings: Any) -> PreferenceLoss[Any]:
    """A loss by name.

    Args:
        name: one of :func:`preference_loss_names`.
        settings: fields of the loss; fields that are not given have the published defaults.

    Raises:
        LossError: unknown name or setting, or a value out of range.
    """
    kind = preference_loss_type(name)
    known = [field.name for field in fields(kind)]
    if unknown := sorted(set(settings) - set(known)):
        raise LossError(f"{name}: expected settings among {', '.join(known) or 'none'}, got {unknown[0]!r}")
    for field in fields(kind):
        given, wanted = settings.get(field.name, field.default), _type_name(field.default)
        if wanted and _type_name(given) != wanted:
            raise LossError(f"{name}: {field.name}: expected {wanted}, got {given!r}")
    build: Callable[..., PreferenceLoss[Any]] = kind
    return build(**settings)


def _type_name(value: Any) -> str:
    """The type of a setting in words; empty for another one."""
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, int | float) else "a text" if isinstance(value, str) else ""
