"""``inlay demo``: serve a web page for conversations about a picture."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inlay.recipes.commands.arguments.bundle_argument import (
    PREFIX_HELP,
    PREFIX_MIB,
    add_backbone,
    add_trusted_bundle,
    named_models,
)
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.demo.limits import Limits

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone
    from inlay.recipes.demo.demonstration import Demonstration
    from inlay.recipes.demo.server import DemoServer

__all__ = ["main", "serve"]

_PATIENCE = 10.0  # seconds to wait at the end for an unfinished answer


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Serve until Ctrl-C.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    own = Limits()
    parser = command_parser("demo", __doc__)
    add_trusted_bundle(parser)
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address to listen on; 0.0.0.0: all")
    parser.add_argument(
        "--allow_host",
        type=str,
        action="append",
        default=[],
        help="host name of a proxy in front of the page, such as demo.example.org; may be repeated",
    )
    parser.add_argument("--port", type=int, default=7860, help="port to listen on; 0: any free port")
    parser.add_argument("--max_new_tokens", type=int, default=64, help="default tokens of an answer")
    parser.add_argument("--limit", type=int, default=own.new_tokens, help="maximum tokens of an answer")
    parser.add_argument("--upload_mb", type=float, default=own.upload_bytes / 1e6, help="largest request in MB")
    parser.add_argument("--waiting", type=int, default=own.waiting, help="maximum number of waiting requests")
    parser.add_argument("--prefix_mib", type=int, default=PREFIX_MIB, help=PREFIX_HELP)
    add_backbone(parser)
    parsed = parser.parse_args(list(argv))
    limits = Limits(
        upload_bytes=int(parsed.upload_mb * 1e6),
        new_tokens=parsed.limit,
        waiting=parsed.waiting,
    )
    # Heavy libraries are imported after the arguments have been checked.
    from inlay.adapters.chat.kv_cache import prefix_cache
    from inlay.recipes.demo.demonstration import Demonstration, examples_of
    from inlay.recipes.demo.server import DemoServer
    from inlay.recipes.systems.generation_options import generation_options
    from inlay.recipes.training.load_model import loaded_model

    # The server is closed even if the adapter or backbone cannot be loaded.
    with (
        DemoServer(parsed.host, parsed.port, limits, parsed.allow_host) as server,
        loaded_model(parsed.bundle, backbone or named_models(parsed), parsed.trusted) as model,
    ):
        adapter = model.adapter
        model.prefixes = prefix_cache(parsed.prefix_mib)
        tokens = max(1, min(parsed.max_new_tokens, limits.new_tokens))
        examples = examples_of(Path(parsed.bundle))
        title, media = adapter.name or adapter.system, generation_options(adapter, model.backbone)
        return serve(server, Demonstration(model, title, tokens, limits, examples, media))


def serve(server: DemoServer, demonstration: Demonstration) -> int:
    """Serve until Ctrl-C, then wait for an unfinished answer."""
    server.open(demonstration)
    try:
        _tell(server, demonstration.title)
        server.serve_forever()
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
    finally:
        server.server_close()
        server.turnstile.drain(_PATIENCE)
    return 0


def _tell(server: DemoServer, title: str) -> None:
    if not _is_loopback(server.host):
        print(
            "warning: anyone who can reach this machine can use the page, because it has no password", file=sys.stderr
        )
    print(f"{title}: {server.url}    (Ctrl-C stops it)", flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
