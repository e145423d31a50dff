"""Features of prices: one file per feature set, a registry of sets, and the functions that compute them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
