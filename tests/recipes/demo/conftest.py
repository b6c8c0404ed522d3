"""The page on a server with two adapters of one tiny backbone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from serve_client import Served

KEY = "a-key-of-sixteen-characters"
OPEN = ("/health", "/login", "/style.css", "/icon.svg")


@pytest.fixture
def open_page(serve: Callable[..., Served], adapters: dict[str, Any]) -> Callable[..., Served]:
    """Serves the page; ``given`` are other adapters, ``examples`` and ``frames`` those of the page."""

    def make(given: Any = None, *, examples: Any = None, frames: Any = (), **options: Any) -> Served:
        from inlay.recipes.demo.facts import about
        from inlay.recipes.demo.routes import Page, add_page
        from inlay.recipes.serve.http_api.guard import Doors

        def page(app: Any, models: Any, limits: Any) -> None:
            facts = about(models, limits, temperature=0.0, login="key" in options)
            add_page(app, Page(about=facts, examples=examples or {}, frames=frames))

        hosts = options.pop("hosts", ("127.0.0.1", "localhost"))
        doors = Doors(hosts=hosts, proxies=options.pop("proxies", ()), open_paths=OPEN, login="/login")
        return serve(given or adapters, page=page, doors=doors, **options)

    return make


@pytest.fixture
def page(open_page: Callable[..., Served]) -> Served:
    return open_page()
