"""Pairs of keys as PEM files, for signatures in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["write_keys", "write_private_key"]


def write_keys(folder: Path, name: str, key: Any = None, password: bytes | None = None) -> tuple[Path, Path]:
    """Write ``<name>.key`` and ``<name>.pub`` of a key, a new one on P-256 if not given.

    Returns:
        The files of the private and of the public key.
    """
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    public = folder / f"{name}.pub"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return write_private_key(key, folder / f"{name}.key", password), public


def write_private_key(key: Any, path: Path, password: bytes | None = None) -> Path:
    """Write a private key, encrypted if there is a password."""
    form = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, form))
    return path
