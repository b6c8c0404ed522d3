"""Arguments and help texts that several commands share."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inlay.hub.errors import InlayError
from inlay.hub.format.files import bundle_folder, read_manifest
from inlay.hub.format.signature import check_trusted
from inlay.hub.remote.address import locate
from inlay.hub.remote.pull import check_available
from inlay.hub.safety.safe_read import OpenFolder
from inlay.recipes.commands.arguments.parser import CommandParser
from inlay.recipes.runs.backbone import MODELS
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import IDENTIFIED, BackboneSettings

__all__ = [
    "BUNDLE",
    "PREFIX_HELP",
    "PREFIX_MIB",
    "add_backbone",
    "add_bundle",
    "add_trusted",
    "add_trusted_bundle",
    "check_bundle",
    "check_models",
    "check_usable",
    "named_models",
]

BUNDLE = "bundle folder, run folder, or repository on the Hub: owner/name, or hf://owner/name@revision"
"""Help of the argument ``bundle``."""
TRUSTED = "PEM file with a public key or a root certificate; refuse a bundle without a valid signature for it"
"""Help of ``--trusted``."""
PREFIX_HELP = "MiB of memory for KV caches of earlier prompts, so that a picture is encoded once; 0: none"
"""Help of ``--prefix_mib``."""
PREFIX_MIB = 512
"""Default of ``--prefix_mib``, as of :data:`inlay.adapters.chat.kv_cache.MAX_BYTES`, whose module imports torch."""

_OF_TRAINING = {"layer", "class_token", *(f"{field}_id" for field in IDENTIFIED)}
"""Settings of the frozen models that a bundle holds already."""
_PATH = re.compile(r"[/~].*|\.{1,2}(/.*)?|.*/|.*/.*/.*", re.DOTALL)
"""Names of models that can only be paths."""


def add_backbone(parser: CommandParser, *, of_bundle: bool = True) -> None:
    """Add the options ``--backbone.llm`` and others.

    Args:
        parser: of the command.
        of_bundle: the command uses the models with a bundle, which names those of the defaults; :func:`check_models`
            checks them when the arguments are parsed.
    """
    title = "Frozen models; by default those that the adapter was trained on" if of_bundle else None
    parser.add_class_arguments(BackboneSettings, "backbone", skip=_OF_TRAINING, title=title, instantiate=False)
    if not of_bundle:
        return
    for action in parser._actions:
        if action.dest.startswith("backbone."):  # the defaults in the texts are those of training
            action.help = re.sub(r"; empty for [^;]*$", "", action.help or "")
    parser.checks.append(_check_named)


def named_models(parsed: Any) -> BackboneSettings:
    """The settings of :func:`add_backbone`."""
    return BackboneSettings(**vars(parsed.backbone))


def _check_named(parsed: Any) -> None:
    try:
        settings = named_models(parsed)
    except InlayError as error:
        raise SettingsError(f"--backbone.{error}") from error
    check_models(settings)


def check_models(settings: BackboneSettings) -> None:
    """Check what can be checked of the named models before anything is loaded.

    Raises:
        SettingsError: a path without a file or folder, or quantisation without its packages.
    """
    for field in MODELS:
        name = getattr(settings, field)
        if name is not None and _PATH.fullmatch(name) and not Path(name).exists():
            raise SettingsError(
                f"--backbone.{field}: {name}: no such folder; expected a folder, or a Hub id: owner/name"
            )
    if settings.quantise is not None and not all(map(find_spec, ("accelerate", "bitsandbytes"))):
        raise SettingsError(
            f"--backbone.quantise: {settings.quantise} needs accelerate and bitsandbytes, which are not installed: "
            "pip install 'inlay[quantised]'"
        )


def add_bundle(parser: CommandParser, name: str = "bundle", *, about: str = BUNDLE) -> None:
    """Add an argument for a bundle; :func:`check_bundle` checks it when the arguments are parsed."""
    parser.add_argument(name, type=str, help=about)
    parser.checks.append(lambda parsed: check_bundle(getattr(parsed, name)))


def check_bundle(bundle: str | Path) -> None:
    """Check that a folder exists, before anything is loaded.

    Raises:
        SettingsError: it does not, and the text is not the name of a repository.
    """
    place = locate(bundle)
    if not str(bundle).strip():
        raise SettingsError(f"expected a bundle folder, a run folder, or owner/name on the Hub, got {str(bundle)!r}")
    if isinstance(place, Path) and place.is_file():
        raise SettingsError(f"{bundle}: expected a folder, got a file; give the folder of the bundle: {place.parent}")
    if isinstance(place, Path) and not place.exists():
        # The text of a repository was given where a folder of this owner exists, such as runs/none beside runs/.
        named = isinstance(bundle, str) and bundle.count("/") == 1 and bundle[0] not in "./~"
        hint = f", or hf://{bundle} for the repository on the Hub" if named else ", or owner/name on the Hub"
        raise SettingsError(f"{bundle}: no such folder; expected a bundle folder, a run folder{hint}")


def check_usable(bundle: str) -> None:
    """Check that a folder holds a bundle, or that the hub or the cache has a repository.

    A command calls it after all other checks of its arguments, and before it imports heavy libraries.

    Raises:
        BundleError: the folder holds no bundle, or its manifest is damaged.
        HubError: the repository cannot be downloaded.
    """
    place = locate(bundle)
    if isinstance(place, Path):
        with OpenFolder(bundle_folder(place)) as opened:
            read_manifest(opened)
    else:
        check_available(bundle)


def add_trusted_bundle(parser: CommandParser) -> None:
    """Add the arguments ``bundle`` and ``--trusted``."""
    add_bundle(parser)
    add_trusted(parser)


def add_trusted(parser: CommandParser, *more: str) -> None:
    """Add the option ``--trusted``, and more names of it; the file is checked when the arguments are parsed."""
    parser.add_argument("--trusted", *more, type=Path | None, help=TRUSTED)
    parser.checks.append(lambda parsed: parsed.trusted is None or check_trusted(parsed.trusted))
