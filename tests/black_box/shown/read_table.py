"""The table of a package, as scripts read it off its page: ADDRESS. Prints arch → release → word as JSON."""

import json
import sys
import urllib.request
from html.parser import HTMLParser


class Table(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.within, self.cell = [], False, None

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.within = dict(attrs).get("class") == "table"
        elif self.within and tag == "tr":
            self.rows.append([])
        elif self.within and tag in ("th", "td"):
            self.cell = (tag, "")

    def handle_data(self, data):
        if self.cell:
            self.cell = (self.cell[0], self.cell[1] + data)

    def handle_endtag(self, tag):
        if tag == "table":
            self.within = False
        elif self.cell and tag == self.cell[0]:
            self.rows[-1].append(self.cell)
            self.cell = None


table = Table()
with urllib.request.urlopen(sys.argv[1]) as page:
    table.feed(page.read().decode())
head, *rows = table.rows
releases = [text for _, text in head[1:]]
found = {}
for (kind, arch), *words in rows:
    assert kind == "th" and all(kind == "td" for kind, _ in words), (kind, words)
    found[arch] = dict(zip(releases, (text for _, text in words), strict=True))
print(json.dumps(found))
