"""From an attached adapter to a folder for another program, in one call: write, verify, and only then keep it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from inlay.adapters.adapter import Adapter
from inlay.adapters.export.new_folder import check_new, new_folder
from inlay.adapters.export.registry import target_named
from inlay.adapters.export.report import REPORT, Report, versions_of
from inlay.adapters.export.request import Request
from inlay.adapters.export.target import ExportError
from inlay.adapters.model import MultimodalModel

__all__ = ["export_adapter"]


def export_adapter(model: MultimodalModel[Adapter], *, to: str, output: str | Path, **options: Any) -> Report:
    """Write an attached adapter for another program, with ``EXPORT.json``.

    Args:
        model: from :meth:`Adapter.attach`; it is not changed.
        to: name of the target: ``hf``, ``peft``, or a registered one.
        output: a new folder; it appears when all checks have passed, and an existing one is never changed.
        options: of the target.

    Raises:
        ExportError: an unknown target or option, an existing folder, an adapter that the target cannot express, or a
            check that failed; no folder stays behind.

    Example:
        >>> export_adapter(adapter.attach(backbone), to="hf", output="merged")  # doctest: +SKIP
    """
    folder = Path(output)
    target, chosen = target_named(to, options)
    check_new(folder)
    model.require_attached()
    adapter = model.adapter
    target.check(adapter)
    with new_folder(folder) as fresh:
        written = target.load()(Request(model, chosen), fresh)
        if failed := [str(check) for check in written.checks if not check.passed]:
            raise ExportError(
                f"{to}: {len(failed)} of {len(written.checks)} checks of the written files failed, so they were "
                f"removed: {'; '.join(failed)}"
            )
        report = Report(
            target=to,
            adapter=adapter.name,
            system=adapter.system,
            options=asdict(chosen),
            versions=versions_of(written.packages),
            checks=written.checks,
            notes=written.notes,
            facts=written.facts,
            layout=adapter.layout.spec.model_dump(mode="json"),
            folder=folder,
        )
        (fresh / REPORT).write_text(report.text(), encoding="utf-8")
    return report
