"""The files of a bundle: comparing a folder, and the bytes of each file, with the manifest. Parses no tensor."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from inlay.hub.errors import BundleError
from inlay.hub.format.manifest import MANIFEST_NAME, FileSpec, Manifest
from inlay.hub.format.peft_folder import LORA_CONFIG, LORA_TENSORS
from inlay.hub.safety.file_type import known_file_type
from inlay.hub.safety.safe_read import OpenFolder
from inlay.hub.safety.strict_json import MAX_JSON_BYTES
from inlay.hub.safety.text import shown

__all__ = [
    "BUNDLE_NAMES",
    "CARD_NAME",
    "KNOWN_NAMES",
    "MAX_TENSOR_BYTES",
    "SIGNATURE_NAME",
    "TENSORS_NAME",
    "UNLISTED",
    "bundle_folder",
    "check_content",
    "check_is_bundle",
    "check_listing",
    "read_checked",
    "read_files",
    "read_manifest",
]

TENSORS_NAME = "adapter.safetensors"
CARD_NAME = "README.md"
SIGNATURE_NAME = "inlay.sig"
UNLISTED = frozenset({MANIFEST_NAME, CARD_NAME, SIGNATURE_NAME})
"""Files that a manifest does not list: itself, the card, which may be edited, and the signature, which is added
later."""
BUNDLE_NAMES = frozenset({MANIFEST_NAME, CARD_NAME, TENSORS_NAME, LORA_CONFIG, LORA_TENSORS})
"""Every file that writing a bundle creates."""
KNOWN_NAMES = BUNDLE_NAMES | {SIGNATURE_NAME}
"""Every file that a bundle's folder may contain."""

MAX_TENSOR_BYTES = 4 << 30
_PICKLED_LORA = "lora/adapter_model.bin"


def read_manifest(folder: OpenFolder, max_bytes: int = MAX_TENSOR_BYTES) -> Manifest:
    """Read the manifest of a folder, and check that the folder contains exactly the listed files.

    Raises:
        BundleError: no manifest, an extra or missing file, or more bytes than ``max_bytes``.
    """
    present = folder.names(KNOWN_NAMES | {_PICKLED_LORA})
    if MANIFEST_NAME not in present:
        raise BundleError(folder.name, f"not a bundle: it holds no {MANIFEST_NAME}")
    if _PICKLED_LORA in present:
        reason = "a pickle, which can run code, so it is not opened: expected lora/adapter_model.safetensors"
        raise BundleError(_PICKLED_LORA, f"{reason}; convert the weights and remove this file")
    manifest = Manifest.from_json(folder.read(MANIFEST_NAME, MAX_JSON_BYTES))
    check_listing(manifest, present, max_bytes)
    return manifest


def check_listing(manifest: Manifest, present: frozenset[str], max_bytes: int = MAX_TENSOR_BYTES) -> None:
    """Compare the present files with the files that the manifest lists.

    Raises:
        BundleError: a file is missing or not listed (named), or the total size is too large (given).
    """
    listed = {spec.path for spec in manifest.files}
    for name in sorted(listed ^ (present - UNLISTED)):
        reason = "is listed in inlay.json but missing" if name in listed else "is not listed in inlay.json"
        raise BundleError(name, reason)
    if (LORA_CONFIG in listed) != (LORA_TENSORS in listed):
        raise BundleError(MANIFEST_NAME, "expected both files of lora/ or none", field="files")
    total = sum(spec.size for spec in manifest.files)
    if total > max_bytes:
        raise BundleError(MANIFEST_NAME, f"expected at most {max_bytes} bytes of files, got {total}", field="files")


def read_checked(folder: OpenFolder, spec: FileSpec) -> bytes:
    """Read a file once, and compare size and hash with the manifest.

    Raises:
        BundleError: they differ.
    """
    data = folder.read(spec.path, max(spec.size, 1 << 16))
    check_content(data, spec)
    return data


def read_files(folder: OpenFolder, manifest: Manifest) -> dict[str, bytes]:
    """Read every file of a bundle: the listed files, checked, the manifest, and card and signature if present.

    Raises:
        BundleError: a file is missing or damaged, or the manifest on disk has changed meanwhile.
    """
    files: dict[str, bytes] = {spec.path: read_checked(folder, spec) for spec in manifest.files}
    for name in (CARD_NAME, SIGNATURE_NAME):
        with contextlib.suppress(BundleError):  # both are optional
            files[name] = folder.read(name, MAX_JSON_BYTES)
    files[MANIFEST_NAME] = folder.read(MANIFEST_NAME, MAX_JSON_BYTES)
    if Manifest.from_json(files[MANIFEST_NAME]) != manifest:
        raise BundleError(MANIFEST_NAME, "changed while the bundle was read; try again")
    return files


def check_content(data: bytes, spec: FileSpec) -> None:
    """Compare the bytes of a file with size and hash in the manifest.

    Raises:
        BundleError: they differ; names the file type if it is known.
    """
    if len(data) == spec.size and hashlib.sha256(data).hexdigest() == spec.sha256:
        return
    differs = len(data) != spec.size
    found = (
        f"expected {spec.size} bytes, got {len(data)}" if differs else "its sha256 differs from the one in inlay.json"
    )
    what = known_file_type(data)
    hint = f"it is {what}" if what else "the file is damaged or was replaced; download the bundle again"
    raise BundleError(spec.path, f"{found}; {hint}")


def check_is_bundle(folder: Path) -> None:
    """Refuse to replace a folder that contains anything other than a bundle.

    Raises:
        BundleError: names the other files.
    """
    try:
        found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
        entries = {path.relative_to(folder).as_posix() for path in found}
        # huggingface_hub keeps the metadata of its downloads here; other files of such a folder belong to the user.
        strangers = sorted(name for name in entries - KNOWN_NAMES if not name.startswith(".cache/huggingface/"))
    except OSError as error:
        raise BundleError(str(folder), f"cannot be listed: {error.strerror}") from None
    if MANIFEST_NAME not in entries or strangers:
        why = f"it also holds {', '.join(map(shown, strangers[:5]))}" if strangers else f"it holds no {MANIFEST_NAME}"
        raise BundleError(str(folder), f"is not only a bundle ({why}), so it is not overwritten; choose another folder")


def bundle_folder(path: Path) -> Path:
    """The folder itself, or the ``bundle/`` of a run folder.

    Raises:
        BundleError: a run folder without a bundle, because the run is not finished.
    """
    inner = path / "bundle"
    if (path / MANIFEST_NAME).exists() or not (inner.is_dir() or (path / "checkpoints").is_dir()):
        return path
    if not inner.is_dir():
        raise BundleError(path.name, "this run is not finished and has no bundle yet: inlay train --resume true")
    return inner
