"""A folder that runs as a Hugging Face Space with the docker SDK.

https://huggingface.co/docs/hub/spaces-sdks-docker: the front matter of ``README.md`` names the SDK and the port, the
container runs as user 1000, and the proxy of the Hub passes the host name of the Space on. Its name is in the variable
``SPACE_HOST``. A secret ``INLAY_API_KEY`` of the Space becomes the key of the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

from inlay.adapters.bundles.bundle_io import open_bundle
from inlay.hub.errors import BundleError
from inlay.hub.format.files import bundle_folder
from inlay.hub.format.manifest import MANIFEST_NAME, Manifest
from inlay.hub.remote.address import Repository, locate
from inlay.hub.safety.atomic import replace_folder
from inlay.recipes.demo.examples import EXAMPLES, Example
from inlay.recipes.serve.errors import ServeError
from inlay.recipes.settings.default_models import MINIATURE

__all__ = ["CPU_INDEX", "Device", "space_files", "write_space"]

Device: TypeAlias = Literal["cpu", "cuda"]
"""The hardware of a Space."""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Wheels of torch without CUDA: https://pytorch.org/get-started/locally/."""
_PORT = 7860
_OPTION = re.compile(r"--backbone\.[a-z_]+=[A-Za-z0-9_./:@\-]{1,300}")
_HUB_ID = re.compile(r"[A-Za-z0-9_.\-]+/[A-Za-z0-9_.\-]+")

_DOCKERFILE = """FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1
{git}WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt && useradd --create-home --uid 1000 user
USER user
COPY --chown=user . .
EXPOSE {port}
CMD ["python", "app.py"]
"""

_GIT = "RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*\n"
"""Of a Dockerfile whose requirement pip clones; the slim image has no git."""

_APP = '''"""Starts the page of this Space; written by `inlay space`."""

import os
import sys

from inlay.recipes.cli import main

arguments = ["demo", {run!r}, "--examples", "{examples}", "--host", "0.0.0.0", "--public", "true"]
arguments += ["--port", os.environ.get("PORT", "{port}"), "--allow_frame", "https://huggingface.co"]
arguments += {options!r}
if host := os.environ.get("SPACE_HOST"):
    arguments += ["--allow_host", host]

if __name__ == "__main__":
    sys.exit(main(arguments))
'''

_README = """# {title}

The page of `inlay demo` for the adapter *{name}* ({system}). It runs with the docker SDK on the hardware of the Space.

With a secret `INLAY_API_KEY` in the settings of the Space, the page asks for this key. Browsers do not send its cookie
from inside the page of the Hub, so open such a Space at its own address, `https://OWNER-SPACE.hf.space`.
"""


def write_space(run: str, output: Path, examples: Sequence[Example], **fields: Any) -> Path:
    """Write the folder of a Space.

    Args:
        run: a run folder, a bundle, or a repository on the Hub, which the Space then reads from there.
        output: a new folder.
        examples: questions with media that the page offers.
        fields: of :func:`space_files`.

    Returns:
        The path of the folder.

    Raises:
        BundleError: no bundle there, or the folder exists.
        ServeError: a frozen model that a Space cannot download.
    """
    place = locate(run)
    manifest = open_bundle(run).manifest
    if isinstance(place, Repository):
        copied: dict[str, bytes] = {}
    else:
        folder = bundle_folder(Path(run))
        names = [MANIFEST_NAME, "README.md", *(file.path for file in manifest.files)]
        copied = {f"bundle/{name}": (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    files = space_files(manifest, None if copied else f"hf://{place}", **fields)
    return replace_folder(output, files | copied | _example_files(examples), overwrite=False, check_old=_never)


def space_files(
    manifest: Manifest,
    address: str | None,
    *,
    title: str = "",
    requirement: str = "",
    device: Device = "cpu",
    options: Sequence[str] = (),
) -> dict[str, bytes]:
    """The files of a Space beside its bundle and its examples.

    Args:
        manifest: of the bundle.
        address: of the bundle on the Hub; None for the folder ``bundle``.
        title: of the Space; the adapter's name if empty.
        requirement: how pip installs this package; its version from PyPI if empty.
        device: the hardware; with ``cpu``, pip installs torch without CUDA.
        options: such as ``--backbone.llm=owner/name``, for models that the bundle does not name by their Hub ids.

    Raises:
        ServeError: an option that is none, or a frozen model that a Space cannot download.
    """
    for option in options:
        if not _OPTION.fullmatch(option):
            raise ServeError(f"expected --backbone.FIELD=OWNER/NAME, got {option!r}")
    given = {option.partition("=")[0].removeprefix("--backbone.") for option in options}
    for port, spec in manifest.interface.items():
        field, source = port.replace("generate.", "generate_"), spec.source or ""
        if not source.startswith(MINIATURE) and not _HUB_ID.fullmatch(source) and field not in given:
            raise ServeError(
                f"{port}: the adapter was trained on the folder {source or 'of an unknown model'}, which a Space does "
                f"not have; name the model on the Hub: --backbone.{field} OWNER/NAME"
            )
    front: dict[str, Any] = {"title": title or manifest.name, "sdk": "docker", "app_port": _PORT, "tags": ["inlay"]}
    if manifest.license:
        front["license"] = manifest.license
    models = sorted({spec.source or "" for spec in manifest.interface.values() if _HUB_ID.fullmatch(spec.source or "")})
    linked = [model for model in models if not model.startswith(MINIATURE)]
    if address is not None:
        linked.append(address.removeprefix("hf://").partition("@")[0])
    if linked:
        front["models"] = linked
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    readme = _README.format(title=title or manifest.name, name=manifest.name, system=manifest.system)
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", manifest.name).strip("-") or manifest.system
    app = _APP.format(run=f"{slug}={address or 'bundle'}", examples=EXAMPLES, port=_PORT, options=list(options))
    index = f"--extra-index-url {CPU_INDEX}\n" if device == "cpu" else ""
    return {
        "README.md": f"---\n{head}---\n\n{readme}".encode(),
        "Dockerfile": _DOCKERFILE.format(port=_PORT, git=_GIT if "git+" in requirement else "").encode(),
        "requirements.txt": f"{index}{requirement or _requirement(manifest)}\n".encode(),
        "app.py": app.encode(),
    }


def _requirement(manifest: Manifest) -> str:
    """This package from PyPI, with the extras that the adapter needs."""
    ports = set(manifest.interface)
    extras = ["demo", *(name for name in ("audio", "video") if name in ports)]
    if any(port.startswith("generate.") for port in ports):
        extras.append("generate")
    return f"inlay[{','.join(extras)}]=={version('inlay')}"


def _example_files(examples: Sequence[Example]) -> dict[str, bytes]:
    """A folder of examples, as :func:`inlay.recipes.demo.examples.read_examples` reads it."""
    files: dict[str, bytes] = {}
    listed: list[dict[str, Any]] = []
    for place, example in enumerate(examples):
        media: list[dict[str, str]] = []
        for number, (kind, file) in enumerate(example.media):
            name = f"{place}-{number}{file.suffix}"
            files[f"{EXAMPLES}/{name}"] = file.data
            media.append({"kind": kind, "file": name})
        listed.append({"question": example.question, "media": media})
    text = json.dumps({"examples": listed}, indent=2, ensure_ascii=False)
    return {f"{EXAMPLES}/examples.json": f"{text}\n".encode()} | files


def _never(folder: Path) -> None:
    raise BundleError(str(folder), "already exists; choose another folder")
