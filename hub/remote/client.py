"""huggingface_hub's client with time limits, and with one class of errors that never contain a token.

The client raises errors of many classes (its own, httpx's, ``OSError``, ``RuntimeError`` around any of them), whose
text can quote a server's answer. Each becomes a :class:`~inlay.hub.errors.HubError`.
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
from inlay.hub.remote.timeouts import NoAnswerError, seconds, time_limit
from inlay.hub.safety.atomic import DISK_FULL
from inlay.hub.safety.text import forbidden_character, shown

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["Client"]

Result = TypeVar("Result")

TRIES = 3
_PAUSE = 0.3
_LONGEST_PAUSE = 30.0
_TOKEN = re.compile(r"hf_\w{6,}", re.ASCII)
_ENDPOINT = re.compile(r"https?://[^\s/?#]+\S*")
_LOGIN = "log in with `hf auth login`, set HF_TOKEN, or give a token"


@dataclass(frozen=True)
class Client:
    """Access to one hub.

    Args:
        endpoint: address of the hub; ``HF_ENDPOINT`` or huggingface.co if not given. It is trusted.
        token: ``None`` for the token of the user's login, ``False`` for none.
    """

    endpoint: str | None = None
    token: str | bool | None = field(default=None, repr=False)

    @cached_property
    def api(self) -> HfApi:
        """huggingface_hub's client."""
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=self.token, library_name="inlay", library_version=version("inlay"))

    def call(self, where: object, action: Callable[[], Result], *, again: bool = True) -> Result:
        """Run an action that sends requests to the hub.

        Args:
            where: the repository, for the message.
            action: the function that sends the requests.
            again: retry after a temporary error: a reset connection, a status of 5xx, a truncated body.

        Raises:
            HubError: the action failed; the text gives the cause and a fix.
        """
        self._check_settings(str(where))
        tries = TRIES if again else 1
        while True:
            tries -= 1
            try:
                with time_limit():
                    return action()
            except InlayError:
                raise
            except Exception as error:
                pause = _pause(error)
                if not tries or pause is None:
                    # Not chained: the original may quote a server, and a server may quote the token.
                    raise self._told(str(where), error) from None
            time.sleep(pause)

    def secrets(self) -> frozenset[str]:
        """The tokens that must not be published or shown: the one in use, and the one of the user's login."""
        from huggingface_hub import get_token

        return frozenset(filter(None, (self._secret(), get_token())))

    def _check_settings(self, where: str) -> None:
        from huggingface_hub import constants

        endpoint = constants.ENDPOINT if self.endpoint is None else self.endpoint
        if not _ENDPOINT.fullmatch(endpoint):
            name = "HF_ENDPOINT" if self.endpoint is None else "endpoint"
            raise HubError(where, f"{name}: expected an address with https://, got {shown(endpoint)}", "address")
        secret = self._secret()
        if secret is not None and not re.fullmatch(r"[!-~]+", secret):
            reason = "the token contains a character that no token has (a space, a control or a non-ASCII character)"
            raise HubError(where, f"{reason}; copy it again, then {_LOGIN}", "token")

    def _told(self, where: str, error: BaseException) -> HubError:
        problem, reason = _problem(error, has_token=self._secret() is not None)
        for hidden in self.secrets():
            reason = reason.replace(hidden, "<token>")
        return HubError(where, _TOKEN.sub("<token>", reason), problem)

    def _secret(self) -> str | None:
        from huggingface_hub import get_token

        if isinstance(self.token, str):
            return self.token
        return None if self.token is False else get_token()


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _pause(error: BaseException) -> float | None:
    """Seconds to wait before another try; None if another try cannot help."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by __getattr__

    for link in _chain(error):
        if isinstance(link, HfHubHTTPError):
            status = link.response.status_code
            if (status != 429 and status < 500) or status in (501, 505):
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
                return "missing", "no such repository, or it is private and the token has no access; check the name"
            case errors.RepositoryNotFoundError():
                return "token", f"no such repository, or it is private and needs a token; check the name, or {_LOGIN}"
            case errors.RevisionNotFoundError():
                return "revision", "the repository has no such branch, tag or commit"
            case errors.EntryNotFoundError() if isinstance(link, errors.HfHubHTTPError):
                return "missing", "the hub lists a file that cannot be downloaded"
            case errors.DisabledRepoError():
                return "forbidden", "the hub has disabled this repository"
            case errors.LocalTokenNotFoundError():
                return "token", f"this needs a token; {_LOGIN}"
            case errors.OfflineModeIsEnabled():
                return "offline", "HF_HUB_OFFLINE is set, so no request is sent; unset it to use the hub"
            case ValueError() if "Invalid metadata in README.md" in str(link):
                return "card", f"README.md: the hub refuses its front matter; correct it ({_line(link)})"
            case errors.HfHubHTTPError():
                return _status(link.response.status_code, _server_says(link), has_token=has_token)
            case httpx.TimeoutException() | NoAnswerError():
                now = f"now {seconds():g} seconds"
                return "network", f"the hub did not answer in time; try again, or raise HF_HUB_DOWNLOAD_TIMEOUT ({now})"
            case httpx.ConnectError():
                return "network", f"the hub cannot be reached; check the network and HF_ENDPOINT ({_line(link)})"
            case httpx.HTTPError():
                return "network", f"the connection broke ({_line(link)}); try again"
            case OSError() if link.errno in DISK_FULL:
                return "space", "no space left on the disk; free some, or use another cache (HF_HOME, cache_dir)"
            case OSError() if link.errno is not None:
                return "space", f"the cache cannot be written: {_line(link)}; use another one (HF_HOME, cache_dir)"
            case OSError() if "Consistency check failed" in str(link):
                return "network", "a file was truncated in every try; try again later"
            case _:
                continue
    return "server", f"not an answer of a hub; check HF_ENDPOINT ({type(error).__name__}: {_line(error)})"


def _status(status: int, says: str, *, has_token: bool) -> tuple[HubProblem, str]:
    if status == 401:
        return "token", f"the token is not valid; {_LOGIN}" if has_token else f"this needs a token; {_LOGIN}"
    if status == 403:
        return "forbidden", f"the token has no permission for this{says}; it needs write access to this namespace"
    if status in (404, 405, 501):
        reason = f"the server does not support this request (status {status}){says}"
        return "server", f"{reason}; check that the address (HF_ENDPOINT) is that of a hub"
    if status == 400:
        return "server", f"the hub refuses the request{says}"
    if status in (409, 412):
        return "conflict", f"the repository has changed meanwhile, or the name is taken{says}; check it and try again"
    if status == 429:
        return "server", "too many requests; try again later"
    if status == 507:
        return "space", f"the hub has no space left for this account{says}"
    return "server", f"the hub answered with status {status}{says}; try again later"


def _server_says(error: object) -> str:
    message = str(getattr(error, "server_message", None) or "")
    return f" ({_clean(message)})" if message else ""


def _line(error: BaseException) -> str:
    return _clean(str(error)) or type(error).__name__


def _clean(text: str) -> str:
    """The text of a server or a library as one short printable line."""
    line = "".join(" " if forbidden_character(character) else character for character in text[:400])
    return " ".join(line.split())[:200]
