"""Encoders: windows in, embeddings and forecasts out."""

from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.encoders.checkpoint import DEFAULT_LOOKBACK, ENGINES
from encash.encoders.ensemble import Ensemble
from encash.encoders.load import is_checkpoint, load_encoder

__all__ = [
    "DEFAULT_LOOKBACK",
    "ENGINES",
    "Encoded",
    "Encoder",
    "EncoderSpec",
    "Ensemble",
    "is_checkpoint",
    "load_encoder",
]
