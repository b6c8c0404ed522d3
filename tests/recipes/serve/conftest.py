"""Two adapters of one tiny backbone behind a real server on the loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from serve_client import Served, serving

from inlay.adapters.adapter import Adapter
from inlay.recipes.serve.limits import Limits


@pytest.fixture
def adapters(backbone_of: Any, adapter_of: Any) -> dict[str, Adapter]:
    """``a`` and ``b`` with their LoRA; ``a`` is attached."""
    backbone = backbone_of()
    found = {"a": adapter_of(backbone, seed=3).eval(), "b": adapter_of(backbone, seed=4, r=2).eval()}
    found["a"].attach(backbone)
    return found


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Serves adapters by name; one of them is attached."""
    pytest.importorskip("fastapi", reason="needs inlay[serve]")
    pytest.importorskip("uvicorn", reason="needs inlay[serve]")
    from inlay.recipes.serve.engine.models import Models
    from inlay.recipes.serve.http_api.app import create_app

    with ExitStack() as stack:

        def start(adapters: dict[str, Any], limits: Limits | None = None, **options: Any) -> Served:
            from inlay.adapters.model import MultimodalModel

            (attached,) = (adapter for adapter in adapters.values() if adapter.attached)
            models = Models(MultimodalModel(attached.attachment.backbone, attached), adapters)
            chosen = limits or Limits()
            return stack.enter_context(contextmanager(serving)(create_app(models, chosen, **options), chosen))

        yield start


@pytest.fixture
def served(serve: Callable[..., Served], adapters: dict[str, Adapter]) -> Served:
    return serve(adapters)
