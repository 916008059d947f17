"""Looks at feeds and badges as their readers do: SITE, then the paths of feeds (.atom) and badges (.svg), and /robots.txt."""

import sys
import urllib.request
import urllib.robotparser
from pathlib import Path

import feedparser
from lxml import etree

ATOM = {"a": "http://www.w3.org/2005/Atom"}
SCHEMA = etree.RelaxNG.from_rnc_string(Path(__file__).with_name("atom.rnc").read_text())
# Nothing of others is fetched, and no entity is replaced.
STRICT = etree.XMLParser(resolve_entities=False, no_network=True)


def fetch(url):
    with urllib.request.urlopen(url) as answer:
        return answer.headers["content-type"], answer.read()


def feed(url):
    kind, text = fetch(url)
    assert kind == "application/atom+xml; charset=utf-8", kind
    root = etree.fromstring(text, STRICT)
    SCHEMA.assertValid(root)

    def all_of(path):
        return root.xpath(path, namespaces=ATOM)

    assert all_of("a:link[@rel='self']/@href") == [url], "its own address"
    assert len(all_of("a:link[@rel='alternate']")) == 1, "one page about the same"
    assert all_of("a:author"), "who wrote the entries"
    for entry in all_of("a:entry"):
        assert len(entry.xpath("a:link[@rel='alternate']", namespaces=ATOM)) == 1, "each entry has a page"
    names = all_of("a:entry/a:id/text()")
    assert len(set(names)) == len(names), "entries have different names"
    times = all_of("a:entry/a:updated/text()")
    assert times == sorted(times, reverse=True), "newest first"
    assert all_of("a:updated/text()")[0] >= max(times, default=""), "it is as new as its newest entry"
    # What was put into the table alone has no log in the store.
    links = "a:link" if "/package/" in url else "a:link[@rel='alternate']"
    for page in all_of("a:link[@rel='alternate']/@href") + all_of(f"a:entry[position() <= 3]/{links}/@href"):
        fetch(page)

    read = feedparser.parse(text)
    assert not read.bozo, read.get("bozo_exception")
    assert len(read.entries) == len(names)
    assert all(entry.title and entry.link and entry.updated_parsed for entry in read.entries)
    return len(names)


def badge(url):
    kind, text = fetch(url)
    assert kind.startswith("image/svg+xml"), kind
    root = etree.fromstring(text, STRICT)
    assert root.tag == "{http://www.w3.org/2000/svg}svg", root.tag
    assert float(root.get("width")) > 0 and float(root.get("height")) > 0
    words = "".join(root.itertext())
    for element in root.iter("*"):
        name = etree.QName(element).localname
        assert name not in ("script", "foreignObject", "image", "use"), name
        assert not any(key.startswith("on") or "href" in key for key in element.attrib), element.attrib
    return " ".join(words.split())


def robots(url):
    rules = urllib.robotparser.RobotFileParser(url)
    rules.read()
    site = url.removesuffix("/robots.txt")
    for path in ["/", "/packages/green", "/packages/green/noble/amd64", "/statistics", "/recent"]:
        assert rules.can_fetch("*", site + path), path
    for path in ["/results/autopkgtest-noble/", "/request.cgi", "/running", "/api/v1/results", "/static/autopkgtest.db"]:
        assert not rules.can_fetch("*", site + path), path
    return "robots"


site, *paths = sys.argv[1:]
for path in paths:
    file = path.split("?")[0]
    look = feed if file.endswith(".atom") else badge if file.endswith(".svg") else robots
    try:
        print(path, look(site + path))
    except Exception as wrong:
        sys.exit(f"{path}: {type(wrong).__name__}: {wrong}")
