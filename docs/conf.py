"""Configuration of the site: ``make docs`` builds it into build/site. Nothing is loaded from the network."""

from __future__ import annotations

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from encash import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "encash"
author = "The encash developers"
copyright = "the encash developers, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "public_names", "notebook_page"]
exclude_patterns = ["_ext", "_static"]
nitpicky = False  # types of signatures are not links; links in pages are checked
default_role = "code"

myst_heading_anchors = 4

add_module_names = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 110
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_use_rtype = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"encash {__version__}"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"footer_icons": [], "top_of_page_buttons": []}


def setup(app: Sphinx) -> None:
    """Show tables of cron as plain text: Pygments has no lexer for them."""
    app.add_lexer("cron", TextLexer)
