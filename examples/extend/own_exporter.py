"""An export target: the projector's tensors and the layout as two plain files, for your own program.

    inlay export runs/llava --import own_exporter.py --to parts --output parts/

The written files are read back and compared; the folder is kept only if every check passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from inlay.adapters import register_exporter
from inlay.adapters.export import Check, Request, Written, option


@dataclass(frozen=True)
class Options:
    """Options of the command line: ``--half``."""

    half: bool = option(False, "write the tensors in float16")


def write(request: Request, folder: Path) -> Written:
    """Write ``projector.safetensors`` and ``layout.json``."""
    own = request.adapter.inputs["image"].state_dict()
    tensors = {name: (t.half() if request.options.half else t).contiguous() for name, t in own.items()}
    save_file(tensors, folder / "projector.safetensors")
    (folder / "layout.json").write_text(request.adapter.layout.spec.model_dump_json(indent=2))
    read = load_file(folder / "projector.safetensors")
    apart = max(float((read[name].float() - own[name].float()).abs().max()) for name in own)
    return Written(checks=(Check.within("tensors", apart, 1e-2 if request.options.half else 0.0, compared=len(own)),))


register_exporter("parts", write, "the projector and the layout as plain files", Options)
