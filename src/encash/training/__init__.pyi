from .config import PRESETS as PRESETS
from .config import Preset as Preset
from .config import TrainConfig as TrainConfig
from .cost import measure_training as measure_training
from .fit import TrainReport as TrainReport
from .fit import train as train
