"""huggingface_hub's client, with errors that tell the cases apart and that never hold a token.

What the client raises is of many families (its own, httpx's, ``OSError``, ``RuntimeError`` around any of them) and can
quote what a server says. All of it becomes one :class:`~inlay.hub.errors.HubError`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

from inlay.hub.errors import HubError, HubProblem, InlayError
from inlay.hub.safety.atomic import DISK_FULL
from inlay.hub.safety.text import forbidden_character

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["Client"]

Result = TypeVar("Result")

TRIES = 3
_PAUSE = 0.3
_LONGEST_PAUSE = 30.0
_TOKEN = re.compile(r"hf_\w{6,}", re.ASCII)
_LOGIN = "log in with `hf auth login`, set HF_TOKEN, or give a token"


@dataclass(frozen=True)
class Client:
    """Access to one hub.

    Args:
        endpoint: address of the hub; ``HF_ENDPOINT`` or huggingface.co if not given. It is trusted.
        token: ``None`` for the one that the user is logged in with, ``False`` for none.
    """

    endpoint: str | None = None
    token: str | bool | None = field(default=None, repr=False)

    @cached_property
    def api(self) -> HfApi:
        """The client itself."""
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=self.token, library_name="inlay", library_version=version("inlay"))

    def call(self, where: object, action: Callable[[], Result], *, again: bool = True) -> Result:
        """Do something on the hub.

        Args:
            where: the repository, for the message.
            action: what to do.
            again: try again after an error that may pass: a reset connection, a status of 5xx, a body cut short.

        Raises:
            HubError: what went wrong and what to do about it.
        """
        tries = TRIES if again else 1
        while True:
            tries -= 1
            try:
                return action()
            except InlayError:
                raise
            except Exception as error:
                pause = _pause(error)
                if not tries or pause is None:
                    # Without the original in the traceback: it may quote a server, and a server may quote the token.
                    raise self._told(str(where), error) from None
            time.sleep(pause)

    def _told(self, where: str, error: BaseException) -> HubError:
        problem, reason = _problem(error, has_token=self._secret() is not None)
        secret = self._secret()
        for hidden in filter(None, (secret, self.token if isinstance(self.token, str) else None)):
            reason = reason.replace(hidden, "<token>")
        return HubError(where, _TOKEN.sub("<token>", reason), problem)

    def _secret(self) -> str | None:
        from huggingface_hub import get_token

        if isinstance(self.token, str):
            return self.token
        return None if self.token is False else get_token()


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised from: the client wraps."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _pause(error: BaseException) -> float | None:
    """How long to wait before another try, or None if there is no point in one."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by __getattr__

    for link in _chain(error):
        if isinstance(link, HfHubHTTPError):
            status = link.response.status_code
            if status != 429 and status < 500:
                return None
            asked = str(link.response.headers.get("Retry-After", ""))
            return min(float(asked), _LONGEST_PAUSE) if asked.isdigit() else _PAUSE
        if isinstance(link, (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)):
            return _PAUSE
        if type(link) is OSError and "Consistency check failed" in str(link):
            return _PAUSE
    return None


def _problem(error: BaseException, *, has_token: bool) -> tuple[HubProblem, str]:
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by __getattr__

    for link in _chain(error):
        match link:
            case errors.GatedRepoError():
                hint = "ask for access on its page" if has_token else f"ask for access on its page, then {_LOGIN}"
                return "gated", f"access to this repository is granted on request; {hint}"
            case errors.RepositoryNotFoundError() if has_token:
                return "missing", "no such repository, or it is private and the token may not see it; check the name"
            case errors.RepositoryNotFoundError():
                return "token", f"no such repository, or it is private: without a token a hub does not say; {_LOGIN}"
            case errors.RevisionNotFoundError():
                return "revision", "the repository has no such branch, tag or commit"
            case errors.EntryNotFoundError() if isinstance(link, errors.HfHubHTTPError):
                return "missing", "a file that was listed is not there"
            case errors.DisabledRepoError():
                return "forbidden", "the hub has disabled this repository"
            case errors.LocalTokenNotFoundError():
                return "token", f"this needs a token; {_LOGIN}"
            case errors.OfflineModeIsEnabled():
                return "offline", "HF_HUB_OFFLINE is set, and this is not in the cache; unset it to ask the hub"
            case ValueError() if "Invalid metadata in README.md" in str(link):
                return "card", f"README.md: the hub does not take its front matter; mend it ({_line(link)})"
            case errors.HfHubHTTPError():
                return _status(link.response.status_code, _server_says(link), has_token=has_token)
            case httpx.TimeoutException():
                return "network", "the hub did not answer in time; try again, or raise HF_HUB_DOWNLOAD_TIMEOUT"
            case httpx.ConnectError():
                return "network", f"the hub cannot be reached; check the network and HF_ENDPOINT ({_line(link)})"
            case httpx.HTTPError():
                return "network", f"the connection broke ({_line(link)}); try again"
            case OSError() if link.errno in DISK_FULL:
                return "space", "no space left on the disk; free some, or choose another cache (HF_HOME, cache_dir)"
            case OSError() if link.errno is not None:
                return "space", f"the cache cannot be written: {_line(link)}; choose another (HF_HOME, cache_dir)"
            case OSError() if "Consistency check failed" in str(link):
                return "network", "a file came cut short, several times; try again"
            case _:
                continue
    return "server", f"the hub does not answer as a hub does ({type(error).__name__}: {_line(error)})"


def _status(status: int, says: str, *, has_token: bool) -> tuple[HubProblem, str]:
    if status == 401:
        return "token", f"the token is not valid; {_LOGIN}" if has_token else f"this needs a token; {_LOGIN}"
    if status == 403:
        return "forbidden", f"the token may not do this{says}; it needs write access to this namespace"
    if status == 400:
        return "server", f"the hub refuses the request{says}"
    if status in (409, 412):
        return "conflict", f"somebody changed the repository meanwhile, or the name is taken{says}; look, and try again"
    if status == 429:
        return "server", "the hub asks for a pause (too many requests); try again later"
    if status == 507:
        return "space", f"the hub has no space left for this account{says}"
    return "server", f"the hub answered with status {status}{says}; try again later"


def _server_says(error: object) -> str:
    message = str(getattr(error, "server_message", None) or "")
    return f" ({_clean(message)})" if message else ""


def _line(error: BaseException) -> str:
    return _clean(str(error)) or type(error).__name__


def _clean(text: str) -> str:
    """One short printable line of what a server or a library says."""
    line = "".join(" " if forbidden_character(character) else character for character in text[:400])
    return " ".join(line.split())[:200]
