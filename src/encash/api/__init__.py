"""The workflow in Python: functions with the names and defaults of the command line, and results that show themselves.

Each function takes paths, or what was opened from them. Names at the top level of `encash` are these.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
