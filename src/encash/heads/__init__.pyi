from .config import HeadConfig as HeadConfig
from .fit import fit_head as fit_head
from .head import Head as Head
from .head import HeadPeriod as HeadPeriod
from .head import load_head as load_head
from .skill import HeldOutSkill as HeldOutSkill
from .stored_forecasts import update_forecasts as update_forecasts
from .stored_forecasts import with_stored_forecasts as with_stored_forecasts
