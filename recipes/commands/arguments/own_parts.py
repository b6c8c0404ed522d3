"""``--import my_parts.py``: import a user's file or module before the command's arguments are checked.

It registers projectors, encoders, objectives or systems for the command. All processes of a distributed run have the
same arguments and import it too. The environment variable ``INLAY_IMPORT`` names modules for every command, as one
wants for an installed package of own parts. A YAML file cannot contain this option, because settings must not run code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from inlay.hub.errors import InlayError
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.user_functions import place_of

__all__ = ["IMPORT_HELP", "import_own_parts"]

OPTION, VARIABLE = "--import", "INLAY_IMPORT"
IMPORT_HELP = (
    f"{OPTION} FILE.py|MODULE: import a file or module that registers custom parts; may be repeated. "
    f"The environment variable {VARIABLE}=MODULE,MODULE imports for every command"
)


def import_own_parts(arguments: Sequence[str]) -> list[str]:
    """Import the files and modules of ``INLAY_IMPORT`` and of ``--import``, and return the other arguments.

    Raises:
        SettingsError: missing file or module, or an error during import.

    Example:
        >>> import_own_parts(["llava", "--import", "json", "--seed", "3"])
        ['llava', '--seed', '3']
    """
    for value in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
        _import(value, VARIABLE)
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        if name != OPTION:
            rest.append(argument)
            continue
        value = value if equals else next(waiting, "")
        if not value or value.startswith("--"):
            raise SettingsError(f"{OPTION}: expected a Python file or the name of a module, got nothing")
        _import(value, OPTION)
    return rest


def _import(value: str, given: str) -> None:
    """Import a file or module; ``given`` is the option or variable that names it."""
    is_file = value.endswith(".py") or "/" in value
    if is_file and not Path(value).is_file():
        problem = "it is a folder" if Path(value).is_dir() else "no such file"
        raise SettingsError(f"{given}: {value}: {problem}; expected a Python file, or the name of a module")
    try:
        if is_file:
            _import_file(Path(value).resolve())
        else:
            import_module(value)
    except InlayError:
        raise
    except Exception as error:
        where = f" ({place})" if (place := place_of(error)) else ""
        raise SettingsError(f"{given}: {value} cannot be imported: {type(error).__name__}: {error}{where}") from error


def _import_file(path: Path) -> None:
    """Import a file under its own name, so that data loader processes can import it too."""
    held = sys.modules.get(path.stem)
    if held is not None:
        if Path(getattr(held, "__file__", None) or "").resolve() != path:
            raise SettingsError(f"{OPTION}: {path.name}: another module has the name {path.stem}; rename the file")
        return
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{OPTION}: {path.name}: expected a Python file (.py)")
    module = sys.modules[path.stem] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
