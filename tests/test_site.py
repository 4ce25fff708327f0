"""The site: built off-line without a warning, no dead link, nothing from elsewhere, every public name in the reference."""

import dataclasses
import html
import inspect
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import forked
import neuralquine as nq
from neuralquine.solving import methods
from neuralquine.solving.methods import Method

ROOT = Path(__file__).resolve().parents[1]
API = (ROOT / "docs" / "api.md").read_text()
LISTED = re.findall(r"^\| `([\w.]+)` \|", API, flags=re.MULTILINE)


def build(target):
    make = (ROOT / "Makefile").read_text()
    (line,) = re.findall(
        r"^\t\$\(BIN\)/python -m sphinx (.* -d) build/doctrees \. build/site$", make, flags=re.MULTILINE
    )
    words = [*line.split(), str(target / "doctrees"), str(ROOT), str(target / "site")]
    run = forked.run([sys.executable, "-m", "sphinx", *words], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return target / "site"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built"))


class Page(HTMLParser):
    """The anchors of a page, its links, and what a browser fetches for it."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.fetched = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe", "source", "video"):
            self.fetched += [given["src"]] if given.get("src") else []
        if tag == "link" and given.get("rel") not in ("canonical", "author", "next", "prev", "index", "search"):
            self.fetched.append(given["href"])


def dead_links(folder):
    """``(page, link)`` for every link inside the site that leads nowhere, to a page or to a place in one."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *page.fetched]:
            if re.match(r"[a-z]+:", link):
                continue
            place, _, anchor = link.partition("#")
            target = (path.parent / unquote(place.partition("?")[0])).resolve() if place else path
            missing = not target.is_file()
            lost = not missing and anchor and target in pages and unquote(anchor) not in pages[target].anchors
            if missing or lost:
                dead.append((path.name, link))
    return dead


def fetched_from_elsewhere(folder):
    pages = [(p, Page(p.read_text(encoding="utf-8")).fetched) for p in folder.rglob("*.html")]
    styles = [
        (p, re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s]+)", p.read_text(encoding="utf-8")))
        for p in folder.rglob("*.css")
    ]
    return [(p.name, what) for p, all_of in pages + styles for what in all_of if re.match(r"(https?:)?//", what)]


# -- the site ---------------------------------------------------------------------------------------------------------


def test_every_link_of_the_site_leads_somewhere(site):
    assert len(list(site.rglob("*.html"))) > 25
    assert dead_links(site) == []


def test_nothing_is_fetched_from_elsewhere(site):
    assert fetched_from_elsewhere(site) == []


def test_a_dead_link_and_a_foreign_font_would_be_found(tmp_path):
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1>')
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">x</a><a href="b.html#gone">x</a><a href="c.html">x</a><a href="#top">x</a>'
        '<script src="https://cdn.example/x.js"></script>'
    )
    (tmp_path / "a.css").write_text('@import "https://fonts.example/f.css"; p { background: url(b.png) }')
    assert dead_links(tmp_path) == [("a.html", "b.html#gone"), ("a.html", "c.html"), ("a.html", "#top")]
    assert [name for name, _ in fetched_from_elsewhere(tmp_path)] == ["a.html", "a.css"]


def test_every_document_is_in_the_tree(site):
    for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/results/*.md"), *ROOT.glob("*.md")]:
        built = site / page.relative_to(ROOT).with_suffix(".html")
        assert built.exists(), page
        if page.name != "index.md":
            assert f'{page.stem}.html"' in (site / "docs" / "index.html").read_text(), page


def test_the_front_page_leads_to_the_index(site):
    assert "url=docs/index.html" in (site / "index.html").read_text()
    assert (site / "docs" / "index.html").exists()


# -- the reference ----------------------------------------------------------------------------------------------------


def resolved(name):
    module, _, short = name.rpartition(".")
    return getattr(nq if module == "nq" else __import__(f"neuralquine.{module}", fromlist=[short]), short)


def undocumented(name, value):
    """What of a public name has no words: itself, its public methods and properties, the fields of a dataclass."""
    if not inspect.isclass(value) and not callable(value):
        return []
    missing = [] if inspect.getdoc(value) else [name]
    shared = set(dir(Method)) | {"space"} if name.removeprefix("nq.") in methods.__all__ else set()  # said there once
    if inspect.isclass(value):
        for key, member in vars(value).items():
            described = callable(member) or isinstance(member, property | classmethod | staticmethod)
            if not key.startswith("_") and key not in shared and described and not inspect.isclass(member):
                missing += [] if inspect.getdoc(getattr(value, key)) else [f"{name}.{key}"]
        for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
            said = field.name in shared or re.search(rf"\b{field.name}\b", value.__doc__)
            missing += [] if said else [f"{name}.{field.name}"]
    return missing


def test_every_public_name_has_one_entry_in_the_reference():
    assert len(LISTED) == len(set(LISTED))
    assert {name.removeprefix("nq.") for name in LISTED if name.startswith("nq.")} == set(nq.__all__)


@pytest.mark.parametrize("name", LISTED)
def test_every_entry_is_documented(name):
    assert undocumented(name, resolved(name)) == []


def test_a_name_without_a_docstring_would_be_found():
    @dataclasses.dataclass
    class Bare:
        """Of nothing."""

        size: int = 0

        def step(self):
            pass

    assert undocumented("Bare", Bare) == ["Bare.step", "Bare.size"]
    assert undocumented("f", lambda: None) == ["f"]


def test_every_entry_is_on_the_built_page_with_its_docstring(site):
    page = (site / "docs" / "api.html").read_text(encoding="utf-8")
    anchors, text = Page(page).anchors, " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())
    for name in LISTED:
        place = name.replace("nq.", "neuralquine.") if name.startswith("nq.") else f"neuralquine.{name}"
        assert place in anchors, name
        value = resolved(name)
        if callable(value):
            first = re.split(r"[`:]|\n\n", inspect.getdoc(value))[0].split()[:6]
            assert " ".join(first) in text, name
