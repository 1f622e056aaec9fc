"""The book's site: Sphinx over the repository, with chapters/*/chapter.py executed and cached."""

from __future__ import annotations

import hashlib
import platform
import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def code_hash() -> str:
    """A name for everything that a chapter's output depends on but its own cells.

    MyST-NB's cache looks at the cells alone: with a changed package it would show old output.
    """
    found = hashlib.sha256(platform.python_version().encode())
    paths = [*ROOT.glob("bayesmix/**/*.py"), *ROOT.glob("data/*"), ROOT / "constraints.txt"]
    for path in sorted([*paths, *ROOT.glob("chapters/*/expected.json")]):
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


project = "bayesmix"
author = "The bayesmix authors"
copyright = "the bayesmix authors"
extensions = ["myst_nb", "sphinx.ext.mathjax"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/decisions/*.md",
    "chapters/*/chapter.py",
    "README.md",
    "CONTRIBUTING.md",
]
exclude_patterns = ["**/_*", "build/**", ".venv*/**"]

nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "book-cache" / code_hash())
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

# Files of this site, not of another host. MathJax 3: 4 fetches its fonts.
mathjax_path = "mathjax/tex-mml-chtml.js"
mathjax_options = {"defer": "defer"}

html_theme = "sphinx_book_theme"
html_title = "bayesmix"
html_favicon = "favicon.svg"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # from file:// each excerpt is a refused request
html_context = {"default_mode": "auto"}
html_theme_options: dict[str, Any] = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navbar_persistent": [],
}


def _copy_mathjax(app: Any, error: Exception | None) -> None:
    """Put the part of MathJax that pages use beside them: 4 MB of 47."""
    if error is not None or app.builder.format != "html":
        return
    installed = distribution("sphinx-mathjax-offline")
    main = next(file for file in installed.files or [] if file.name == "tex-mml-chtml.js")
    whole = Path(str(main.locate())).parent
    target = Path(app.outdir) / "_static" / "mathjax"
    shutil.copytree(whole / "input", target / "input", dirs_exist_ok=True)
    shutil.copytree(whole / "output" / "chtml", target / "output" / "chtml", dirs_exist_ok=True)
    shutil.copy2(whole / "tex-mml-chtml.js", target)


def _first_page(app: Any, error: Exception | None) -> None:
    """Let the folder's own index.html lead to the first page."""
    if error is None and app.builder.format == "html":
        to = "docs/index.html"
        head = f'<meta charset="utf-8"><meta http-equiv="refresh" content="0; url={to}">'
        text = f'<!doctype html>{head}<title>bayesmix</title><a href="{to}">bayesmix</a>\n'
        (Path(app.outdir) / "index.html").write_text(text, encoding="utf-8")


def setup(app: Any) -> None:
    """Connect what happens after a build."""
    app.connect("build-finished", _copy_mathjax)
    app.connect("build-finished", _first_page)
