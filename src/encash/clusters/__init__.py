"""Clusters of embeddings: fitted and ranked on past data, then used to filter candidates."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
