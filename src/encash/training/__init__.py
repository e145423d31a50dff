"""Training of the reference transformer, split by date."""

from typing import Any

import lazy_loader

_import_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Import a public name on first use; without torch, raise an error that names the extra to install."""
    if name in ("TrainReport", "measure_training", "train"):
        from encash.extras import import_optional  # noqa: PLC0415 - needed only here

        import_optional("encash.training.fit", package="torch", extra="torch")
    return _import_public(name)
