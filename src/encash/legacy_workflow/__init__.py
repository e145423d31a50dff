"""The guide's workflow: the four commands of `cluster` and `inference`, on the files that their users have.

Flags keep the meaning and the defaults of the guide. What differs on purpose is announced in one line at run time, as
is what a command chose because a default file is missing.

`defaults` has paths, months and fees; `caches` builds caches; `clusters` fits and ranks; `simulation` runs the backtest
and `result_file` writes its `.pt`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
