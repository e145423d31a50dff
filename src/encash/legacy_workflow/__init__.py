"""The guide's workflow: the four commands of `cluster` and `inference`, on the files that their users have.

Flags keep the meaning and the defaults of the guide. What differs on purpose is announced in one line at run time, on
stderr and under ``warnings`` in the JSON, as is what a command chose because a default file is missing:

======================================  ================================  ===========================================
command, subject                        the guide's version               here
======================================  ================================  ===========================================
backtest: score                         (1 + return) × confidence         return × confidence
backtest: no price at the sale          no change                         the next price, else the last one
backtest: daily subset                  anew at every call                from the seed and the day
backtest: best clusters                 any file                          dated by the ranking beside them
backtest: `sharpe_ratio` in the file    mean / deviation · √252           … · √(252 / horizon)
backtest: `expected_return` in it       1 + return                        a return
backtest: test months                   as many as there are              from the first full window on
create, analyze: last months            used                              held out (``--holdout-months 6``)
analyze: returns                        all days of a cluster's stocks    the days of its entries, winsorized
analyze: ``--top-k``, ``--min-…``       idle beside a coverage            hold
all: bin edges                          midpoint taken as it is           return, ratio or percent (``--bin-unit``)
======================================  ================================  ===========================================

`defaults` has paths, months and fees; `caches` builds caches; `clusters` fits and ranks; `simulation` runs the backtest
and `result_file` writes its `.pt`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
