"""The site builds strictly, its links lead somewhere, and its search knows the pages."""

import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests import processes

pytest.importorskip("material", reason="needs mkdocs-material")
pytest.importorskip("mkdocstrings", reason="needs mkdocstrings")

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The targets and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.targets |= {found[name] for name in ("href", "src") if found.get(name)}
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}


def build(folder, **environment):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", folder]
    variables = {"NO_MKDOCS_2_WARNING": "1", **environment}
    processes.run(command, variables, cwd=ROOT)
    return {path.relative_to(folder): Page(path.read_text()) for path in folder.rglob("*.html")}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    return folder, build(folder, SEEDBED_REPOSITORY="https://example.org/seedbed")


def test_every_link_and_picture_leads_somewhere(site):
    folder, pages = site
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the site's root
            continue
        for target in page.targets:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            found = (folder / path.parent / unquote(url.path)).resolve() if url.path else None
            found = folder / path if found is None else found
            found = found / "index.html" if found.is_dir() else found
            other = pages.get(found.relative_to(folder)) if found.exists() else None
            anchor = unquote(url.fragment)
            if not found.exists() or (other and anchor and anchor not in other.anchors):
                broken.append((str(path), target))
    assert len(pages) > 35
    assert not broken


def test_links_to_source_code_lead_into_the_repository(site):
    _, pages = site
    targets = pages[Path("notebooks/index.html")].targets
    assert "https://example.org/seedbed/blob/HEAD/examples/activations.py" in targets


def test_nothing_is_loaded_from_elsewhere(site):
    folder, _ = site
    for path in folder.rglob("*.html"):
        text = path.read_text()
        assert '<script src="http' not in text
        assert 'rel="stylesheet" href="http' not in text


def test_the_api_has_what_the_docstrings_say(site):
    """Names, parameters and examples of one method; a power is no bold text."""
    folder, pages = site
    assert "seedbed.initializers.Initializer.keyed" in pages[
        Path("api/initializers/index.html")
    ].anchors  # fmt: skip
    text = (folder / "api/initializers/index.html").read_text()
    assert "of at most 2**66 elements (2**65 of 8 bytes)" in text


def test_search_knows_every_page_of_the_navigation(site):
    folder, pages = site
    index = json.loads((folder / "search" / "search_index.json").read_text())
    known = {entry["location"].split("#")[0] for entry in index["docs"]}
    wanted = {path.parent.as_posix() + "/" for path in pages if path.name == "index.html"}
    assert {page.removeprefix("./") for page in wanted} <= known
