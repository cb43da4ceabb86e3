"""A page of HTML as a test looks at it."""

from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link", "source", "col", "base", "embed", "area", "wbr", "track"}


class Page(HTMLParser):
    """A page read as a browser does: every element closed in order, tables by their heading."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.tables = [], [], [], {}
        self.texts, self._heading, self._cell = [], "", None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self._heading = ""
        if tag == "tr":
            self.tables.setdefault(self._heading, []).append([])
        if tag in {"td", "th"}:
            self.tables[self._heading][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if "h2" in self.open:
            self._heading += data
        if {"td", "th"} & set(self.open):
            self.tables[self._heading][-1][-1] += data

    @property
    def text(self):
        return " ".join(self.texts)
