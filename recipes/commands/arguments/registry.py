"""The commands of ``inlay``, in the order of ``inlay --help``. Nothing is imported until a command is called."""

from __future__ import annotations

__all__ = ["COMMANDS", "RENAMED"]

COMMANDS: dict[str, tuple[str, str]] = {
    "train": (
        "inlay.recipes.commands.train.command",
        "train a system: `inlay train llava`, or `inlay train config.yaml`",
    ),
    "config": ("inlay.recipes.commands.train.config", "print every setting of a run as YAML: `inlay config llava`"),
    "check": (
        "inlay.recipes.commands.train.check",
        "check settings, data, models and memory of a run without training",
    ),
    "evaluate": (
        "inlay.recipes.commands.evaluation.evaluate",
        "answer held-out questions and compare with the blind baseline and the oracle",
    ),
    "pairs": (
        "inlay.recipes.commands.evaluation.pairs",
        "sample answers and write preference pairs, ranked by a reward",
    ),
    "chat": ("inlay.recipes.commands.chat", "ask about a picture, a sound or a clip, once or in a conversation"),
    "demo": ("inlay.recipes.commands.demo", "serve a web page for conversations about pictures, sounds and clips"),
    "import": (
        "inlay.recipes.commands.import_bundle",
        "write a bundle from a checkpoint of LLaVA, BLIP-2 and others",
    ),
    "export": (
        "inlay.recipes.commands.bundles.export",
        "write an adapter for Transformers, vLLM, PEFT and others",
    ),
    "serve": ("inlay.recipes.commands.serve", "serve adapters of one backbone to OpenAI clients"),
    "inspect": (
        "inlay.recipes.commands.bundles.inspect",
        "show parts, interface and size of a bundle, and check its files",
    ),
    "diff": ("inlay.recipes.commands.bundles.diff", "show the differences between two bundles"),
    "verify": (
        "inlay.recipes.commands.bundles.verify",
        "check the digest of every file, and the stored answer on the backbone",
    ),
    "quantise": ("inlay.recipes.commands.bundles.quantise", "write a bundle in int8 if the held-out loss hardly rises"),
    "sign": ("inlay.recipes.commands.bundles.sign", "sign a bundle with a key or a certificate"),
    "push": ("inlay.recipes.commands.bundles.push", "upload a bundle to the Hub in one commit"),
    "pull": ("inlay.recipes.commands.bundles.pull", "download a bundle from the Hub and check it"),
    "search": ("inlay.recipes.commands.bundles.search", "list bundles on the Hub and in the cache that fit a backbone"),
    "gallery": ("inlay.recipes.commands.gallery", "write a page of prompts with the media that an adapter generates"),
    "space": ("inlay.recipes.commands.space", "write a folder that runs as a Hugging Face Space with the demo"),
    "plot": ("inlay.recipes.commands.plots.command", "draw a training run: curves, figures, questions and answers"),
    "doctor": (
        "inlay.recipes.commands.environment.doctor",
        "check versions, devices, memory, caches and extras of this machine",
    ),
    "completion": ("inlay.recipes.commands.environment.completion", "print a completion script for a shell"),
}
"""Name -> module with its ``main``, and a line for the list of commands."""
RENAMED: dict[str, str] = {"picture": "plot"}
"""Former name of a command -> its name."""
