"""The table of extras, read from pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from inlay_docs.markdown import table

__all__ = ["PURPOSES", "markdown"]

ROOT = Path(__file__).parents[3]
PURPOSES = {
    "audio": "read sounds",
    "video": "read clips",
    "generate": "generate pictures, sounds and clips (NExT-GPT, ModaVerse)",
    "plots": "`inlay plot`: loss curves and samples as one picture",
    "sign": "sign bundles and check signatures",
    "gguf": "read and write GGUF files",
    "llamacpp": "answer with llama.cpp (compiles it: cmake and a C++ compiler)",
    "tiktoken": "tokenizers in tiktoken's format",
    "timm": "image encoders of timm",
    "serve": "`inlay serve`",
    "demo": "`inlay demo` and `inlay space`",
    "quantised": "the LLM in 4 or 8 bits",
}
"""Extra -> what a user needs it for. Extras for developers are not in the table."""
DEVELOPERS = ("bench", "dev", "docs", "fuzz")


def markdown() -> str:
    """One row for each extra that users may need.

    Raises:
        KeyError: an extra of pyproject.toml is described in neither table.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = []
    for name, needs in project["optional-dependencies"].items():
        if name not in DEVELOPERS:
            packages = ", ".join(re.split(r"[<>=!~\[ ]", need)[0] for need in needs)
            rows.append((f"`{name}`", PURPOSES[name], packages))
    return table(("extra", "needed to", "packages"), rows)
