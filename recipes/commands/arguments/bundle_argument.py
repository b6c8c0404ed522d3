"""Arguments and help texts that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inlay.hub.remote.address import locate
from inlay.recipes.commands.arguments.parser import CommandParser
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import IDENTIFIED, BackboneSettings

__all__ = [
    "BUNDLE",
    "PREFIX_HELP",
    "PREFIX_MIB",
    "TRUSTED",
    "add_backbone",
    "add_bundle",
    "add_trusted_bundle",
    "check_bundle",
    "named_models",
]

BUNDLE = "folder of a bundle or of a run, or a repository on the Hub: owner/name, or hf://owner/name@revision"
"""Help of the argument ``bundle``."""
TRUSTED = "PEM file with a public key or a root certificate; reject bundles without a valid signature for it"
"""Help of ``--trusted``."""
PREFIX_HELP = "memory for KV caches of earlier prompts in MiB, so that a picture is processed once; 0: none"
"""Help of ``--prefix_mib``."""
PREFIX_MIB = 512
"""Default of ``--prefix_mib``, as of :data:`inlay.adapters.chat.kv_cache.MAX_BYTES`, whose module imports torch."""


_OF_TRAINING = {"layer", "class_token", *(f"{field}_id" for field in IDENTIFIED)}
"""Settings of the frozen models that a bundle holds already."""


def add_backbone(parser: CommandParser) -> None:
    """Add the options ``--backbone.llm`` and others, for models other than those of the run."""
    parser.add_class_arguments(BackboneSettings, "backbone", skip=_OF_TRAINING, instantiate=False)


def named_models(parsed: Any) -> BackboneSettings:
    """The settings of :func:`add_backbone`."""
    return BackboneSettings(**vars(parsed.backbone))


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
    if isinstance(place, Path) and not place.exists():
        raise SettingsError(
            f"{bundle}: expected the folder of a bundle: no such file or directory; a run folder and a repository on "
            "the Hub (owner/name) may be given too"
        )


def add_trusted_bundle(parser: CommandParser) -> None:
    """Add the arguments ``bundle`` and ``--trusted``."""
    add_bundle(parser)
    parser.add_argument("--trusted", type=Path | None, help=TRUSTED)
