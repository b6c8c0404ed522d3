"""``inlay serve``: an OpenAI-compatible server for one or several adapters of one backbone."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from inlay.recipes.commands.arguments.bundle_argument import BUNDLE, TRUSTED, add_backbone, check_bundle, named_models
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.serve.errors import ServeError
from inlay.recipes.serve.limits import Limits

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["KEY", "main"]

KEY = "INLAY_API_KEY"
"""The environment variable of the API key."""
_NEEDED = ("fastapi", "uvicorn", "prometheus_client")


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Serve until Ctrl-C.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    parser = command_parser("serve", __doc__)
    parser.add_argument("runs", type=str, nargs="+", help=f"RUN or NAME=RUN, NAME in requests; RUN is a {BUNDLE}")
    parser.add_argument("--trusted", type=Path | None, help=TRUSTED)
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address to listen on; 0.0.0.0: all")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0: any free port")
    parser.add_argument(
        "--allow_host",
        type=str,
        action="append",
        default=[],
        help="host name of a proxy in front of the server, such as models.example.org; may be repeated",
    )
    parser.add_argument(
        "--api_key_file", type=Path | None, help=f"file with the API key, instead of the variable {KEY}"
    )
    parser.add_argument("--media", type=Path | None, help="folder whose files requests may name; none if not given")
    parser.add_argument(
        "--allow_urls", type=bool, default=False, help="fetch media from public http(s) addresses that requests name"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="temperature of requests that name none; 0: as inlay chat"
    )
    parser.add_class_arguments(Limits, "limits", instantiate=False)
    add_backbone(parser)
    parsed = parser.parse_args(list(argv))
    for run in parsed.runs:
        check_bundle(run if "=" not in run or Path(run).exists() else run.partition("=")[2])
    limits = Limits(**{field.name: getattr(parsed.limits, field.name) for field in fields(Limits)})
    if not 0 <= parsed.temperature <= 2:
        raise ServeError(f"temperature: expected a number from 0 to 2, got {parsed.temperature}")
    if parsed.media is not None and not parsed.media.is_dir():
        raise ServeError(f"media: expected a folder, got {parsed.media}")
    key = _key(parsed.api_key_file)
    loopback = _is_loopback(parsed.host)
    if key is None and not loopback:
        raise ServeError(
            f"host: {parsed.host} can be reached from other machines, so an API key is required: --api_key_file FILE, "
            f"or the variable {KEY}"
        )
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ServeError(f"{', '.join(missing)}: not installed; pip install 'inlay[serve]'")
    # Heavy libraries are imported after the arguments have been checked.
    from inlay.recipes.serve.engine.models import load_models, named_runs
    from inlay.recipes.serve.http_api.app import create_app
    from inlay.recipes.serve.http_api.guard import LOOPBACK
    from inlay.recipes.serve.http_api.server import bound, server_of, url_of
    from inlay.recipes.serve.request.media import MediaAccess

    runs = named_runs(parsed.runs)
    with bound(parsed.host, parsed.port) as listening:
        models = load_models(runs, backbone or named_models(parsed), parsed.trusted)
        hosts = [*LOOPBACK, parsed.host, *parsed.allow_host] if loopback or parsed.allow_host else []
        access = MediaAccess(None if parsed.media is None else parsed.media.absolute(), parsed.allow_urls)
        app = create_app(
            models,
            limits,
            access=access,
            key=key,
            hosts=[host.lower() for host in hosts],
            temperature=parsed.temperature,
        )
        print(f"{', '.join(runs)}: {url_of(listening)}    (Ctrl-C stops it)", flush=True)
        try:
            server_of(app, limits).run(sockets=[listening])
        except KeyboardInterrupt:
            print("\nstopped", flush=True)
        finally:
            models.model.adapter.detach()
    return 0


def _key(file: Path | None) -> str | None:
    """The API key, without the line end of its file."""
    if file is None:
        key, source = os.environ.get(KEY), KEY
    else:
        key, source = file.read_text(encoding="utf-8").strip(), str(file)
    if key is not None and (len(key) < 16 or not key.isascii() or not key.isprintable() or " " in key):
        raise ServeError(f"{source}: expected a key of at least 16 printable ASCII characters without spaces")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
