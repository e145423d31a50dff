from .base import Encoded as Encoded
from .base import Encoder as Encoder
from .base import EncoderSpec as EncoderSpec
from .checkpoint import DEFAULT_LOOKBACK as DEFAULT_LOOKBACK
from .checkpoint import ENGINES as ENGINES
from .ensemble import Ensemble as Ensemble
from .load import is_checkpoint as is_checkpoint
from .load import load_encoder as load_encoder
