"""The site is built without a warning, and its pages ask no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FETCHED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href"}
RELATIONS = {"stylesheet", "preload", "icon", "prefetch", "preconnect", "dns-prefetch"}


class Fetches(HTMLParser):
    """What a browser fetches when it opens a page, and the page's images."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.styles: list[str] = []
        self.alt: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "img":
            self.alt.append(given.get("alt", ""))
        if tag == "link" and not RELATIONS & set(given.get("rel", "").split()):
            return
        if FETCHED.get(tag) in given:
            self.found.append(given[FETCHED[tag]])
        self.styles.append(given.get("style", ""))


def fetched(page: Path) -> Fetches:
    """The parsed page."""
    parser = Fetches()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def is_elsewhere(address: str) -> bool:
    """Whether an address leads to another host."""
    return re.match(r"(?:[a-z]+:)?//", address) is not None


def in_styles(text: str) -> list[str]:
    """Addresses that a style sheet fetches: imports, fonts, images."""
    imports = re.findall(r"""@import\s+["']([^"']+)""", text)
    return imports + re.findall(r"""url\(\s*["']?([^"')]+)""", text)


def build(out: Path, *options: str) -> None:
    """Build the site, warnings being errors."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-c", "docs", "-b", "html"]
    done = subprocess.run(
        [*command, *options, ".", str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site without the chapters' outputs, which are of test_chapters.py."""
    out = tmp_path_factory.mktemp("site")
    build(out, "-D", "nb_execution_mode=off")
    return out


def test_pages_fetch_nothing_from_another_host(site):
    """Scripts, styles, fonts and images of every page are files of the site."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    far = [(page.name, a) for page in pages for a in fetched(page).found if is_elsewhere(a)]
    sheets = [*site.rglob("*.css"), *pages]
    texts = [(sheet.name, sheet.read_text(encoding="utf-8")) for sheet in sheets]
    far += [(name, a) for name, text in texts for a in in_styles(text) if is_elsewhere(a)]
    assert far == []


def test_what_pages_fetch_is_there(site):
    """Every file that a page asks for is in the site."""
    missing = [
        (page.name, address)
        for page in site.rglob("*.html")
        if "_static" not in page.parts  # parts of the theme, not pages
        for address in fetched(page).found
        if not is_elsewhere(address)
        and not address.startswith("data:")
        and not (page.parent / re.split(r"[?#]", address)[0]).exists()
    ]
    assert missing == []


def test_mathematics_are_set_by_files_of_the_site(site):
    """The chapter's page loads the site's own MathJax 3, of which only a part is copied."""
    page = fetched(site / "chapters" / "01_pooling" / "chapter.html")
    scripts = [address for address in page.found if "mathjax" in address]
    assert len(scripts) == 1 and "_static/mathjax/tex-mml-chtml.js" in scripts[0]
    folder = site / "_static" / "mathjax"
    assert "3.2.2" in (folder / "tex-mml-chtml.js").read_text(encoding="utf-8")
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 6e6


def test_the_first_page_leads_to_every_chapter(site):
    """index.html leads to the contents, which link each chapter; no source is copied."""
    assert "docs/index.html" in (site / "index.html").read_text(encoding="utf-8")
    contents = (site / "docs" / "index.html").read_text(encoding="utf-8")
    for chapter in sorted((ROOT / "chapters").glob("*/chapter.py")):
        assert f"chapters/{chapter.parent.name}/chapter.html" in contents
    assert not list(site.glob("_sources/**/*.txt"))


def test_the_cache_of_outputs_knows_the_package(tmp_path, monkeypatch):
    """The cache's folder changes with the package, the data and the constraints."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("site_conf", ROOT / "docs" / "conf.py")
    assert spec is not None and spec.loader is not None
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    monkeypatch.setattr(conf, "ROOT", tmp_path)
    names = ["bayesmix/a.py", "data/a.csv", "constraints.txt", "chapters/01_a/expected.json"]
    seen = set()
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    seen.add(conf.code_hash())
    for name in names:
        (tmp_path / name).write_text("2")
        seen.add(conf.code_hash())
    assert len(seen) == len(names) + 1
