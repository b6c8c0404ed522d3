"""Import of a foreign checkpoint in one call: recognise the format, read, load the backbone, compare, assemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.bundles.storage_dtype import DiskDtype
from inlay.adapters.convert.assemble import assemble
from inlay.adapters.convert.compare import check_frozen
from inlay.adapters.convert.imported import Imported
from inlay.adapters.convert.language_folder import write_language
from inlay.adapters.convert.on_base import on_base
from inlay.adapters.convert.registry import converter_for
from inlay.adapters.convert.source import ConvertError, Source
from inlay.hub.format.manifest import PortSpec
from inlay.hub.remote.address import Repository

__all__ = ["Frozen", "Result", "import_adapter", "lossless_dtype", "read_checkpoint"]

Frozen: TypeAlias = Literal["compare", "leave"]
"""Whether frozen models in a checkpoint are compared with the backbone or left out."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """An imported adapter."""

    adapter: Adapter
    backbone: Backbone
    """The frozen models that the adapter was imported for."""
    dtype: DiskDtype
    """The smallest dtype on disk that stores every weight without rounding."""
    models: dict[str, str]
    """Port -> source of its frozen model."""
    compared: dict[str, int]
    """Port -> number of frozen tensors of the checkpoint that are equal to the backbone's."""
    ignored: dict[str, int]
    """Reason -> number of tensors that are not used."""
    fresh: tuple[str, ...]
    """Parameters that the checkpoint does not have, which are untrained."""


def read_checkpoint(source: str | Path, *, converter: str | None = None, template: str | None = None) -> Imported:
    """Read a checkpoint, in which every tensor must be used or ignored by name; no frozen model is loaded.

    Args:
        source: file or folder.
        converter: name of a format; recognised if not given.
        template: name of the template of conversations; the format's own if not given.

    Raises:
        ConvertError: an unknown format, or a setting or a tensor that cannot be converted.
    """
    place = Source(source)
    return converter_for(place, converter).read(place, template)


def import_adapter(
    source: str | Path,
    *,
    converter: str | None = None,
    template: str | None = None,
    name: str | None = None,
    system: str | None = None,
    backbone: Backbone | None = None,
    frozen: Frozen = "compare",
    write_llm: Path | None = None,
    hub_ids: Mapping[str, str] | None = None,
    **models: Any,
) -> Result:
    """Convert a checkpoint to an adapter on its backbone.

    Args:
        source: file or folder.
        converter: name of a format; recognised if not given.
        template: name of the template of conversations; the format's own if not given.
        name: a free name, shown to users; that of the source if not given.
        system: the system from the literature; the format's own if not given.
        backbone: loaded frozen models; otherwise those that ``models`` and the checkpoint name are loaded.
        frozen: ``compare`` raises if the language model or encoder in the checkpoint differs from the backbone's;
            ``leave`` ignores those in the checkpoint.
        write_llm: write the language model of a whole LLaVA checkpoint to this new folder, and use it as ``llm``.
        hub_ids: port, such as ``llm`` or ``image``, -> Hub id of the model whose local copy is loaded there; the bundle
            names it instead of the folder.
        models: arguments of :meth:`Backbone.from_pretrained`, such as ``llm`` and ``image``; None for the model that
            the checkpoint names.

    Raises:
        ConvertError: the checkpoint cannot be converted.
        BackboneError: a frozen model cannot be loaded.

    Example:
        >>> import_adapter("llava-1.5-7b-hf").adapter.save_pretrained("bundle")  # doctest: +SKIP
    """
    imported = read_checkpoint(source, converter=converter, template=template)
    if imported.lora is not None and not imported.inputs:
        base = models.get("llm") or imported.models.llm
        imported = on_base(imported, base, template, compare=frozen == "compare", where=source)
    if write_llm is not None:
        models["llm"] = write_language(Source(source), imported.frozen.get("llm", {}), write_llm)
    chosen, own = dict[str, Any](), list[str]()
    if backbone is None:
        chosen = _models(imported, {key: value for key, value in models.items() if value is not None}, source)
        backbone = Backbone.from_pretrained(**chosen)
        # A model that was loaded from the checkpoint itself equals it.
        named = imported.models
        own = [port for port in ("llm", "image") if named.own and str(chosen.get(port)) == getattr(named, port)]
    imported = _without(imported, backbone)
    others = {port: tensors for port, tensors in imported.frozen.items() if port not in own}
    compared = check_frozen(others, backbone) if frozen == "compare" else {}
    place = Path(source).resolve()
    adapter = assemble(imported, backbone, name=name or (place.stem if place.is_file() else place.name))
    if system is not None:
        adapter.system = system
    adapter.interface |= _renamed(adapter.interface, hub_ids or {})
    return Result(
        adapter=adapter,
        backbone=backbone,
        dtype=lossless_dtype(imported),
        models={port: str(chosen[port]) for port in ("llm", "image", "prompt") if chosen.get(port)},
        compared=compared,
        ignored=dict(imported.ignored),
        fresh=imported.fresh,
    )


