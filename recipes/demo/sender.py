"""Whether a request names this server and comes from its own page: against DNS rebinding and other pages.

Behind a proxy with TLS, the page has the proxy's name. The proxy passes that name on as ``Host``, or puts this server's
address there; the browser's ``Origin`` has the name in either case. So the names of proxies have to be given.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from inlay.hub.safety.text import shown
from inlay.recipes.demo.limits import DemoError

__all__ = ["Sender"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?(:[0-9]{1,5})?")


class Sender:
    """The names under which the page is reached.

    Args:
        host: address that the server listens on.
        allowed: names of proxies in front of it, such as ``demo.example.org`` or ``demo.example.org:8443``.

    Raises:
        DemoError: not a name.

    Example:
        >>> sender = Sender("127.0.0.1", ["demo.example.org"])
        >>> sender.check("demo.example.org", "https://demo.example.org")
        >>> sender.check("evil.example", None)
        Traceback (most recent call last):
        ...
        inlay.recipes.demo.limits.DemoError: this server is not reached by that name; use its address, ...
    """

    def __init__(self, host: str, allowed: Sequence[str] = ()) -> None:
        self.host = host.lower()
        self.allowed = frozenset(name.lower() for name in allowed)
        for name in sorted(self.allowed):
            if not _NAME.fullmatch(name):
                raise DemoError(
                    "allow_host: expected a name without https:// and path, such as demo.example.org, got "
                    f"{shown(name)}"
                )

    def check(self, host: str, origin: str | None) -> None:
        """Check the headers of a request.

        Args:
            host: ``Host``.
            origin: ``Origin``; browsers send it with every question.

        Raises:
            DemoError: 403, another name or another page.
        """
        if not self._is_own(host):
            raise DemoError(
                "this server is not reached by that name; use its address, or start it with --allow_host NAME",
                status=403,
            )
        if origin is not None and not self._is_own_page(origin.lower(), host.lower()):
            raise DemoError("only the demo's own page may ask", status=403)

    def _is_own(self, host: str) -> bool:
        """Whether a name is an address, our own, or a proxy's; another one could be pointed here by its owner's DNS."""
        if host.lower() in self.allowed:
            return True
        with suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            if name in {"localhost", self.host}:
                return True
            ipaddress.ip_address(name)
            return True
        return False

    def _is_own_page(self, origin: str, host: str) -> bool:
        scheme, _, place = origin.partition("://")
        return origin == f"http://{host}" or (scheme in ("http", "https") and place in self.allowed)
