"""Cost models: an interface, and one module per model; `registry` lists them."""