def _renamed(interface: Mapping[str, PortSpec], hub_ids: Mapping[str, str]) -> dict[str, PortSpec]:
    """The ports with the Hub ids of their models."""
    found = {}
    for port, name in hub_ids.items():
        if port not in interface:
            raise ConvertError(
                f"{port}_id: expected a Hub id for one of {', '.join(interface)}, which the adapter reads, got {name!r}"
            )
        found[port] = interface[port].model_copy(update={"source": Repository(repo_id=name).repo_id, "revision": None})
    return found


def lossless_dtype(imported: Imported) -> DiskDtype:
    """``bfloat16`` if every tensor of the checkpoint is a bfloat16 value, otherwise ``float32``."""
    lora = [] if imported.lora is None else [*imported.lora.downs.values(), *imported.lora.ups.values()]
    held = [*imported.tensors.values(), *lora]
    exact = not imported.fresh and all(t.dtype == torch.bfloat16 or t.equal(t.bfloat16().to(t.dtype)) for t in held)
    return "bfloat16" if exact else "float32"


def _without(imported: Imported, backbone: Backbone) -> Imported:
    """Remove modalities for which the backbone has no encoder or generator, and record their tensors as not used."""
    unread = [name for name in imported.inputs if name not in backbone.encoders] if imported.shared else []
    undrawn = [name for name in imported.outputs if name not in backbone.generators]
    left = tuple(f"outputs.{name}." for name in undrawn)
    counts = {f"the projector on {name}: no --{name} was given": 0 for name in unread}
    counts |= {
        f"the output projector of {name}: no --generate_{name} was given": sum(
            key.startswith(f"outputs.{name}.") for key in imported.tensors
        )
        for name in undrawn
    }
    return replace(
        imported,
        inputs={name: sizes for name, sizes in imported.inputs.items() if name not in unread},
        outputs={name: sizes for name, sizes in imported.outputs.items() if name not in undrawn},
        tensors={name: held for name, held in imported.tensors.items() if not left or not name.startswith(left)},
        ignored={**imported.ignored, **counts},
    )


def _models(imported: Imported, given: dict[str, Any], source: str | Path) -> dict[str, Any]:
    """Arguments of ``Backbone.from_pretrained``."""
    own = imported.models
    merged = {"llm": own.llm, "image": own.image, "prompt": own.prompt, **own.further, **given}
    chosen = {name: value for name, value in merged.items() if value is not None}
    if "llm" not in chosen:
        raise ConvertError(f"{source}: the checkpoint does not name its language model; give it: --llm OWNER/NAME")
    if "image" in imported.inputs:
        if "image" not in chosen:
            raise ConvertError(f"{source}: the checkpoint does not name its vision tower; give it: --image OWNER/NAME")
        options = {"image": dict(own.image_options), **chosen.get("feature_options", {})}
        chosen["feature_options"] = {name: held for name, held in options.items() if name in chosen}
        chosen["qformer"] = own.qformer
    else:
        chosen.pop("image", None)
    return chosen
