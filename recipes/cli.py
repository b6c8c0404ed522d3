"""The command line: ``inlay COMMAND``. This file imports nothing heavy, so ``inlay --help`` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version

from inlay.hub.errors import InlayError
from inlay.hub.safety.atomic import DISK_FULL
from inlay.recipes.commands.arguments.own_parts import IMPORT_HELP, import_own_parts
from inlay.recipes.distributed.failures import OtherProcessError

__all__ = ["main"]

COMMANDS = {
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
    "picture": ("inlay.recipes.commands.plot", "plot a training run: loss curves, questions and answers"),
}

HELP = """usage: inlay COMMAND ...

Lightweight alignment adapters for multimodal language models.

commands:
{commands}

  inlay COMMAND --help    every option of a command
  inlay --version

{own_parts}
A BUNDLE argument is a bundle folder, a run folder, or owner/name on the Hub.
Exit status: 0 done, 2 wrong usage or input, 1 anything else.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; ``sys.argv[1:]`` if not given.

    Returns:
        The exit status.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        lines = "\n".join(f"  {name:<10}{about}" for name, (_, about) in COMMANDS.items())
        print(HELP.format(commands=lines, own_parts=IMPORT_HELP))
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"inlay {version('inlay')}")
        return 0
    if arguments[0] not in COMMANDS:
        print(f"inlay: unknown command {arguments[0]!r}; expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        own = import_own_parts(arguments[1:])
        run: Callable[[Sequence[str]], int] = import_module(COMMANDS[arguments[0]][0]).main
        return run(own)
    except OtherProcessError as error:
        return error.status  # The failed process prints the cause.
    except InlayError as error:
        print(f"inlay {arguments[0]}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ninterrupted; saved files are complete; {_continues(arguments[0])}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:
        hint = f"; free some space: {_continues(arguments[0])}" if error.errno in DISK_FULL else ""
        print(f"inlay {arguments[0]}: {error}{hint}", file=sys.stderr)
        return 1


def _continues(command: str) -> str:
    """How a stopped command goes on."""
    more = ", with --resume true if its run folder exists" if command == "train" else ""
    return f"run the same command again{more}"


if __name__ == "__main__":
    sys.exit(main())
