"""A bundle: the manifest, the tensors and the LoRA of one adapter, in memory and as a folder.

::

    inlay.json                      the manifest
    adapter.safetensors             the tensors of all parts but the LoRA
    lora/adapter_config.json        a genuine PEFT folder
    lora/adapter_model.safetensors
    README.md                       the model card; never read back, so it may be edited by hand

Reading trusts nothing: sizes are capped before a file is read, hashes are checked on the very bytes that are then
parsed, and a file that the format does not know is an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from inlay.hub.atomic import aside_of, replace_folder
from inlay.hub.card import CARD_NAME, render_card
from inlay.hub.errors import BundleError
from inlay.hub.manifest import MANIFEST_NAME, FileSpec, Manifest, PartSpec
from inlay.hub.peft_folder import LORA_CONFIG, LORA_TENSORS, LoraFolder, read_config, write_config
from inlay.hub.safe_read import OpenFolder, real_path
from inlay.hub.strict_json import MAX_JSON_BYTES
from inlay.hub.tensors import MAX_TENSOR_BYTES, foreign_format, parse, serialize
from inlay.hub.text import shown

if TYPE_CHECKING:
    import torch

__all__ = ["BUNDLE_NAMES", "LORA_PART", "TENSORS_NAME", "Bundle"]

TENSORS_NAME = "adapter.safetensors"
LORA_PART = "lora"
BUNDLE_NAMES = frozenset({MANIFEST_NAME, TENSORS_NAME, LORA_CONFIG, LORA_TENSORS, CARD_NAME})
"""Every file that a bundle may hold."""

_PICKLED_LORA = "lora/adapter_model.bin"
_ATTEMPTS = 20


@dataclass(frozen=True, eq=False)
class Bundle:
    """One adapter as data.

    Args:
        manifest: what it is; ``manifest.files`` is filled in by :meth:`write`.
        tensors: ``<part>.<name>`` to tensor, for every part but the LoRA.
        lora: the LoRA, if there is one; then the manifest has a part ``lora``.
    """

    manifest: Manifest
    tensors: Mapping[str, torch.Tensor]
    lora: LoraFolder | None = None

    @classmethod
    def read(cls, folder: str | os.PathLike[str], *, max_bytes: int = MAX_TENSOR_BYTES) -> Bundle:
        """Read and verify a folder; while it is being replaced, the old or the new version comes back, never a mixture.

        Args:
            folder: a folder on disk, such as the one of a Hub snapshot.
            max_bytes: most bytes for all tensors together.

        Raises:
            BundleError: anything at all is not as it must be; names the file and the field or tensor.
        """
        aside = aside_of(real_path(folder))
        attempts = 0
        while True:
            attempts += 1
            last = attempts == _ATTEMPTS
            try:
                opened = OpenFolder(folder if os.path.lexists(folder) or not aside.exists() else aside)
            except BundleError:
                if last or not (aside.exists() or os.path.isdir(folder)):
                    raise
                continue
            with opened:
                try:
                    return cls._read(opened, max_bytes)
                except BundleError:
                    if last or not opened.replaced():
                        raise

    def verify(self) -> None:
        """Check that the tensors are the ones that the manifest declares: parts, parameters, dtypes, LoRA.

        Raises:
            BundleError: names the tensor or the part.
        """
        declared = {name: spec for name, spec in self.manifest.parts.items() if name != LORA_PART}
        counts = dict.fromkeys(declared, 0)
        for name, tensor in self.tensors.items():
            part = max((part for part in declared if name.startswith(f"{part}.")), key=len, default=None)
            if part is None:
                reason = f"belongs to no part; the manifest declares {', '.join(declared) or 'none'}"
                raise BundleError(TENSORS_NAME, reason, field=name)
            _check_dtype(TENSORS_NAME, name, tensor, declared[part])
            counts[part] += tensor.numel()
        for part, spec in declared.items():
            _check_count(TENSORS_NAME, part, counts[part], spec)
        lora = self.manifest.parts.get(LORA_PART)
        if (lora is None) != (self.lora is None):
            expected = (
                "has a part 'lora' but there is no lora folder" if lora else "has no part 'lora' for the lora folder"
            )
            raise BundleError(MANIFEST_NAME, f"the manifest {expected}", field="parts")
        if lora is not None and self.lora is not None:
            for name, tensor in self.lora.tensors.items():
                _check_dtype(LORA_TENSORS, name, tensor, lora)
            _check_count(LORA_TENSORS, LORA_PART, sum(t.numel() for t in self.lora.tensors.values()), lora)
            llm = self.manifest.interface.get("llm")
            base = self.lora.spec.base_model
            if base is not None and llm is not None and base != llm.source:
                reason = f"expected the llm of the manifest, {shown(llm.source)}, got {shown(base)}"
                raise BundleError(LORA_CONFIG, reason, field="base_model_name_or_path")
        if not self.tensors and self.lora is None:
            raise BundleError(MANIFEST_NAME, "expected at least one trained tensor, got an empty bundle")

    def write(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Bundle:
        """Write the folder in one step; never touches the network.

        The card is generated anew. Equal bundles give equal bytes.

        Args:
            folder: where to; missing parents are made.
            overwrite: replace an existing bundle. A folder that holds anything else is never replaced.

        Returns:
            The bundle as written, with ``manifest.files`` filled in.

        Raises:
            BundleError: the bundle is inconsistent, the folder exists, the disk is full, ...; nothing has changed then.
        """
        files, manifest = _encode(self)
        replace_folder(folder, files, overwrite=overwrite, check_old=_check_is_bundle)
        return replace(self, manifest=manifest)

    @property
    def bytes(self) -> int:
        """Size of the whole folder on disk, card included, as :meth:`write` makes it."""
        return sum(map(len, _encode(self)[0].values()))

    @classmethod
    def _read(cls, folder: OpenFolder, max_bytes: int) -> Bundle:
        present = folder.names(BUNDLE_NAMES | {_PICKLED_LORA})
        if MANIFEST_NAME not in present:
            raise BundleError(str(folder.path), f"not a bundle: it holds no {MANIFEST_NAME}")
        if _PICKLED_LORA in present:
            reason = "a pickle, which can run code and is never opened: lora/adapter_model.safetensors required"
            raise BundleError(_PICKLED_LORA, f"{reason}; convert the weights and remove this file")
        manifest = Manifest.from_json(folder.read(MANIFEST_NAME, MAX_JSON_BYTES))
        listed: dict[str, FileSpec] = {spec.path: spec for spec in manifest.files}
        for name in sorted(set(listed) ^ (present - {MANIFEST_NAME, CARD_NAME})):
            reason = "is listed in inlay.json but missing" if name in listed else "is not listed in inlay.json"
            raise BundleError(name, reason)
        if (LORA_CONFIG in listed) != (LORA_TENSORS in listed):
            raise BundleError(MANIFEST_NAME, "expected both files of lora/ or none", field="files")
        total = sum(spec.size for spec in manifest.files)
        if total > max_bytes:
            raise BundleError(MANIFEST_NAME, f"expected at most {max_bytes} bytes of files, got {total}", field="files")
        tensors: Mapping[str, torch.Tensor] = {}
        lora = None
        if TENSORS_NAME in listed:
            tensors = parse(_checked(folder, listed[TENSORS_NAME]), TENSORS_NAME, max_bytes=max_bytes)
        if LORA_CONFIG in listed:
            spec = read_config(_checked(folder, listed[LORA_CONFIG]))
            lora = LoraFolder(spec, parse(_checked(folder, listed[LORA_TENSORS]), LORA_TENSORS, max_bytes=max_bytes))
        bundle = cls(manifest, tensors, lora)
        bundle.verify()
        return bundle


def _encode(bundle: Bundle) -> tuple[dict[str, bytes], Manifest]:
    """The content of every file, and the manifest that lists them."""
    bundle.verify()
    files: dict[str, bytes] = {}
    if bundle.tensors:
        files[TENSORS_NAME] = serialize(bundle.tensors, {"format": "pt"}, file=TENSORS_NAME)
    if bundle.lora is not None:
        files[LORA_CONFIG] = write_config(bundle.lora.spec)
        files[LORA_TENSORS] = serialize(bundle.lora.tensors, {"format": "pt"}, file=LORA_TENSORS)
    specs = tuple(
        FileSpec.model_validate({"path": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)})
        for name, data in files.items()
    )
    manifest = bundle.manifest.model_copy(update={"files": specs})
    files[CARD_NAME] = render_card(manifest).encode("utf-8")
    files[MANIFEST_NAME] = manifest.to_json()
    Manifest.from_json(files[MANIFEST_NAME])  # what would not be read back is not written
    return files, manifest


def _checked(folder: OpenFolder, spec: FileSpec) -> bytes:
    """The bytes of a file, read once, of the size and hash that the manifest gives."""
    data = folder.read(spec.path, max(spec.size, 1 << 16))
    if len(data) == spec.size and hashlib.sha256(data).hexdigest() == spec.sha256:
        return data
    found = f"expected {spec.size} bytes, got {len(data)}" if len(data) != spec.size else "its sha256 differs"
    what = foreign_format(data)
    hint = f"it is {what}" if what else "the file is damaged or was exchanged; get the bundle again"
    raise BundleError(spec.path, f"{found} from what inlay.json says; {hint}")


def _check_dtype(file: str, name: str, tensor: torch.Tensor, spec: PartSpec) -> None:
    found = str(tensor.dtype).removeprefix("torch.")
    if found != spec.dtype:
        raise BundleError(file, f"expected {spec.dtype} as declared in inlay.json, got {found}", field=name)


def _check_count(file: str, part: str, found: int, spec: PartSpec) -> None:
    if found != spec.parameters:
        reason = f"expected {spec.parameters} parameters as declared in inlay.json, got {found}: "
        reason += "a tensor is missing or has another shape" if found < spec.parameters else "a tensor too many"
        raise BundleError(file, reason, field=part)


def _check_is_bundle(folder: Path) -> None:
    try:
        entries = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        strangers = sorted(name for name in entries - BUNDLE_NAMES if not name.startswith(".cache/"))
    except OSError as error:
        raise BundleError(str(folder), f"cannot be looked through: {error.strerror}") from None
    if MANIFEST_NAME not in entries or strangers:
        why = f"it also holds {', '.join(map(shown, strangers[:5]))}" if strangers else f"it holds no {MANIFEST_NAME}"
        raise BundleError(str(folder), f"is not only a bundle ({why}), so it is not overwritten; choose another folder")
