"""HTML and SVG elements as strings, with every attribute and text escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping


def element(
    name: str, attributes: Mapping[str, str | float] | None = None, *children: str
) -> str:
    """Returns one element; `children` are markup already (texts through `escape`)."""
    written = "".join(
        f' {key}="{escape(_attribute_text(value))}"'
        for key, value in (attributes or {}).items()
    )
    return f"<{name}{written}>{''.join(children)}</{name}>"


def escape(text: str) -> str:
    """Returns `text` as markup that shows it."""
    return html.escape(text, quote=True)


def _attribute_text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def tooltip(text: str) -> str:
    """Returns the `<title>` that a browser shows over the enclosing SVG element."""
    return element("title", None, escape(text))


def svg(width: float, height: float, label: str, *children: str) -> str:
    """Returns a drawing that scales to its container; `label` is read out for it."""
    return element(
        "svg",
        {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": label},
        *children,
    )


def svg_text(
    x: float, y: float, label: str, *, style: str = "", title: str = ""
) -> str:
    """Returns a text whose baseline starts at (x, y); `style` are CSS classes."""
    children = [escape(label), tooltip(title)] if title else [escape(label)]
    return element("text", {"x": x, "y": y, "class": style}, *children)


def svg_line(x1: float, y1: float, x2: float, y2: float, *, style: str = "") -> str:
    """Returns a straight line; `style` are CSS classes."""
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": style})


def svg_rect(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    style: str = "",
    radius: float = 0,
    title: str = "",
) -> str:
    """Returns a rectangle; `style` are CSS classes, `title` its tooltip."""
    box = {"x": x, "y": y, "width": width, "height": height, "rx": radius}
    children = [tooltip(title)] if title else []
    return element("rect", {**box, "class": style}, *children)


def figure(title: str, legend: str, drawing: str, *, style: str = "") -> str:
    """Returns a drawing under its title and its legend, which is markup already."""
    caption = element("figcaption", None, element("b", None, escape(title)), legend)
    scroller = element("div", {"class": "scroll"}, drawing)
    return element("figure", {"class": style}, caption, scroller)
