"""Build the sdist, the wheel from it, and use the wheel beside AdapterHub's `adapters`, in a clean environment.

Run by `make wheel-check`. It proves that
- every tracked file of the three floors is in the wheel (the miniature backbones and py.typed too),
- no file belongs to both distributions, and `adapters` stays AdapterHub's,
- `inlay.*` is imported from the wheel, from an empty directory, and still is after `adapters` is uninstalled.

The heavy dependencies are not installed a second time: the clean environment borrows, through a .pth line, the
site-packages of the one that runs this script. The editable install there stays invisible, because .pth files are not
followed from a folder that was itself added by one. AdapterHub comes without its dependencies: it wants an older
transformers.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("adapters", "hub", "recipes")
ADAPTERHUB = "adapters==1.3.0"

PROBE = """
import importlib.util, json, sys
from importlib.metadata import files, packages_distributions

inlay = ("inlay.adapters", "inlay.hub", "inlay.recipes")
origins = {name: __import__("importlib").import_module(name).__file__ for name in inlay}
import inlay as top

hub = importlib.util.find_spec("adapters")
record = {str(path) for path in files("inlay")}
shared = sorted(record & {str(path) for path in files("adapters")}) if hub else []
print(json.dumps({"origins": origins, "adapters": hub and hub.origin, "record": sorted(record), "shared": shared,
                  "version": top.__version__, "top": top.__file__}))
"""


def main() -> None:
    """Run every check; the first that fails ends the script with its reason."""
    with tempfile.TemporaryDirectory(prefix="inlay-wheel-") as folder:
        work = Path(folder).resolve()
        _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", ROOT)
        (wheel,) = (work / "dist").glob("*.whl")
        site = _clean_environment(work / "env")
        _pip(work, "install", wheel, ADAPTERHUB)

        beside = _probe(work)
        _expect(beside["shared"] == [], f"files owned by both distributions: {beside['shared']}")
        _expect(beside["adapters"] == str(site / "adapters" / "__init__.py"), f"`adapters` is {beside['adapters']}")
        _check_origins(beside["origins"] | {"inlay": beside["top"]}, site)
        _expect(f"-{beside['version']}-" in wheel.name, f"inlay.__version__ is {beside['version']}: {wheel.name}")
        missing = sorted(_tracked_names() - set(beside["record"]))
        _expect(not missing, f"tracked files that the wheel lacks: {missing}")
        foreign = sorted(name for name in beside["record"] if not name.startswith(("inlay/", "inlay-", "../")))
        _expect(not foreign, f"files of the wheel that are not of the three floors: {foreign}")

        _pip(work, "uninstall", "--yes", "adapters")
        alone = _probe(work)
        _expect(alone["adapters"] is None, f"`adapters` is still {alone['adapters']}")
        _check_origins(alone["origins"], site)
        gone = [name for name in alone["record"] if not (site / name).exists()]
        _expect(not gone, f"uninstalling `adapters` took files of ours: {gone}")
    print(f"wheel check: {wheel.name}, {len(alone['record'])} files, whole beside {ADAPTERHUB} and without it")


def _clean_environment(folder: Path) -> Path:
    """Make an environment without pip whose own site-packages stand before the borrowed ones; return the former."""
    venv.create(folder, with_pip=False)
    names = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", vars=names))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return site


def _pip(work: Path, command: str, *args: str | Path) -> None:
    only = ["--no-deps"] if command == "install" else []
    _run(sys.executable, "-m", "pip", "--quiet", "--python", _python(work), command, *only, *args)


def _python(work: Path) -> Path:
    return work / "env" / "bin" / "python"


def _probe(work: Path) -> dict[str, Any]:
    empty = work / "empty"
    empty.mkdir(exist_ok=True)
    report: dict[str, Any] = json.loads(_run(_python(work), "-c", PROBE, cwd=empty))
    return report


def _check_origins(origins: dict[str, str], site: Path) -> None:
    for name, origin in origins.items():
        wanted = site.joinpath(*name.split("."), "__init__.py")
        _expect(origin == str(wanted), f"{name} was imported from {origin}, not from {wanted}")


def _tracked_names() -> set[str]:
    """The wheel's names of every file git tracks in the three floors; of every file there when git is absent."""
    git = shutil.which("git")
    if git is not None and (ROOT / ".git").exists():
        names = _run(git, "ls-files", "-z", *FLOORS, cwd=ROOT).split("\0")
    else:
        names = [str(path.relative_to(ROOT)) for floor in FLOORS for path in (ROOT / floor).rglob("*")]
    kept = [name for name in names if (ROOT / name).is_file() and "__pycache__" not in name]
    return {f"inlay/{name.removeprefix('hub/top/')}" for name in kept}  # hub/top is the package inlay itself


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"wheel check: {' '.join(map(str, command))} failed\n{done.stdout}{done.stderr}")
    return done.stdout


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"wheel check: {otherwise}")


if __name__ == "__main__":
    main()
