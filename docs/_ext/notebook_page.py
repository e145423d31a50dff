"""Pages from notebooks: text as it is, cells of code as blocks of Python, no outputs."""

from __future__ import annotations

import json
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


def markdown_of(notebook: dict[str, Any]) -> str:
    """Return a notebook as Markdown.

    >>> markdown_of({"cells": [{"cell_type": "code", "source": ["a = 1"]}]})
    '```python\\na = 1\\n```\\n'
    """
    blocks = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        blocks.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(blocks) + "\n"


class NotebookParser(MystParser):
    """Parses a notebook as the Markdown that it stands for."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse a notebook."""
        super().parse(markdown_of(json.loads(inputstring)), document)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the suffix and its parser."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True}
