"""Formats of price tables, one file per format; `registry` lists them."""
