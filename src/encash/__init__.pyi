from .api import AuditReport as AuditReport
from .api import Clusters as Clusters
from .api import FittedHead as FittedHead
from .api import Picks as Picks
from .api import Run as Run
from .api import RunComparison as RunComparison
from .api import Sweep as Sweep
from .api import Table as Table
from .api import Walk as Walk
from .api import audit as audit
from .api import backtest as backtest
from .api import compare as compare
from .api import fit_clusters as fit_clusters
from .api import fit_head as fit_head
from .api import picks as picks
from .api import rank_clusters as rank_clusters
from .api import report as report
from .api import sweep as sweep
from .api import walk_clusters as walk_clusters
from .cache import Cache as Cache
from .cache import open_cache as open_cache
from .encoders import Encoder as Encoder
from .encoders import load_encoder as load_encoder
from .panel import Panel as Panel
from .panel import open_panel as open_panel
from .panel import open_prices as open_prices

__version__: str
