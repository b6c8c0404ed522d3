"""Signatures by key and by certificate, offline, by the real model-signing; and what is told without it."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hub_emulator import Hub

from inlay.hub import Bundle, BundleError, SignatureError, pull, push, sign, verify_signature

Key = ec.EllipticCurvePrivateKey


def _pem_key(key: Key, path: Path, password: bytes | None = None) -> Path:
    form = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, form))
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """A new pair of keys: private, public."""

    def make(name: str, password: bytes | None = None) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        public = tmp_path / f"{name}.pub"
        public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        return _pem_key(key, tmp_path / f"{name}.key", password), public

    return make


def test_a_signed_bundle_is_recognised_and_still_a_bundle(folder: Path, keys: Any, equal: Any, bundle: Bundle) -> None:
    private, public = keys("me")
    assert sign(folder, private) == folder / "inlay.sig"
    verify_signature(folder, public)
    assert equal(Bundle.read(folder), bundle)


def test_another_key_is_told(folder: Path, keys: Any) -> None:
    private, _ = keys("me")
    _, other = keys("other")
    sign(folder, private)
    with pytest.raises(SignatureError, match=r"its signature is not one by .*other.pub"):
        verify_signature(folder, other)


def test_a_bundle_without_a_signature_is_told(folder: Path, keys: Any) -> None:
    with pytest.raises(SignatureError, match=r"not signed, and a signature by .*me.pub is asked for"):
        verify_signature(folder, keys("me")[1])


def test_a_bundle_that_its_hashes_vouch_for_and_its_signer_does_not_is_told(
    folder: Path, keys: Any, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    private, public = keys("me")
    sign(folder, private)
    make_bundle(2.0).write(tmp_path / "evil")
    shutil.copy(folder / "inlay.sig", tmp_path / "evil" / "inlay.sig")
    Bundle.read(tmp_path / "evil")
    with pytest.raises(SignatureError, match=r"is not one by"):
        verify_signature(tmp_path / "evil", public)


def test_a_damaged_file_is_told_before_the_signature_is_looked_at(folder: Path, keys: Any) -> None:
    private, public = keys("me")
    sign(folder, private)
    (folder / "adapter.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"adapter.safetensors"):
        verify_signature(folder, public)


def test_a_card_may_be_edited_after_signing(folder: Path, keys: Any) -> None:
    private, public = keys("me")
    sign(folder, private)
    (folder / "README.md").write_text("my own words")
    verify_signature(folder, public)


def test_saving_anew_drops_the_signature(folder: Path, keys: Any, make_bundle: Callable[..., Bundle]) -> None:
    sign(folder, keys("me")[0])
    make_bundle(2.0).write(folder, overwrite=True)
    assert not (folder / "inlay.sig").exists()


def test_a_key_with_a_password(folder: Path, keys: Any) -> None:
    private, public = keys("me", b"secret")
    with pytest.raises(SignatureError, match=r"cannot sign with this key") as caught:
        sign(folder, private, password="wrong")
    assert "wrong" not in str(caught.value)
    sign(folder, private, password="secret")
    verify_signature(folder, public)


def test_a_file_that_is_no_key_is_told(folder: Path, keys: Any, tmp_path: Path) -> None:
    sign(folder, keys("me")[0])
    for trusted, message in (
        (folder / "README.md", "expected a public key or a certificate"),
        (tmp_path / "no", "read"),
    ):
        with pytest.raises(SignatureError, match=message):
            verify_signature(folder, trusted)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff" * 99, b'{"mediaType": "x"}', b"{" * 100_000])
def test_a_hostile_signature_is_one_error(folder: Path, keys: Any, data: bytes) -> None:
    (folder / "inlay.sig").write_bytes(data)
    with pytest.raises(SignatureError):
        verify_signature(folder, keys("me")[1])
    assert Bundle.read(folder).lora is not None


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    by: ec.EllipticCurvePrivateKey,
    path: Path,
    *,
    root: bool,
) -> Path:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not root, key_cert_sign=root, crl_sign=root, decipher_only=False, **usage),
            critical=True,
        )
    )
    if not root:
        code_signing = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING])
        builder = builder.add_extension(code_signing, critical=False)
    path.write_bytes(builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def test_a_certificate_is_followed_to_its_root(folder: Path, tmp_path: Path) -> None:
    root, own, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    trusted = _certificate("root", root, "root", root, tmp_path / "root.pem", root=True)
    stranger = _certificate("other", other, "other", other, tmp_path / "other.pem", root=True)
    mine = _certificate("me", own, "root", root, tmp_path / "me.pem", root=False)
    sign(folder, _pem_key(own, tmp_path / "me.key"), certificates=(mine, trusted))
    verify_signature(folder, trusted)
    with pytest.raises(SignatureError, match=r"is not one by .*other.pem"):
        verify_signature(folder, stranger)


def test_the_signature_travels_and_pull_can_ask_for_it(hub: Hub, folder: Path, keys: Any, tmp_path: Path) -> None:
    private, public = keys("me")
    push(folder, "me/x")
    with pytest.raises(SignatureError, match=r"not signed"):
        pull("me/x", trusted=public, folder=tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    sign(folder, private)
    push(folder, "me/x")
    pulled = pull("me/x", trusted=public, folder=tmp_path / "copy")
    verify_signature(pulled.folder, public)
    with pytest.raises(SignatureError, match=r"is not one by"):
        pull("me/x", trusted=keys("other")[1])


def test_the_stock_tool_reads_our_signature(folder: Path, keys: Any) -> None:
    private, public = keys("me")
    sign(folder, private)
    command = [
        sys.executable,
        "-m",
        "model_signing",
        "verify",
        "key",
        str(folder),
        "--signature",
        f"{folder}/inlay.sig",
    ]
    command += ["--public_key", str(public), "--ignore-paths", f"{folder}/inlay.sig"]
    command += ["--ignore-paths", f"{folder}/README.md"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Verification succeeded" in run.stdout + run.stderr


def test_without_the_extra_the_error_says_what_to_install(
    folder: Path, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys("me")
    for module in ("model_signing", "model_signing.signing", "model_signing.verifying"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SignatureError, match=r'pip install "inlay\[sign\]"'):
        sign(folder, private)
    with pytest.raises(SignatureError, match=r'pip install "inlay\[sign\]"'):
        verify_signature(folder, public)


def test_a_folder_with_a_file_too_many_is_not_signed(folder: Path, keys: Any) -> None:
    (folder / "notes.txt").write_text("x")
    with pytest.raises(BundleError, match=r"not a file of a bundle"):
        sign(folder, keys("me")[0])
