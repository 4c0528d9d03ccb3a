"""A scan's HTML page, as a browser reads it."""

from __future__ import annotations

import base64
import json
import zlib
from html.parser import HTMLParser

import numpy as np

VOID = {"meta", "link", "br", "img", "hr", "input"}


class PageFile(HTMLParser):
    """The texts of its elements by id or name, its tags, what is not closed, and the addresses that it names."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.tags, self.addresses = [], {}, [], []
        self.text = text
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        if tag not in VOID:
            self.open.append(values.get("id", tag))

    def handle_endtag(self, tag):
        self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data

    @property
    def data(self):
        """What the script reads: arrays as arrays, other bytes as bytes."""
        block = zlib.decompress(base64.b64decode(self.texts["bytes"]))

        def revive(value):
            if value.keys() == {"bytes"}:
                first, length = value["bytes"]
                return block[first : first + length]
            if value.keys() == {"view", "dtype", "shape"}:
                return np.frombuffer(value["view"], value["dtype"]).reshape(value["shape"])
            return value

        return json.loads(self.texts["data"], object_hook=revive)
