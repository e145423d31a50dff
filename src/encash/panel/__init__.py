"""The panel: read-only features and prices; `Panel.as_of` hides everything after a day."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
