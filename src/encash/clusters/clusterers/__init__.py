"""Clusterers: ways to fit clusters to vectors. `registry` lists them; one file per library."""
