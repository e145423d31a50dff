"""Files that give the guide's commands their names, such as ``python -m cluster.cache_embeddings``, in a folder."""

from __future__ import annotations

from pathlib import Path

from encash.atomic_write import make_folder, write_whole
from encash.errors import InputError

GUIDE_COMMANDS = {
    "cluster.cache_embeddings": "encode every stock on every day once and store the embeddings",
    "cluster.create_clusters": "fit clusters on the embeddings of past sessions",
    "cluster.analyze_clusters": "rank clusters by forward returns, and select the best",
    "inference.backtest_simulation": "the backtest, live or from an embeddings cache",
}
"""Each command of the guide by its module, and its line in the help of ``python -m encash.guide``."""

_SHIM = '''"""``python -m {module}``, as in the guide: ``python -m encash.guide {command}``."""

ENCASH_COMMAND = __name__ == "__main__"  # a signal during the imports is one line, not a traceback

from encash.command_start import finish  # noqa: E402 - after the line above
from encash.guide.{name} import main, parser  # noqa: E402 - likewise

__all__ = ["main", "parser"]

if __name__ == "__main__":
    finish(main)
'''
_PACKAGE = '"""The guide\'s commands, written by `encash guide shims`."""\n'


def command_name(module: str) -> str:
    """Return the name of a command of ``python -m encash.guide``.

    >>> command_name("cluster.cache_embeddings")
    'cache-embeddings'
    """
    return module.split(".")[1].replace("_", "-")


def shim(module: str) -> str:
    """Return the file of one of `GUIDE_COMMANDS`."""
    return _SHIM.format(module=module, command=command_name(module), name=module.split(".")[1])


def write_shims(folder: Path) -> list[Path]:
    """Write ``cluster/….py`` and ``inference/….py`` into a folder; return their paths.

    Both folders become packages (`__init__.py`): Python prefers an installed package ``cluster`` to a mere folder.

    Raises:
        InputError: a file of such a name has different content; nothing is written.
    """
    files = {folder / f"{module.replace('.', '/')}.py": shim(module).encode() for module in GUIDE_COMMANDS}
    for path, content in files.items():
        if path.exists() and (not path.is_file() or path.read_bytes() != content):
            raise InputError(f"{path} exists and is not a shim of this version; move it away, or give another folder")
    for path, content in files.items():
        make_folder(path.parent)
        write_whole(path, content)
        if not (package := path.parent / "__init__.py").exists():
            write_whole(package, _PACKAGE.encode())
    return list(files)
