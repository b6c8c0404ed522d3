"""Makes ``pretraining`` importable: it is run from the root of a checkout and is no part of the package.

Only this one package is registered. With the root on the path, the three floors could be imported under bare names too.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "pretraining"

if "pretraining" not in sys.modules:
    spec: Any = importlib.util.spec_from_file_location(
        "pretraining", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules["pretraining"] = package
    spec.loader.exec_module(package)
