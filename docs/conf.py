"""Sphinx: how the documentation is built."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Flask-Linkback"
copyright = "the maintainers of Flask-Linkback"  # noqa: A001  Sphinx's own name
version = release = importlib.metadata.version("Flask-Linkback")

extensions = ["linkback_reference", "pallets_sphinx_themes", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
default_role = "code"
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
autoclass_content = "class"

html_theme = "flask"
html_theme_options = {"index_sidebar_logo": False}
html_title = f"Flask-Linkback {version}"
html_show_sourcelink = False
html_sidebars = {"**": ["localtoc.html", "relations.html", "searchbox.html"]}
