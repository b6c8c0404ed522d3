"""``inlay import``: write a bundle from a checkpoint of LLaVA, BLIP-2, MiniGPT-4, NExT-GPT, TinyLLaVA, PEFT, ..."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from inlay.hub.errors import HubError
from inlay.hub.remote.address import Repository
from inlay.hub.safety.text import shown
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.terminal.console import show_json
from inlay.recipes.terminal.table import fact_lines

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["main"]

_MODELS = {
    "llm": "Hub id or folder of the language model; by default the model that the checkpoint names or contains",
    "image": "Hub id or folder of the vision tower; by default the model that the checkpoint names or contains",
    "audio": "Hub id or folder of the audio encoder",
    "video": "Hub id or folder of the video encoder",
    "prompt": "Hub id or folder of the tokenizer of an instruction-aware Q-Former",
    "generate_image": "Hub id or folder of the image generator; without it the image output projector is left out",
    "generate_audio": "Hub id or folder of the audio generator; without it the audio output projector is left out",
    "generate_video": "Hub id or folder of the video generator; without it the video output projector is left out",
}


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Convert, and print what was used and what was not.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those that the arguments or the checkpoint name.
    """
    parser = command_parser(
        "import",
        f'{__doc__} See the page "Importing" of the documentation.',
        "import llava-1.5-7b-hf bundle",
        "import llava-v1.5-7b-lora bundle --llm models/vicuna --llm_id lmsys/vicuna-7b-v1.5",
    )
    parser.add_argument("source", type=Path, help="file or folder of the checkpoint")
    parser.add_argument("bundle", type=Path, help="folder for the bundle")
    parser.add_argument("--format", type=str | None, help="name of the format; recognised by the files if not given")
    parser.add_argument(
        "--system", type=str | None, help="name of the system in the bundle; by default that of the format"
    )
    parser.add_argument(
        "--template",
        type=str | None,
        help="template of conversations; by default that of the checkpoint or of the format",
    )
    parser.add_argument("--name", type=str | None, help="name of the adapter; by default that of the checkpoint")
    for name, about in _MODELS.items():
        parser.add_argument(f"--{name}", type=str | None, help=about)
    ids = parser.add_argument_group("Hub ids of models that are given as folders; the bundle names them")
    for name in _MODELS:
        ids.add_argument(f"--{name}_id", type=str | None, help=f"Hub id of the model whose local copy --{name} is")
    parser.add_argument(
        "--frozen",
        type=Literal["compare", "leave"],
        default="compare",
        help="compare: refuse a checkpoint whose own language model or encoder differs from --llm or --image; leave: "
        "ignore them",
    )
    parser.add_argument(
        "--write_llm",
        type=Path | None,
        help="write the language model of a whole LLaVA checkpoint to this new folder, and use it as --llm",
    )
    parser.add_argument(
        "--dtype",
        type=Literal["auto", "bfloat16", "float32"],
        default="auto",
        help="data type of the bundle; auto: bfloat16 if it keeps every weight, otherwise float32",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle in the folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.checks.append(_hub_ids)
    parsed = parser.parse_args(list(argv))
    if not parsed.source.exists():
        raise SettingsError(f"{parsed.source}: no such file or folder; expected a downloaded checkpoint")
    if parsed.bundle.exists() and not parsed.overwrite:
        raise SettingsError(f"{parsed.bundle}: already exists; choose another folder, or use --overwrite")
    from inlay.adapters.loading.pretrained import BackboneError
    from inlay.hub.remote.reachable import with_option

    try:
        facts = _convert(parsed, backbone)
    except BackboneError as error:
        # The checkpoint names models that are neither in the cache nor on the Hub.
        option = "--image" if "the image encoder" in str(error) else "--llm"
        known = getattr(parsed, option.removeprefix("--")) is not None
        raise error if known else BackboneError(with_option(str(error), option)) from error
    if parsed.json:
        show_json(facts)
    else:
        print(_table(facts))
    return 0


def _hub_ids(parsed: Any) -> dict[str, str]:
    """Port -> Hub id.

    Raises:
        SettingsError: not ``owner/name``.
    """
    given = {name: value for name in _MODELS if (value := getattr(parsed, f"{name}_id")) is not None}
    for name, value in given.items():
        try:
            Repository(repo_id=value)
        except HubError:
            raise SettingsError(
                f"--{name}_id: expected a Hub id, such as lmsys/vicuna-7b-v1.5, got {shown(value)}"
            ) from None
    return {name.replace("generate_", "generate."): value for name, value in given.items()}


def _convert(parsed: Any, backbone: Backbone | None) -> dict[str, Any]:
    from inlay.adapters.convert import import_adapter

    found = import_adapter(
        parsed.source,
        converter=parsed.format,
        template=parsed.template,
        name=parsed.name,
        system=parsed.system,
        backbone=backbone,
        frozen=parsed.frozen,
        write_llm=parsed.write_llm,
        hub_ids=_hub_ids(parsed),
        **{name: getattr(parsed, name) for name in _MODELS},
    )
    dtype = found.dtype if parsed.dtype == "auto" else parsed.dtype
    # Saved while it is attached, so that the bundle holds a canary of these frozen models.
    found.adapter.attach(found.backbone, strict=True)
    found.adapter.save_pretrained(parsed.bundle, dtype=dtype, overwrite=parsed.overwrite)
    found.adapter.detach()
    return {
        "bundle": str(parsed.bundle),
        "system": found.adapter.system,
        "template": found.adapter.layout.template,
        "dtype": dtype,
        "parts": {part.name: part.parameters for part in found.adapter.parts()},
        "models": found.models,
        "compared": found.compared,
        "not_used": found.ignored,
        "untrained": list(found.fresh),
    }


def _table(facts: dict[str, Any]) -> str:
    lines = [f"{facts['bundle']}: {facts['system']}, template {facts['template']}, {facts['dtype']}"]
    lines.append(
        fact_lines(
            {f"  {name}": f"{count:,} parameters" for name, count in facts["parts"].items()}
            | {f"  {port}": source for port, source in facts["models"].items()}
        )
    )
    lines += [
        f"  {port}: {count} frozen tensors equal those of the backbone" for port, count in facts["compared"].items()
    ]
    lines += [f"  not used: {reason} ({count} tensors)" for reason, count in facts["not_used"].items()]
    lines += [f"  untrained: {name}" for name in facts["untrained"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
