"""``--import my_parts.py``: a user's own file or module, imported before anything of a command is checked.

It registers projectors, encoders, objectives or systems, which the command can then name. Every process of a
distributed run is given the same arguments, and so imports it too. A YAML file cannot name one: settings run no code.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from inlay.hub.errors import InlayError
from inlay.recipes.settings.errors import SettingsError

__all__ = ["IMPORT_HELP", "import_own_parts"]

OPTION = "--import"
IMPORT_HELP = f"{OPTION} FILE.py|MODULE: import parts of your own, which it registers; may be given several times"


def import_own_parts(arguments: Sequence[str]) -> list[str]:
    """Import what ``--import`` names, and return the other arguments.

    Raises:
        SettingsError: there is no such file or module, or it cannot be imported.

    Example:
        >>> import_own_parts(["llava", "--import", "json", "--seed", "3"])
        ['llava', '--seed', '3']
    """
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        if name != OPTION:
            rest.append(argument)
            continue
        value = value if equals else next(waiting, "")
        if not value or value.startswith("--"):
            raise SettingsError(f"{OPTION}: expected a Python file or the name of a module behind it")
        _import(value)
    return rest


def _import(value: str) -> None:
    is_file = value.endswith(".py") or "/" in value
    if is_file and not Path(value).is_file():
        raise SettingsError(f"{OPTION}: {value}: there is no such file")
    try:
        if is_file:
            _import_file(Path(value).resolve())
        else:
            import_module(value)
    except InlayError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f" ({place.filename}, line {place.lineno})" if not place.filename.startswith("<frozen") else ""
        raise SettingsError(f"{OPTION}: {value} cannot be imported: {type(error).__name__}: {error}{where}") from error


def _import_file(path: Path) -> None:
    """Import a file by its name, as a script beside it would: processes that load data find it again by that name."""
    held = sys.modules.get(path.stem)
    if held is not None:
        if Path(getattr(held, "__file__", None) or "").resolve() != path:
            raise SettingsError(f"{OPTION}: {path.name}: another module is called {path.stem}; rename the file")
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
