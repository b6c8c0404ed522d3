"""A bundle: the manifest, the tensors and the LoRA of one adapter, in memory and as a folder.

::

    inlay.json                      the manifest
    adapter.safetensors             the tensors of all parts but the LoRA
    lora/adapter_config.json        a genuine PEFT folder
    lora/adapter_model.safetensors
    README.md                       the model card; it is not parsed, so it may be edited by hand

All files are untrusted: sizes are checked before a file is read, hashes are checked on the same bytes that are then
parsed, and an unknown file is an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from inlay.hub.errors import BundleError
from inlay.hub.format.card_file import is_edited, make_card
from inlay.hub.format.files import (
    CARD_NAME,
    MAX_TENSOR_BYTES,
    TENSORS_NAME,
    check_is_bundle,
    read_checked,
    read_manifest,
)
from inlay.hub.format.int8 import check_int8
from inlay.hub.format.manifest import MANIFEST_NAME, FileSpec, Manifest, PartSpec
from inlay.hub.format.peft_folder import LORA_CONFIG, LORA_PART, LORA_TENSORS, LoraFolder, read_config, write_config
from inlay.hub.format.tensors import parse, serialize
from inlay.hub.safety.atomic import aside_of, replace_folder
from inlay.hub.safety.safe_read import OpenFolder, real_path
from inlay.hub.safety.strict_json import MAX_JSON_BYTES
from inlay.hub.safety.text import shown

if TYPE_CHECKING:
    import torch

__all__ = ["Bundle"]

Files: TypeAlias = Mapping[str, bytes]
"""Name to content."""

_ATTEMPTS = 20


@dataclass(frozen=True, eq=False)
class Bundle:
    """One adapter as data.

    Args:
        manifest: the adapter's manifest; :meth:`write` sets ``manifest.files``.
        tensors: ``<part>.<name>`` to tensor, for every part except the LoRA.
        lora: the LoRA; None if the manifest has no part ``lora``.
    """

    manifest: Manifest
    tensors: Mapping[str, torch.Tensor]
    lora: LoraFolder | None = None

    @classmethod
    def read(cls, folder: str | os.PathLike[str], *, max_bytes: int = MAX_TENSOR_BYTES) -> Bundle:
        """Read and verify a folder. While a writer replaces it, the old or the new version is read, never a mixture.

        Args:
            folder: a folder on disk, such as a Hub snapshot.
            max_bytes: limit on the bytes of all tensors together.

        Raises:
            BundleError: the bundle is not valid; names the file and the field or tensor.
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
        """Check that the tensors agree with the manifest: parts, parameters, dtypes, LoRA.

        Raises:
            BundleError: names the tensor or the part.
        """
        declared = {name: spec for name, spec in self.manifest.parts.items() if name != LORA_PART}
        held: dict[str, dict[str, torch.Tensor]] = {part: {} for part in declared}
        for name, tensor in self.tensors.items():
            part = max((part for part in declared if name.startswith(f"{part}.")), key=len, default=None)
            if part is None:
                reason = f"belongs to none of the parts in the manifest: {', '.join(declared) or 'none'}"
                raise BundleError(TENSORS_NAME, reason, field=name)
            held[part][name] = tensor
        for part, spec in declared.items():
            _check_count(TENSORS_NAME, part, _counted(part, held[part], spec), spec)
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
        """Write the folder in one step, without network access.

        The card is generated, unless the existing one was edited by hand. Equal bundles give equal bytes.

        Args:
            folder: the target; missing parents are created.
            overwrite: replace an existing bundle. A folder that contains anything else is never replaced.

        Returns:
            The bundle as written, with ``manifest.files`` set.

        Raises:
            BundleError: the bundle is inconsistent, the folder exists, the disk is full, ...; the folder is then
                unchanged.
        """
        files, manifest = _encode(self)
        if overwrite:
            files[CARD_NAME] = _kept_card(real_path(folder)) or files[CARD_NAME]
        replace_folder(folder, files, overwrite=overwrite, check_old=check_is_bundle)
        return replace(self, manifest=manifest)

    @property
    def bytes(self) -> int:
        """Size of the folder that :meth:`write` creates, card included."""
        return sum(map(len, _encode(self)[0].values()))

    @classmethod
    def _read(cls, folder: OpenFolder, max_bytes: int) -> Bundle:
        manifest = read_manifest(folder, max_bytes)
        return cls.from_files(manifest, {spec.path: read_checked(folder, spec) for spec in manifest.files})

    @classmethod
    def from_files(cls, manifest: Manifest, files: Files) -> Bundle:
        """Parse and verify files whose hashes were compared with the manifest.

        Args:
            manifest: the manifest.
            files: the name and content of every file that it lists.

        Raises:
            BundleError: names the file and the tensor or field.
        """
        tensors: Mapping[str, torch.Tensor] = {}
        lora = None
        if TENSORS_NAME in files:
            tensors = parse(files[TENSORS_NAME], TENSORS_NAME)
        if LORA_CONFIG in files:
            spec = read_config(files[LORA_CONFIG])
            lora = LoraFolder(spec, parse(files[LORA_TENSORS], LORA_TENSORS))
        bundle = cls(manifest, tensors, lora)
        bundle.verify()
        return bundle


def _encode(bundle: Bundle) -> tuple[dict[str, bytes], Manifest]:
    """Encode every file, and the manifest that lists them."""
    bundle.verify()
    files: dict[str, bytes] = {}
    if bundle.tensors:
        files[TENSORS_NAME] = serialize(bundle.tensors, file=TENSORS_NAME)
    if bundle.lora is not None:
        files[LORA_CONFIG] = write_config(bundle.lora.spec)
        files[LORA_TENSORS] = serialize(bundle.lora.tensors, file=LORA_TENSORS)
    specs = tuple(
        FileSpec.model_validate({"path": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)})
        for name, data in files.items()
    )
    manifest = bundle.manifest.model_copy(update={"files": specs})
    files[CARD_NAME] = make_card(manifest)
    files[MANIFEST_NAME] = manifest.to_json()
    Manifest.from_json(files[MANIFEST_NAME])  # fails for a manifest that could not be read back
    return files, manifest


def _kept_card(folder: Path) -> bytes | None:
    """The card of the bundle that is about to be replaced, if it was edited by hand."""
    try:
        with OpenFolder(folder) as opened:
            card = opened.read(CARD_NAME, MAX_JSON_BYTES)
            return card if is_edited(card, opened.read(MANIFEST_NAME, MAX_JSON_BYTES)) else None
    except BundleError:  # there is no card, or no bundle
        return None


def _counted(part: str, tensors: Mapping[str, torch.Tensor], spec: PartSpec) -> int:
    """Count the parameters of a part, and check the dtypes of its tensors."""
    if spec.dtype == "int8":
        return check_int8(TENSORS_NAME, part, tensors, spec)
    for name, tensor in tensors.items():
        _check_dtype(TENSORS_NAME, name, tensor, spec)
    return sum(tensor.numel() for tensor in tensors.values())


def _check_dtype(file: str, name: str, tensor: torch.Tensor, spec: PartSpec) -> None:
    found = str(tensor.dtype).removeprefix("torch.")
    if found != spec.dtype:
        raise BundleError(file, f"expected {spec.dtype} as declared in inlay.json, got {found}", field=name)


def _check_count(file: str, part: str, found: int, spec: PartSpec) -> None:
    if found != spec.parameters:
        reason = f"expected {spec.parameters} parameters as declared in inlay.json, got {found}: "
        reason += "a tensor is missing or has another shape" if found < spec.parameters else "there is an extra tensor"
        raise BundleError(file, reason, field=part)
