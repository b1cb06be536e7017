"""Reads HTML as a browser does, and says what of it could run, or ask another machine."""

from __future__ import annotations

from html.parser import HTMLParser

LOADED = {"src", "href", "data", "action", "formaction", "srcset", "poster", "background", "xlink:href"}
FORBIDDEN = {"script", "iframe", "object", "embed", "form", "link", "base", "foreignobject", "audio", "video"}


class Page(HTMLParser):
    """A page: its elements with their attributes, its text, and the pictures in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of this kind."""
        return [attributes for each, attributes in self.elements if each == tag]

    def harm(self) -> list[str]:
        """What could run, or be loaded from elsewhere."""
        found = [f"<{tag}>" for tag, _ in self.elements if tag in FORBIDDEN]
        for tag, attributes in self.elements:
            found += [f"<{tag} {name}>" for name in attributes if name.startswith("on") or name == "style"]
            found += [f"<{tag} {name}={value!r}>" for name, value in attributes.items()
                      if name in LOADED and not value.startswith(("#", "data:image/"))]  # fmt: skip
        return found
