"""Arguments and help texts that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from inlay.recipes.settings.run import IDENTIFIED, BackboneSettings

__all__ = ["BUNDLE", "PREFIX_HELP", "TRUSTED", "add_backbone", "add_trusted_bundle", "named_models"]

BUNDLE = "folder of a bundle or of a run, or a repository on the Hub: owner/name, or hf://owner/name@revision"
"""Help of the argument ``bundle``."""
TRUSTED = "PEM file with a public key or a root certificate; reject bundles without a valid signature for it"
"""Help of ``--trusted``."""
PREFIX_HELP = "memory for KV caches of earlier prompts in MiB, so that a picture is processed once; 0: none"
"""Help of ``--prefix_mib``."""


_OF_TRAINING = {"layer", "class_token", *(f"{field}_id" for field in IDENTIFIED)}
"""Settings of the frozen models that a bundle holds already."""


def add_backbone(parser: ArgumentParser) -> None:
    """Add the options ``--backbone.llm`` and others, for models other than those of the run."""
    parser.add_class_arguments(BackboneSettings, "backbone", skip=_OF_TRAINING, instantiate=False)


def named_models(parsed: Any) -> BackboneSettings:
    """The settings of :func:`add_backbone`."""
    return BackboneSettings(**vars(parsed.backbone))


def add_trusted_bundle(parser: ArgumentParser) -> None:
    """Add the arguments ``bundle`` and ``--trusted``."""
    parser.add_argument("bundle", type=str, help=BUNDLE)
    parser.add_argument("--trusted", type=Path | None, help=TRUSTED)
