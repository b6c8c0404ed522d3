"""``multipart/form-data``, as browsers and curl send it (RFC 7578): bytes in, fields out.

The standard library's mail parser works line by line, and a file of ten million newlines costs it gigabytes. Here the
body is split at its boundary, a bounded number of times. File names and claimed types are not read.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from inlay.recipes.demo.limits import DemoError

__all__ = ["Field", "read_form"]

_TYPE = re.compile(r'multipart/form-data\s*;\s*boundary="?([0-9A-Za-z\'()+_,./:=?-]{1,70})"?\s*', re.IGNORECASE)
_NAME = re.compile(rb'content-disposition:\s*form-data\s*;\s*name="([a-z_]{1,40})"', re.IGNORECASE)
_MAX_HEAD = 4_000  # bytes of the headers of one field


class Field(NamedTuple):
    """One field."""

    name: str
    data: bytes


def read_form(body: bytes, content_type: str, *, most: int) -> list[Field]:
    r"""Split a body into its fields, in their order.

    Args:
        body: of the request.
        content_type: the request's header, with the boundary.
        most: the largest number of fields.

    Raises:
        DemoError: not a form, cut off, or too many fields.

    Example:
        >>> body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n'
        >>> read_form(body, "multipart/form-data; boundary=x", most=1)
        [Field(name='a', data=b'b')]
    """
    match = _TYPE.fullmatch(content_type)
    if match is None:
        raise DemoError("expected a form (multipart/form-data)", status=415)
    line = b"--" + match[1].encode()
    if not body.startswith(line):
        raise DemoError("the form is damaged: it does not begin with its boundary")
    pieces = body[len(line) :].split(b"\r\n" + line, most + 1)
    if len(pieces) == most + 2:
        raise DemoError(f"too many pictures at once: a request has at most {most} fields", status=413)
    if not pieces.pop().startswith(b"--"):
        raise DemoError("the form is cut off: it does not end with its boundary")
    return [_field(piece) for piece in pieces]


def _field(piece: bytes) -> Field:
    end = piece.find(b"\r\n\r\n", 0, _MAX_HEAD)
    name = _NAME.search(piece, 0, end) if end >= 0 else None
    if name is None:
        raise DemoError("the form is damaged: a field has no name")
    return Field(name[1].decode(), piece[end + 4 :])
