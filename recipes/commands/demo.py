"""``inlay demo``: serve a web page for conversations about pictures, sounds and clips."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inlay.hub.safety.text import shown
from inlay.recipes.commands.serve import Serving, run_server, server_parser
from inlay.recipes.serve.errors import ServeError

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["main"]

_OPEN_PATHS = ("/health", "/login", "/style.css", "/icon.svg")
"""Paths that a browser reads before its user gives the key."""
_ORIGIN = re.compile(r"https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?")


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Serve until Ctrl-C.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    parser = server_parser("demo", __doc__, "demo runs/llava", "demo someone/llava-vqa --port 0", port=7860)
    parser.add_argument(
        "--public",
        type=bool,
        default=False,
        help="serve without an API key even if other machines can reach the address",
    )
    parser.add_argument(
        "--allow_frame",
        type=str,
        action="append",
        default=[],
        help="address of a site that may show this page in a frame, such as https://huggingface.co; may be repeated",
    )
    parser.add_argument(
        "--examples",
        type=Path | None,
        help="folder with examples.json and media for the page; held-out questions of each run if not given",
    )
    parsed = parser.parse_args(list(argv))
    if parsed.examples is not None and not (parsed.examples / "examples.json").is_file():
        raise ServeError(f"--examples: expected a folder with examples.json, got {parsed.examples}")
    for origin in parsed.allow_frame:
        if not _ORIGIN.fullmatch(origin):
            raise ServeError(f"--allow_frame: expected an address such as https://huggingface.co, got {shown(origin)}")
    return run_server(parsed, backbone, page=_page, open_paths=_OPEN_PATHS)


def _page(parsed: Any, runs: Mapping[str, str]) -> Callable[[Serving], None]:
    """Read the examples, and return the function that adds the page with them."""
    from inlay.recipes.demo.examples import examples_of, read_examples
    from inlay.recipes.demo.facts import about
    from inlay.recipes.demo.routes import Page, add_page

    if parsed.examples is None:
        examples = {name: examples_of(run) for name, run in runs.items()}
    else:
        examples = {next(iter(runs)): read_examples(parsed.examples)}

    def add(serving: Serving) -> None:
        login = serving.app.state.credentials is not None
        facts = about(serving.models, serving.limits, temperature=parsed.temperature, login=login)
        add_page(serving.app, Page(about=facts, examples=examples, frames=parsed.allow_frame))

    return add


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
