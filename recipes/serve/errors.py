"""Errors of a request in OpenAI's JSON form.

https://platform.openai.com/docs/guides/error-codes: ``{"error": {"message", "type", "param", "code"}}``.
"""

from __future__ import annotations

from typing import Any

from inlay.hub.errors import InlayError

__all__ = ["ApiError", "ServeError"]

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ServeError(InlayError):
    """The server cannot start with these settings."""


class ApiError(InlayError):
    """A request that is refused.

    Args:
        message: what was expected, what came, and how to fix it; it is sent to the client.
        status: of HTTP.
        param: the field of the request.
        code: a short name for programs.
        retry_after: seconds after which the client may try again.

    Example:
        >>> ApiError("model: unknown", status=404, param="model", code="model_not_found").document()["error"]["code"]
        'model_not_found'
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.status, self.param, self.code, self.retry_after = status, param, code, retry_after
        super().__init__(message)

    def document(self) -> dict[str, Any]:
        """The body of the response."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})
