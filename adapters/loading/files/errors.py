"""The error of loading frozen models, and its text for errors of the libraries."""

from __future__ import annotations

from safetensors import SafetensorError

from inlay.hub.errors import InlayError

__all__ = ["BackboneError", "reason_of"]


class BackboneError(InlayError):
    """A frozen model cannot be loaded, or a backbone cannot be built."""


def reason_of(error: BaseException) -> str:
    r"""The beginning of an error's text in one line, with its class if the text alone is too short.

    Example:
        >>> reason_of(ValueError("hidden_size:\n  expected an integer")), reason_of(KeyError("gelu_3"))
        ('hidden_size: expected an integer', "KeyError: 'gelu_3'")
    """
    words = " ".join("".join(sign if sign.isprintable() else " " for sign in str(error)).split())
    if isinstance(error, SafetensorError):
        return f"a safetensors file is truncated or damaged ({words})"
    if "trust_remote_code" in words:
        return "the model needs code from its repository, which is never run"
    if len(words) > 300:
        words = f"{words[:300]}..."
    clear = isinstance(error, OSError | ValueError | RuntimeError)
    return words if clear and words else f"{type(error).__name__}: {words}".removesuffix(": ")
