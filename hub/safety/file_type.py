"""Recognising the type of a wrong file from its first bytes, for error messages."""

from __future__ import annotations

__all__ = ["known_file_type"]

_MAGIC = {
    b"PK\x03\x04": "a zip archive, as torch.save writes it",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF model",
    b"version https://git-lfs": "a Git LFS pointer; run 'git lfs pull' in the repository",
}


def known_file_type(data: bytes) -> str | None:
    """Name a well-known file type other than safetensors; None if the type is not known.

    Example:
        >>> import pickle
        >>> known_file_type(pickle.dumps({"weight": 1.0}))
        'a Python pickle, which can run code, so it is not opened'
    """
    # A safetensors header of 640 bytes starts like a pickle, but the length field then ends in five zero bytes.
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and data[3:8] != bytes(5):
        return "a Python pickle, which can run code, so it is not opened"
    return next((what for magic, what in _MAGIC.items() if data.startswith(magic)), None)
