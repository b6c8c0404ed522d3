"""Sphinx settings of the documentation: MyST pages, furo, and the generated reference in ``_ext/inlay_docs``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "inlay"
author = "The authors of inlay"
project_copyright = "The authors of inlay, Apache-2.0"
html_title = "inlay"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "inlay_docs",
]
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # The notebooks run in the slow tests, tests/docs/test_tutorials.py.

autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["inlay.css"]
html_show_sourcelink = False

suppress_warnings = [
    "ref.python",  # `bytes` in a docstring is the type, although two classes have an attribute of this name
    "myst.header",  # pages of decisions begin their notes at the second level
]
