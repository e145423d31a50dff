"""SVG drawings as elements of an HTML page.

Stand-in colors become CSS variables of the page, so that one drawing works in light and dark themes. Text stays text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping


def page_element(text: str, *, prefix: str, alt: str, variables: Mapping[str, str]) -> str:
    """Turn an SVG file into an element without fonts, addresses or identifiers that could clash with a different one.

    Args:
        text: the SVG file that matplotlib wrote.
        prefix: put before each identifier; unique on the page.
        alt: text alternative.
        variables: name of a CSS variable → stand-in color in the file.
    """
    text = re.sub(
        r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", text[text.index("<svg") :], flags=re.DOTALL
    )
    head, body = text.split(">", 1)
    box = re.findall(r"viewBox=\"[^\"]*\"", head)[0]
    body = re.sub(r" id=\"(data-\w+)\"", r' \1=""', body)  # marks for the script
    body = re.sub(r"<(g|image) id=\"[^\"]*\"", r"<\1", body)
    body = re.sub(r"(<clipPath id=\"|url\(#|<path id=\"|xlink:href=\"#)", rf"\g<1>{prefix}-", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font-family: [^;\"]*(; )?| transform=\"rotate\(-0[^\"]*\"", "", body)
    for name, stand_in in variables.items():
        body = body.replace(stand_in, f"var(--{name})")
    body = re.sub(r" (?:d|x|y|points)=\"[^\"]*\"", _round_coordinates, body)
    return f'<svg {box} role="img" aria-label="{html.escape(alt)}">' + re.sub(r"\s*\n\s*", "\n", body).strip()


def _round_coordinates(attribute: re.Match[str]) -> str:
    """Round coordinates to a tenth of a pixel, on one line, without repeated commands."""
    text = re.sub(r"(\.\d)\d+", r"\1", attribute[0])
    text = re.sub(r"\s+", " ", text).replace(' "', '"').replace(".0 ", " ")
    start, *rest = text.split(" L ")
    straight = rest and not re.search("[A-KM-Zz]", " ".join(rest))
    return f" {start.strip()} L {' '.join(rest)}" if straight else text
