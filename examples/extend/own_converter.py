"""A converter: a linear projector in ``bridge.pt``, with a ``bridge.json`` that names its frozen models.

    inlay import my-checkpoint/ bundle/ --import own_converter.py

``matches`` reads only file names and small files; ``read`` returns the content as inlay's objects. The key table
renames the tensors: an unknown, missing or wrongly shaped tensor is an error that names it.
"""

from __future__ import annotations

from inlay.adapters import Layout, register_converter
from inlay.adapters.convert import ConvertError, Imported, KeyTable, Models, Source

KEYS = KeyTable(
    (("bridge.proj.{leaf}", "inputs.image.layer.{leaf}"),),
    ignored={"bridge.steps": "number of steps of its training"},
)


def matches(source: Source) -> bool:
    """Whether a folder has this format."""
    return source.has("bridge.json") is not None and source.has("bridge.pt") is not None


def read(source: Source, template: str | None) -> Imported:
    """The content of a folder; ``template`` is that of ``--template``."""
    settings, weights = source.json("bridge.json"), Source(source.folder / "bridge.pt").weights
    renamed = KEYS.rename(weights, source)
    tensors = {ours: weights[theirs] for ours, theirs in renamed.names.items()}
    if "inputs.image.layer.weight" not in tensors:
        raise ConvertError(f"{source}: bridge.proj.weight is missing")
    width_out, width_in = tensors["inputs.image.layer.weight"].shape
    return Imported(
        system="bridge",
        layout=Layout.published(template or "vicuna_v1", geometry={"image": "squash"}),
        models=Models(llm=settings.get("llm"), image=settings.get("image")),
        inputs={"image": ("linear", {"width_in": width_in, "width_out": width_out})},
        tensors=tensors,
        ignored=renamed.ignored,
    )


register_converter("bridge", matches, read, "bridge.pt and bridge.json")
