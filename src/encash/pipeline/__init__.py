"""The steps from a model and data to a report, assembled from the packages below; the command line calls them.

`sources` opens inputs, `caches` builds caches, `clusters` fits and ranks, `trading` runs backtests, `page` writes
reports, `doctor` examines the installation.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
