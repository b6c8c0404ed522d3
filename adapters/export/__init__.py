"""Export of an attached adapter to the formats of other programs: one target a file, verified before it is kept.

The names below load on first use, so that the command line can judge its arguments before torch is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inlay.hub.lazy import lazy_names

if TYPE_CHECKING:
    from inlay.adapters.export.export_adapter import export_adapter as export_adapter
    from inlay.adapters.export.registry import TARGETS as TARGETS
    from inlay.adapters.export.registry import register_exporter as register_exporter
    from inlay.adapters.export.report import Check as Check
    from inlay.adapters.export.report import Report as Report
    from inlay.adapters.export.report import Written as Written
    from inlay.adapters.export.request import Request as Request
    from inlay.adapters.export.target import ExportError as ExportError
    from inlay.adapters.export.target import Target as Target
    from inlay.adapters.export.target import option as option

__all__, __getattr__ = lazy_names(__name__, __file__)
