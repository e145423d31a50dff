"""``python -m cluster.cache_embeddings``, as in the guide: ``python -m encash.guide cache-embeddings``."""

ENCASH_COMMAND = __name__ == "__main__"  # a signal during the imports is one line, not a traceback

from encash.command_start import finish  # noqa: E402 - after the line above
from encash.guide.cache_embeddings import main, parser  # noqa: E402 - likewise

__all__ = ["main", "parser"]

if __name__ == "__main__":
    finish(main)
