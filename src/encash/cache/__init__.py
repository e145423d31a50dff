"""The cache: where panel, encoder and store meet."""
