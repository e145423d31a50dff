"""Encoders: windows in, embeddings and forecasts out."""
