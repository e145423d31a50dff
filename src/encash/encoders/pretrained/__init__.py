"""Pretrained time-series models from local folders: embeddings of the features of a window as series."""
