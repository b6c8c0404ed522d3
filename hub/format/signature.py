"""Signatures by OpenSSF model-signing: who made a bundle, checked offline with a key or a certificate.

``inlay.sig`` is a Sigstore bundle over the manifest and every file that it lists; the card is left out, since people
edit it. ``model_signing verify`` reads it too, told to ignore ``inlay.sig`` and ``README.md``. Needs the extra
``sign``. https://github.com/sigstore/model-transparency
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from inlay.hub.errors import InlayError
from inlay.hub.format.files import CARD_NAME, SIGNATURE_NAME, bundle_folder, check_is_bundle, read_files, read_manifest
from inlay.hub.safety.atomic import replace_folder
from inlay.hub.safety.safe_read import OpenFolder

__all__ = ["SignatureError", "sign", "verify_signature"]

_LARGEST_KEY = 1 << 16


class SignatureError(InlayError):
    """A bundle is not signed, or not by whom it should be."""


def sign(
    folder: str | os.PathLike[str],
    private_key: str | os.PathLike[str],
    *,
    password: str | None = None,
    certificates: tuple[str | os.PathLike[str], ...] = (),
) -> Path:
    """Sign a bundle; the signature goes beside it, and is sent by push.

    Args:
        folder: of a bundle or of a run.
        private_key: a PEM file of an elliptic-curve key.
        password: of the key.
        certificates: PEM files: the signer's own certificate, then those up to the root. Without them whoever checks
            needs the public key; with them, the root.

    Returns:
        The file of the signature.

    Raises:
        BundleError: the bundle is damaged.
        SignatureError: the key cannot be used, or model-signing is not installed.
    """
    library = _library("signing")
    place = bundle_folder(Path(folder))
    with _Copy(place) as copy:
        try:
            config = library.Config()
            if certificates:
                own, *chain = map(Path, certificates)
                config.use_certificate_signer(
                    private_key=Path(private_key), signing_certificate=own, certificate_chain=chain
                )
            else:
                # Annotated as text, but model-signing 1.1.1 hands it on to where bytes are needed.
                secret: Any = None if password is None else password.encode()
                config.use_elliptic_key_signer(private_key=Path(private_key), password=secret)
            config.sign(copy.folder, copy.signature)
        except Exception as error:
            raise SignatureError(f"{os.fspath(private_key)}: cannot sign with this key: {_line(error)}") from error
        files = copy.files | {SIGNATURE_NAME: copy.signature.read_bytes()}
    return replace_folder(place, files, overwrite=True, check_old=check_is_bundle) / SIGNATURE_NAME


def verify_signature(folder: str | os.PathLike[str], trusted: str | os.PathLike[str]) -> None:
    """Check that a bundle is as somebody signed it.

    Args:
        folder: of a bundle or of a run.
        trusted: a PEM file: the signer's public key, or the root certificate that the signer's leads to.

    Raises:
        BundleError: the bundle is damaged.
        SignatureError: no signature, another signer, or other files than those that were signed.
    """
    place = bundle_folder(Path(folder))
    kind = _kind(trusted)
    library = _library("verifying")
    with _Copy(place) as copy:
        if SIGNATURE_NAME not in copy.files:
            raise SignatureError(f"{place}: not signed, and a signature by {os.fspath(trusted)} is asked for")
        copy.signature.write_bytes(copy.files[SIGNATURE_NAME])
        try:
            config = library.Config()
            if kind == "key":
                config.use_elliptic_key_verifier(public_key=Path(trusted))
            else:
                config.use_certificate_verifier(certificate_chain=[Path(trusted)])
            config.verify(copy.folder, copy.signature)
        except Exception as error:
            reason = f"its signature is not one by {os.fspath(trusted)} over these files: {_line(error)}"
            raise SignatureError(f"{place}: {reason}") from error


class _Copy(TemporaryDirectory[str]):
    """What is signed, alone in a folder: the checked bytes, no card, no links (model-signing refuses them)."""

    def __init__(self, source: Path) -> None:
        with OpenFolder(source) as opened:
            self.files = read_files(opened, read_manifest(opened))
        super().__init__(prefix="inlay-sign-")
        self.folder, self.signature = Path(self.name) / "bundle", Path(self.name) / SIGNATURE_NAME
        for name in sorted(set(self.files) - {CARD_NAME, SIGNATURE_NAME}):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(self.files[name])

    def __enter__(self) -> Self:  # type: ignore[override]  # the base class gives the name
        return self


def _kind(trusted: str | os.PathLike[str]) -> str:
    try:
        text = Path(trusted).read_bytes()[:_LARGEST_KEY]
    except OSError as error:
        raise SignatureError(f"{os.fspath(trusted)}: cannot be read: {error.strerror}") from None
    for mark, kind in ((b"-----BEGIN PUBLIC KEY-----", "key"), (b"-----BEGIN CERTIFICATE-----", "certificate")):
        if mark in text:
            return kind
    raise SignatureError(f"{os.fspath(trusted)}: expected a public key or a certificate in PEM form")


def _library(module: str) -> Any:
    try:
        return import_module(f"model_signing.{module}")
    except ImportError as error:
        reason = f'signatures need model-signing ({error}); install it: pip install "inlay[sign]"'
        raise SignatureError(reason) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
