"""The directive ``public-names``: the documentation of each name that the stub of a package lists."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def names_of(package: str) -> dict[str, str]:
    """Return the names that the stub of a package imports, in its order, each with the module that defines it."""
    stub = Path(str(import_module(package).__file__)).with_suffix(".pyi")
    return {
        alias.name: f"{package}.{node.module}"
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def directive_of(package: str, name: str, module: str) -> str:
    """Return the directive of autodoc that documents a name."""
    value: Any = getattr(import_module(package), name)
    defined = getattr(value, "__module__", module)
    if inspect.isclass(value) or inspect.isroutine(value):
        if (home := home_of(defined)) != package:
            return f"``{name}`` is that of ``{home}``."
        kind = "class" if inspect.isclass(value) else "function"
        return f".. auto{kind}:: {package}.{name}"
    return f".. autodata:: {module}.{name}\n   :no-value:"


def home_of(module: str) -> str:
    """Return the innermost package with a stub that holds a module."""
    while not Path(str(import_module(module).__file__)).with_name("__init__.pyi").exists():
        module = module.rpartition(".")[0]
    return module if hasattr(import_module(module), "__path__") else module.rpartition(".")[0]


class PublicNames(SphinxDirective):
    """``.. public-names:: encash.panel``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the documentation of all names."""
        package = self.arguments[0]
        text = "\n\n".join(directive_of(package, name, module) for name, module in names_of(package).items())
        holder = nodes.container()
        self.state.nested_parse(StringList(text.splitlines(), source=package), self.content_offset, holder)
        return holder.children


class OneLiners:
    """Docstrings of attributes and properties as they are: napoleon takes what is before a colon for their type."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def keep(self, app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
        """Remember a docstring, before napoleon."""
        if what in ("attribute", "data", "property"):
            self._lines[name] = list(lines)

    def restore(self, app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
        """Put it back, after napoleon."""
        lines[:] = self._lines.pop(name, lines)


def name_functions(app: Sphinx, what: str, name: str, obj: object, options: object, *shown: str) -> tuple[str, ...]:
    """Show a function that is a default by its name: Sphinx cannot parse ``<function …>``."""
    return tuple(text and re.sub(r"<(?:function|class) '?([\w.]+)'?>", r"\1", text) for text in shown)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-process-signature", name_functions)
    kept = OneLiners()
    app.connect("autodoc-process-docstring", kept.keep, priority=100)
    app.connect("autodoc-process-docstring", kept.restore, priority=900)
    return {"parallel_read_safe": True}
