"""Signing and verifying a bundle with OpenSSF model-signing, offline, with a key or a certificate.

``inlay.sig`` is a Sigstore bundle over the manifest and every file that it lists; the card is not signed, since it may
be edited. ``model_signing verify`` also reads it, with ``inlay.sig`` and ``README.md`` ignored. Needs the extra
``sign``. https://github.com/sigstore/model-transparency
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from inlay.hub.errors import BundleError, InlayError
from inlay.hub.format.files import (
    CARD_NAME,
    KNOWN_NAMES,
    SIGNATURE_NAME,
    bundle_folder,
    check_is_bundle,
    read_files,
    read_manifest,
)
from inlay.hub.safety.atomic import replace_folder
from inlay.hub.safety.safe_read import OpenFolder, read_file

__all__ = ["SignatureError", "check_trusted", "sign", "verify_signature"]

_LARGEST_KEY = 1 << 16
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_NEW_KEY = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out me.key"


class SignatureError(InlayError):
    """A bundle is not signed, its signature is not valid, or a key cannot be used."""


def sign(
    folder: str | os.PathLike[str],
    private_key: str | os.PathLike[str],
    *,
    password: str | None = None,
    certificates: tuple[str | os.PathLike[str], ...] = (),
) -> Path:
    """Sign a bundle; the signature is written into its folder, and push sends it.

    Args:
        folder: the folder of a bundle or of a run.
        private_key: a PEM file with an elliptic-curve key.
        password: the password of the key, if it is encrypted.
        certificates: PEM files: the signer's certificate, then the chain up to the root. A bundle that is signed
            without certificates is verified with the public key, one that is signed with them, with the root.

    Returns:
        The file of the signature.

    Raises:
        BundleError: the bundle is damaged.
        SignatureError: the key cannot be used, or model-signing is not installed.
    """
    library = _library("signing")
    place = bundle_folder(Path(folder))
    _check_private_key(private_key, password)
    for certificate in certificates:
        _pem(certificate)
    with _Copy(place) as copy:
        try:
            config = library.Config()
            if certificates:
                own, *chain = map(Path, certificates)
                config.use_certificate_signer(
                    private_key=Path(private_key), signing_certificate=own, certificate_chain=chain
                )
            else:
                # Annotated as str, but model-signing 1.1.1 passes it on to a function that needs bytes.
                secret: Any = None if password is None else password.encode()
                config.use_elliptic_key_signer(private_key=Path(private_key), password=secret)
            config.sign(copy.folder, copy.signature)
        except Exception as error:
            raise SignatureError(f"{os.fspath(private_key)}: cannot sign with this key: {_line(error)}") from error
        files = copy.files | {SIGNATURE_NAME: copy.signature.read_bytes()}
    return replace_folder(place, files, overwrite=True, check_old=check_is_bundle) / SIGNATURE_NAME


def verify_signature(folder: str | os.PathLike[str], trusted: str | os.PathLike[str]) -> None:
    """Check that a bundle is signed with a trusted key and has not changed since.

    Args:
        folder: the folder of a bundle or of a run.
        trusted: a PEM file: the signer's public key, or the root certificate of the signer's certificate.

    Raises:
        BundleError: the bundle is damaged.
        SignatureError: there is no signature, it is another signer's, or files differ from the signed ones.
    """
    place = bundle_folder(Path(folder))
    is_key = check_trusted(trusted)
    library = _library("verifying")
    with _Copy(place) as copy:
        if SIGNATURE_NAME not in copy.files:
            there = os.path.lexists(place / SIGNATURE_NAME)
            found = f"{SIGNATURE_NAME} is not a regular file of at most 1 MiB" if there else "not signed"
            raise SignatureError(f"{place}: {found}; expected a signature that {os.fspath(trusted)} verifies")
        copy.signature.write_bytes(copy.files[SIGNATURE_NAME])
        try:
            config = library.Config()
            if is_key:
                config.use_elliptic_key_verifier(public_key=Path(trusted))
            else:
                config.use_certificate_verifier(certificate_chain=[Path(trusted)])
            config.verify(copy.folder, copy.signature)
        except Exception as error:
            raise SignatureError(f"{place}: {_why(error, os.fspath(trusted))}") from error


def check_trusted(trusted: str | os.PathLike[str]) -> bool:
    """Check that a file can be used to verify signatures, before anything is downloaded.

    Returns:
        Whether it is a public key; otherwise it is a certificate.

    Raises:
        SignatureError: not a readable PEM file, or a key of another type; model-signing is not installed.
    """
    data = _pem(trusted)
    if b"-----BEGIN CERTIFICATE-----" in data:
        return False
    if b"-----BEGIN PUBLIC KEY-----" not in data:
        hint = "; got a private key, which signs but does not verify" if b"PRIVATE KEY-----" in data else ""
        reason = f"expected a public key or a certificate in PEM form{hint}"
        raise SignatureError(f"{os.fspath(trusted)}: {reason}")
    _library("verifying")
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except Exception as error:
        raise SignatureError(f"{os.fspath(trusted)}: a damaged public key: {_line(error)}") from None
    _check_curve(key, trusted)
    return True


class _Copy(TemporaryDirectory[str]):
    """A temporary folder with the verified bytes of the signed files: no card, no links (model-signing refuses them).

    Args:
        source: the folder of a bundle.
    """

    def __init__(self, source: Path) -> None:
        with OpenFolder(source) as opened:
            self.files = read_files(opened, read_manifest(opened))
        super().__init__(prefix="inlay-sign-")
        self.folder, self.signature = Path(self.name) / "bundle", Path(self.name) / SIGNATURE_NAME
        for name in sorted(set(self.files) - {CARD_NAME, SIGNATURE_NAME}):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(self.files[name])

    def __enter__(self) -> Self:  # type: ignore[override]  # the base class returns the name
        return self


def _check_private_key(path: str | os.PathLike[str], password: str | None) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data, shown = _pem(path), os.fspath(path)
    try:
        key = load_pem_private_key(data, None if password is None else password.encode())
    except TypeError:  # the only type error is a password that is missing or not needed
        needed = "it is encrypted; give its password" if password is None else "it is not encrypted; give no password"
        raise SignatureError(f"{shown}: cannot sign with this key: {needed} (INLAY_KEY_PASSWORD)") from None
    except Exception as error:
        reason = "expected a private key in PEM form" if password is None else "the password is not correct"
        raise SignatureError(f"{shown}: cannot sign with this key: {reason} ({_line(error)})") from None
    _check_curve(key, path)


def _check_curve(key: Any, path: str | os.PathLike[str]) -> None:
    found = getattr(getattr(key, "curve", None), "name", None)
    if found not in _CURVES:
        kind = found or type(key).__name__.strip("_").removesuffix("PublicKey").removesuffix("PrivateKey")
        expected = f"expected an elliptic-curve key ({', '.join(_CURVES.values())})"
        raise SignatureError(f"{os.fspath(path)}: {expected}, got {kind}; create one with: {_NEW_KEY}")


def _pem(path: str | os.PathLike[str]) -> bytes:
    try:
        return read_file(path, _LARGEST_KEY)
    except BundleError as error:
        raise SignatureError(f"{os.fspath(path)}: cannot be read: {error.reason}") from None


def _library(module: str) -> Any:
    try:
        return import_module(f"model_signing.{module}")
    except ImportError as error:
        reason = f'signatures need model-signing ({error}); install it: pip install "inlay[sign]"'
        raise SignatureError(reason) from None


def _why(error: Exception, trusted: str) -> str:
    """The reason why a verification failed, from an error of model-signing."""
    text = _line(error)
    if text.startswith("Signature mismatch"):
        names = ", ".join(name for name in sorted(KNOWN_NAMES) if name in str(error))
        return f"its files differ from the signed ones: {names}"
    if "Key mismatch" in text or type(error).__name__ == "InvalidSignature":
        return f"its signature is not valid for the key {trusted}: it was signed with another key, or was changed"
    if "VerifyError" in type(error).__name__ or "certificate" in text.lower():
        return f"its signature does not lead to the certificate {trusted}: {text}"
    return f"its signature cannot be verified with {trusted}: inlay.sig is damaged, or of another kind ({text})"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
