from .cache import Cache as Cache
from .cache import open_cache as open_cache
from .encoders import Encoder as Encoder
from .encoders import load_encoder as load_encoder
from .panel import Panel as Panel
from .panel import open_panel as open_panel
from .panel import open_prices as open_prices

__version__: str
