"""The body of a request, of which no more than allowed is held."""

from __future__ import annotations

from fastapi import Request

from inlay.recipes.serve.errors import ApiError

__all__ = ["bounded_body"]


async def bounded_body(request: Request, most: int) -> bytes:
    """Read a body.

    Args:
        request: its body has not been read yet.
        most: bytes.

    Raises:
        ApiError: 413, the body is larger, by its stated or its true length.
        ClientDisconnect: the client left.
    """
    stated = request.headers.get("content-length", "")
    data = bytearray()
    if not (stated.isascii() and stated.isdigit() and int(stated[:19]) > most):
        async for piece in request.stream():
            data += piece
            if len(data) > most:
                break
        else:
            return bytes(data)
    raise ApiError(f"the request has more than {most:,} bytes", status=413, code="request_too_large")
