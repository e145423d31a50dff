"""How results show themselves: lines in a console, a small table in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


class Shown:
    """A result that shows itself."""

    def title(self) -> str:
        """Return one sentence."""
        raise NotImplementedError

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return names and values, in order."""
        return ()

    def __repr__(self) -> str:
        width = max((len(name) for name, _ in self.facts()), default=0)
        return "\n".join([self.title(), *(f"  {name:<{width}}  {value}" for name, value in self.facts())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in self.facts()
        )
        return f"<p><strong>{escape(self.title())}</strong></p><table>{rows}</table>"


def size_text(count: float) -> str:
    """Format a number of bytes.

    >>> size_text(141_813), size_text(5 * 2**30)
    ('0.1 MiB', '5,120.0 MiB')
    """
    return f"{count / 2**20:,.1f} MiB"
