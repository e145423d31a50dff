"""The report of a run: summary values, a rule-based verdict, charts and one HTML page."""

from typing import Any

import lazy_loader

from encash.callable_package import make_callable
from encash.extras import require

_import_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
make_callable(__name__)


def __getattr__(name: str) -> Any:
    """Import a public name on first use; what draws raises an error without the extra, which names it."""
    if name == "render_report" or name.endswith("_picture"):
        require("report", "a page or a picture")
    return _import_public(name)
