"""Signatures by key and by certificate, offline, by the real model-signing; and what is told without it."""

from __future__ import annotations

import base64
import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hub_emulator import Hub
from hub_keys import write_keys, write_private_key

from inlay.hub import Bundle, BundleError, SignatureError, pull, push, sign, verify_signature


@pytest.fixture
def keys(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """A new pair of keys: private, public."""
    return partial(write_keys, tmp_path)


def test_a_signed_bundle_is_recognised_and_still_a_bundle(folder: Path, keys: Any, equal: Any, bundle: Bundle) -> None:
    private, public = keys("me")
    assert sign(folder, private) == folder / "inlay.sig"
    verify_signature(folder, public)
    assert equal(Bundle.read(folder), bundle)


def test_another_key_is_told(folder: Path, keys: Any) -> None:
    private, _ = keys("me")
    _, other = keys("other")
    sign(folder, private)
    with pytest.raises(SignatureError, match=r"not valid for the key .*other.pub: it was signed with another key"):
        verify_signature(folder, other)


def test_a_bundle_without_a_signature_is_told(folder: Path, keys: Any) -> None:
    with pytest.raises(SignatureError, match=r"not signed; expected a signature that .*me.pub verifies"):
        verify_signature(folder, keys("me")[1])


def test_a_bundle_that_its_hashes_vouch_for_and_its_signer_does_not_is_told(
    folder: Path, keys: Any, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    private, public = keys("me")
    sign(folder, private)
    make_bundle(2.0).write(tmp_path / "evil")
    shutil.copy(folder / "inlay.sig", tmp_path / "evil" / "inlay.sig")
    Bundle.read(tmp_path / "evil")
    with pytest.raises(SignatureError, match=r"its files differ from the signed ones: adapter.safetensors, inlay.json"):
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
    private, public = keys("me", password=b"secret")
    with pytest.raises(SignatureError, match=r"cannot sign with this key") as caught:
        sign(folder, private, password="guessed")
    assert "guessed" not in str(caught.value)
    with pytest.raises(SignatureError, match=r"it is encrypted; give its password"):
        sign(folder, private)
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


def _not_regular(tmp_path: Path) -> list[Path]:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    return [Path("/dev/zero"), tmp_path / "pipe", tmp_path / "link", tmp_path]


def test_a_key_that_is_a_device_or_a_pipe_is_refused_without_reading(folder: Path, keys: Any, tmp_path: Path) -> None:
    private, _ = keys("me")
    for path in _not_regular(tmp_path):
        with pytest.raises(SignatureError, match=r"cannot be read: expected a regular file"):
            verify_signature(folder, path)
        with pytest.raises(SignatureError, match=r"cannot be read: expected a regular file"):
            sign(folder, path)
        with pytest.raises(SignatureError, match=r"cannot be read: expected a regular file"):
            sign(folder, private, certificates=(path,))


def test_a_huge_key_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "huge").write_bytes(b"x" * (1 << 17))
    with pytest.raises(SignatureError, match=r"huge: cannot be read: expected at most 65536 bytes, got 131072"):
        verify_signature(folder, tmp_path / "huge")


def test_a_signature_that_is_a_device_or_a_pipe_is_refused_without_reading(
    folder: Path, keys: Any, tmp_path: Path
) -> None:
    _, public = keys("me")
    for path in _not_regular(tmp_path)[:3]:
        (folder / "inlay.sig").unlink(missing_ok=True)
        os.rename(path, folder / "inlay.sig") if path.name == "pipe" else (folder / "inlay.sig").symlink_to(path)
        with pytest.raises(SignatureError, match=r"inlay.sig is not a regular file"):
            verify_signature(folder, public)


KEYS = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_of_another_type_is_named(folder: Path, keys: Any, kind: str) -> None:
    private, public = keys("other", KEYS[kind]())
    expected = rf"expected an elliptic-curve key \(P-256, P-384, P-521\), got {kind}; create one with: openssl"
    with pytest.raises(SignatureError, match=expected):
        sign(folder, private)
    sign(folder, keys("me")[0])
    with pytest.raises(SignatureError, match=expected):
        verify_signature(folder, public)


def test_a_private_key_in_place_of_the_public_one_is_named(folder: Path, keys: Any) -> None:
    with pytest.raises(SignatureError, match=r"expected a public key or a certificate in PEM form; got a private"):
        verify_signature(folder, keys("me")[0])


def test_a_signature_that_was_changed_is_named(folder: Path, keys: Any) -> None:
    private, public = keys("me")
    raw = json.loads(sign(folder, private).read_bytes())
    signed = raw["dsseEnvelope"]["signatures"][0]
    data = bytearray(base64.b64decode(signed["sig"]))
    data[9] ^= 1
    signed["sig"] = base64.b64encode(data).decode()
    (folder / "inlay.sig").write_text(json.dumps(raw))
    with pytest.raises(SignatureError, match=r"not valid for the key .*me.pub: .* or was changed"):
        verify_signature(folder, public)


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
    sign(folder, write_private_key(own, tmp_path / "me.key"), certificates=(mine, trusted))
    verify_signature(folder, trusted)
    with pytest.raises(SignatureError, match=r"does not lead to the certificate .*other.pem"):
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
    with pytest.raises(SignatureError, match=r"is not valid for the key"):
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
