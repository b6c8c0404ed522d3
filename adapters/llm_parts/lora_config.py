"""Settings of a LoRA, checked by the schema that is written to disk (:mod:`inlay.hub.format.peft_folder`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from inlay.adapters.parts.stored_config import not_storable
from inlay.hub.errors import BundleError, InlayError
from inlay.hub.format.peft_folder import LoraSpec
from inlay.hub.safety.text import shown

__all__ = ["ALL_LINEAR", "LoraConfig", "LoraError", "Targets"]

Targets: TypeAlias = tuple[str, ...] | Literal["all-linear"]
ALL_LINEAR: Literal["all-linear"] = "all-linear"
_FIELDS = {"lora_alpha": "alpha", "lora_dropout": "dropout", "target_modules": "targets"}
"""Names of PEFT's fields -> ours."""


class LoraError(InlayError):
    """The settings of a LoRA are wrong, or it does not fit this language model."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Targets, rank and scale of a LoRA.

    Example:
        >>> LoraConfig(r=8, targets=("v_proj", "q_proj")).targets
        ('q_proj', 'v_proj')
    """

    r: int = 16
    """Rank, 1 to 1024."""
    alpha: float = 32.0
    """Scale; the update is multiplied by ``alpha / r``."""
    dropout: float = 0.0
    """Dropout on the input of ``A`` in training, at least 0 and below 1."""
    targets: Targets = ALL_LINEAR
    """Names of linears inside the LLM, or suffixes of their dotted paths; the LM head is never a target.

    ``"all-linear"`` stands for every linear of the layers in any family, and is replaced by explicit names when a
        :class:`~inlay.adapters.llm_parts.lora.LoraPart` is created for a model. In mixture-of-experts models only the
        attention (and shared or dense MLPs, if there are any) gets LoRA: routers are left out, and transformers 5
        stores the experts as stacked parameters, which are not linears.
    """

    def __post_init__(self) -> None:
        if self.targets != ALL_LINEAR:
            if isinstance(self.targets, str) or not isinstance(self.targets, Sequence):
                raise LoraError(
                    f"targets: expected a tuple of module names or the text {ALL_LINEAR!r}, got {shown(self.targets)}"
                )
            if not all(isinstance(target, str) for target in self.targets):
                raise LoraError(f"targets: expected module names, got {shown(self.targets)}")
            # Sorted, so that equal LoRAs give equal bundles.
            object.__setattr__(self, "targets", tuple(sorted(set(self.targets))))
        self._check()

    def _check(self) -> None:
        targets = ("placeholder",) if self.targets == ALL_LINEAR else self.explicit
        try:
            LoraSpec(r=self.r, alpha=self.alpha, dropout=self.dropout, targets=targets)
        except BundleError as error:
            field = error.field or ""
            raise LoraError(f"{_FIELDS.get(field, field)}: {error.reason}") from None
        if problem := not_storable("lora", self):
            raise LoraError(problem)

    @property
    def explicit(self) -> tuple[str, ...]:
        """The targets as names.

        Raises:
            LoraError: they are ``"all-linear"``, which only a model can resolve.
        """
        if isinstance(self.targets, str):
            raise LoraError(f"targets: {self.targets!r} has no names before a LoraPart is created for a model")
        return self.targets

    def with_targets(self, targets: Sequence[str]) -> LoraConfig:
        """A copy with explicit targets."""
        return replace(self, targets=tuple(targets))

    @property
    def scale(self) -> float:
        """The factor ``alpha / r`` of the product of ``B`` and ``A``."""
        return self.alpha / self.r
