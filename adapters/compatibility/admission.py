"""Whether an adapter may come to a backbone: the verdict as an error or a warning, and what is remembered of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from inlay.adapters.compatibility.ports import IncompatibleBackbone, Report
from inlay.adapters.parts.part import OtherWeightsWarning

__all__ = ["Admission", "admit"]


@dataclass(frozen=True, slots=True)
class Admission:
    """That an adapter has been checked on a backbone; the next time costs nothing."""

    backbone: object
    """The identity of the backbone, see :class:`inlay.adapters.Backbone`."""
    report: Report
    verified: bool = False
    """Whether it has been attached since, and its canary, if it has one, has lived."""

    def holds(self, backbone: object, *, strict: bool = False, verified: bool = False) -> bool:
        """Whether it says all that is asked of it."""
        exact = self.report.verdict == "exact" and not self.report.absent
        return self.backbone is backbone and (exact or not strict) and (self.verified or not verified)


def admit(report: Report, adapter: str, *, strict: bool, trained: bool) -> None:
    """Refuse a backbone, or warn.

    Args:
        report: of the check.
        adapter: its name.
        strict: refuse a backbone that merely fits, or that lacks generators.
        trained: warn of other weights than it was trained on.

    Raises:
        IncompatibleBackbone: with a table of what differs.
    """
    if report.verdict == "incompatible":
        raise IncompatibleBackbone(report, adapter)
    if strict and report.absent:
        raise IncompatibleBackbone(report, adapter, "It lacks generators, and strict=True was asked for.")
    if report.verdict == "fits" and trained:
        if strict:
            raise IncompatibleBackbone(
                report, adapter, "It fits, but has other weights, and strict=True was asked for."
            )
        warnings.warn(
            f"adapter {adapter!r} fits this backbone, which has other weights than it was trained on:\n"
            f"{report.table()}",
            OtherWeightsWarning,
            stacklevel=4,  # where attach, or swap, is called
        )
