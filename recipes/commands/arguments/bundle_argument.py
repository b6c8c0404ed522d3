"""Arguments and help texts that several commands share."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser

__all__ = ["BUNDLE", "PREFIX_HELP", "TRUSTED", "add_trusted_bundle"]

BUNDLE = "folder of a bundle or of a run, or a repository on the Hub: owner/name, or hf://owner/name@revision"
"""Help of the argument ``bundle``."""
TRUSTED = "PEM file with a public key or a root certificate; reject bundles without a valid signature for it"
"""Help of ``--trusted``."""
PREFIX_HELP = "memory for KV caches of earlier prompts in MiB, so that a picture is processed once; 0: none"
"""Help of ``--prefix_mib``."""


def add_trusted_bundle(parser: ArgumentParser) -> None:
    """Add the arguments ``bundle`` and ``--trusted``."""
    parser.add_argument("bundle", type=str, help=BUNDLE)
    parser.add_argument("--trusted", type=Path | None, help=TRUSTED)
