"""``inlay serve``: an OpenAI-compatible server for one or several adapters of one backbone."""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inlay.hub.safety.text import shown
from inlay.recipes.commands.arguments.bundle_argument import (
    BUNDLE,
    add_backbone,
    add_trusted,
    check_bundle,
    check_usable,
    named_models,
)
from inlay.recipes.commands.arguments.parser import CommandParser, command_parser
from inlay.recipes.serve.errors import ServeError
from inlay.recipes.serve.limits import Limits
from inlay.recipes.serve.model_names import named_runs

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone
    from inlay.recipes.serve.engine.models import Models

__all__ = ["KEY", "Serving", "main", "run_server", "server_parser"]

KEY = "INLAY_API_KEY"
"""The environment variable of the API key."""
_NEEDED = ("fastapi", "uvicorn", "prometheus_client")
_LAST_PORT = (1 << 16) - 1
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?(:[0-9]{1,5})?")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A loaded application, to which a command may add pages."""

    app: Any
    models: Models
    limits: Limits


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Serve until Ctrl-C.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    examples = ("serve runs/llava", "serve first=runs/first second=someone/llava-vqa --port 8080")
    return run_server(server_parser("serve", __doc__, *examples, port=8000).parse_args(list(argv)), backbone)


def server_parser(command: str, about: str | None, *examples: str, port: int) -> CommandParser:
    """The options of a server.

    Args:
        command: its name.
        about: description for the help text.
        examples: command lines without ``inlay``, for the end of the help text.
        port: the default port.
    """
    parser = command_parser(command, about, *examples)
    parser.add_argument(
        "runs",
        type=str,
        nargs="+",
        metavar="RUN",
        help=f"{BUNDLE}; NAME=RUN gives the model another name in requests",
    )
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address to listen on; 0.0.0.0: all")
    parser.add_argument("--port", type=int, default=port, help="port to listen on; 0: any free port")
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
    parser.add_argument(
        "--media", type=Path | None, help="folder with media files that requests may name; none if not given"
    )
    parser.add_argument(
        "--allow_urls", type=bool, default=False, help="fetch media from public http(s) addresses in requests"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        help="temperature of requests that give none; 0: the most likely tokens, as in inlay chat",
    )
    add_trusted(parser)
    parser.add_class_arguments(Limits, "limits", title="Limits", instantiate=False)
    parser.checks.append(_limits)
    add_backbone(parser)
    return parser


def run_server(
    parsed: Any,
    backbone: Backbone | None = None,
    *,
    page: Callable[[Any, Mapping[str, str]], Callable[[Serving], None]] | None = None,
    open_paths: Collection[str] = ("/health",),
) -> int:
    """Serve until Ctrl-C.

    Args:
        parsed: arguments of :func:`server_parser`, perhaps with an option ``--public``.
        backbone: loaded frozen models, instead of those of the run.
        page: the arguments and model name -> run -> a function that adds pages to the application. It is called before
            models are loaded.
        open_paths: paths that need no key.
    """
    public = bool(getattr(parsed, "public", False))
    if not 0 <= parsed.temperature <= 2:
        raise ServeError(f"--temperature: expected a number from 0 to 2, got {parsed.temperature}")
    if not 0 <= parsed.port <= _LAST_PORT:
        raise ServeError(f"--port: expected a number from 0 to {_LAST_PORT}, got {parsed.port}")
    if parsed.media is not None and not parsed.media.is_dir():
        raise ServeError(f"--media: expected a folder, got {parsed.media}")
    proxies = [name.lower() for name in parsed.allow_host]
    if wrong := [name for name in proxies if not _NAME.fullmatch(name)]:
        raise ServeError(
            "--allow_host: expected a name without https:// and path, such as models.example.org, got "
            f"{shown(wrong[0])}"
        )
    key = _key(parsed.api_key_file)
    loopback = _is_loopback(parsed.host)
    if key is None and not loopback and not public:
        raise ServeError(
            f"--host: {parsed.host} can be reached from other machines, so an API key is required: --api_key_file "
            f"FILE, or the variable {KEY}"
        )
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ServeError(f"{', '.join(missing)}: not installed; pip install 'inlay[serve]'")
    runs, limits = named_runs(parsed.runs), _limits(parsed)
    for run in runs.values():
        check_bundle(run)
    from inlay.recipes.serve.http_api.server import bound, server_of, url_of

    with bound(parsed.host, parsed.port) as listening:
        for run in runs.values():
            check_usable(run)
        # Heavy libraries are imported after the arguments have been checked.
        from inlay.recipes.serve.engine.models import load_models
        from inlay.recipes.serve.http_api.app import create_app
        from inlay.recipes.serve.http_api.guard import LOOPBACK, Doors
        from inlay.recipes.serve.request.media import MediaAccess

        add_page = None if page is None else page(parsed, runs)
        models = load_models(runs, backbone or named_models(parsed), parsed.trusted)
        try:
            named = loopback or (proxies and not public)  # a public page has no rights that another name could misuse
            hosts = [*LOOPBACK, parsed.host.lower(), *(name.partition(":")[0] for name in proxies)] if named else []
            login = "" if page is None else "/login"
            app = create_app(
                models,
                limits,
                access=MediaAccess(None if parsed.media is None else parsed.media.absolute(), parsed.allow_urls),
                key=key,
                doors=Doors(hosts=hosts, proxies=proxies, open_paths=open_paths, login=login),
                temperature=parsed.temperature,
            )
            if add_page is not None:
                add_page(Serving(app=app, models=models, limits=limits))
            address = url_of(listening) if page is None else url_of(listening).removesuffix("v1")
            print(f"{', '.join(runs)}: {address}    (Ctrl-C stops it)", flush=True)
            server_of(app, limits).run(sockets=[listening])
        except KeyboardInterrupt:
            print("\nstopped", flush=True)
        finally:
            models.model.adapter.detach()
    return 0


def _limits(parsed: Any) -> Limits:
    return Limits(**{field.name: getattr(parsed.limits, field.name) for field in fields(Limits)})


def _key(file: Path | None) -> str | None:
    """The API key, without the line end of its file."""
    if file is None:
        key, source = os.environ.get(KEY), KEY
    else:
        try:
            key, source = file.read_text(encoding="utf-8").strip(), str(file)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ServeError(f"--api_key_file: {file}: expected a text file with the key: {reason}") from None
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
