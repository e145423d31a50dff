"""Encoders: windows in, embeddings and forecasts out."""

from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.encoders.checkpoint import DEFAULT_LOOKBACK
from encash.encoders.ensemble import Ensemble
from encash.encoders.load import load_encoder

__all__ = ["DEFAULT_LOOKBACK", "Encoded", "Encoder", "EncoderSpec", "Ensemble", "load_encoder"]
