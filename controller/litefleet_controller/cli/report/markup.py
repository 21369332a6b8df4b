"""HTML and SVG as elements: text is escaped by the serializer, whatever a model's labels hold."""

from collections.abc import Iterable
from typing import TypeAlias
from xml.etree.ElementTree import Element, tostring

Child: TypeAlias = "Element | str | Iterable[Child] | None"


def el(tag: str, *children: Child, **attributes: object) -> Element:
    """An element. `class_` is `class`, `stroke_width` is `stroke-width`; None leaves an attribute out."""
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), _text(value))
    _add(made, children)
    return made


def document(html: Element) -> str:
    """The page's text."""
    return "<!doctype html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def _add(parent: Element, children: Iterable[Child]) -> None:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Element):
            parent.append(child)
        elif isinstance(child, str):
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + child
            else:
                parent.text = (parent.text or "") + child
        else:
            _add(parent, child)


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
