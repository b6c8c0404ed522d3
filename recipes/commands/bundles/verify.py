"""``inlay verify``: check the files of a bundle, its signature, and its stored answer on the backbone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inlay.hub.format.files import SIGNATURE_NAME
from inlay.hub.remote.pull import pull
from inlay.recipes.commands.arguments.bundle_argument import add_backbone, add_bundle, add_trusted, named_models
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.terminal.console import show_json
from inlay.recipes.terminal.table import show_facts

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone
    from inlay.recipes.settings.run import BackboneSettings

__all__ = ["main"]


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Print the results; the first failed check is an error.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    about = f"{__doc__} The default models are those it was trained on, from the cache or the Hub."
    parser = command_parser(
        "verify", about, "verify runs/llava", "verify someone/llava-vqa --files_only --trusted key.pub"
    )
    add_bundle(parser)
    add_trusted(parser, "--key")
    parser.add_argument("--files_only", action="store_true", help="check only the files, without a backbone")
    add_backbone(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(list(argv))
    pulled = pull(parsed.bundle, trusted=parsed.trusted)
    facts: dict[str, Any] = {"files": "intact"}
    if pulled.commit is not None:  # local folders have no commit
        facts["commit"] = pulled.commit
    signed = "present, not checked (--trusted)" if (pulled.folder / SIGNATURE_NAME).exists() else "none"
    facts["signature"] = signed if parsed.trusted is None else f"valid for {parsed.trusted}"
    if not parsed.files_only:
        facts |= _canary(str(pulled.folder), parsed.bundle, backbone or named_models(parsed))
    (show_json if parsed.json else show_facts)(facts)
    return 0


def _canary(folder: str, bundle: str, models: Backbone | BackboneSettings) -> dict[str, Any]:
    from inlay.adapters.adapter import Adapter
    from inlay.adapters.compatibility import canary
    from inlay.recipes.training.load_model import backbone_of

    adapter = Adapter.from_pretrained(folder)
    backbone = backbone_of(bundle, adapter, models)
    verdict = adapter.compatibility(backbone).verdict
    if adapter.canary is None:
        adapter.attach(backbone, strict=True, verify=False)
        adapter.detach()
        return {"backbone": verdict, "canary": "none stored"}
    model = adapter.attach(backbone, strict=True, verify=False)
    try:
        difference = canary.verify(model.probe, adapter.canary, backbone.llm.dtype, ports=backbone.ports)
    finally:
        adapter.detach()
    passed = f"passes: difference {difference:.3g}, allowed {adapter.canary.tolerance:.3g}"
    return {"backbone": verdict, "canary": passed}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
