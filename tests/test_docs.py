"""The code in the documents runs as it is printed, and their links lead somewhere."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import bayesmix as bm
from bayesmix import workflow
from bayesmix.chains import statistics
from bayesmix.cli.app import app

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@dataclass(frozen=True)
class Block:
    """A fenced Python block: the file that it says it is, and the line it starts at."""

    code: str
    line: int

    @property
    def file(self) -> str | None:
        found = re.match(r"# ((?:bayesmix|tests)/[\w/]+\.py)\n", self.code)
        return found[1] if found else None


def blocks(page: Path) -> list[Block]:
    """Every Python block of a page."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(m[1], text.count("\n", 0, m.start(1)) + 1) for m in found]


class Page:
    """A page whose files live in a folder of their own, where the package finds them."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.files = {b.file: b for b in blocks(page) if b.file is not None}
        for name, block in self.files.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(block.code, encoding="utf-8")

    def run(self, code: str, line: int) -> dict[str, Any]:
        """Execute one block; errors name the line of the page."""
        scope: dict[str, Any] = {"__name__": "docs"}
        exec(compile("\n" * (line - 1) + code, str(self.page), "exec"), scope)
        return scope

    def script(self) -> dict[str, Any]:
        """Execute the blocks that are no files, in order, as one script."""
        parts = [b for b in blocks(self.page) if b.file is None]
        text, line = "", 1
        for part in parts:
            text += "\n" * (part.line - line) + part.code
            line = part.line + part.code.count("\n")
        return self.run(text, 1)


def forget_rooms() -> None:
    """Let models and methods be discovered anew."""
    workflow.models.cache_clear()
    workflow.methods_by_class.cache_clear()


@contextmanager
def opened(name: str, folder: Path) -> Iterator[Page]:
    """A page whose files join the rooms ``models`` and ``inference`` inside the block."""
    page = Page(DOCS / name, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAYESMIX_CACHE", str(folder / "cache"))
        for room in ("models", "inference"):
            package = importlib.import_module(f"bayesmix.{room}")
            patch.setattr(package, "__path__", [*package.__path__, str(folder / "bayesmix" / room)])
        importlib.invalidate_caches()
        forget_rooms()
        yield page
    for file in page.files:
        module = file.removesuffix(".py").replace("/", ".")
        if module in sys.modules:
            package, _, short = module.rpartition(".")
            delattr(sys.modules[package], short)
            del sys.modules[module]
    forget_rooms()


@pytest.fixture(scope="module")
def model_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, dict[str, Any]]]:
    """adding-a-model.md, and the names that its script made."""
    with opened("adding-a-model.md", tmp_path_factory.mktemp("model")) as page:
        yield page, page.script()


@pytest.fixture(scope="module")
def method_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, dict[str, Any]]]:
    """adding-a-method.md, and the names that its script made."""
    with opened("adding-a-method.md", tmp_path_factory.mktemp("method")) as page:
        yield page, page.script()


def mean_and_error(draws: Any) -> tuple[float, float]:
    """The mean of chains (chain, draw) and its Monte Carlo standard error."""
    draws = np.asarray(draws)
    size = statistics.ess_mean(draws[..., None])[0]
    return float(draws.mean()), float(draws.std() / np.sqrt(size))


def test_model_example_is_discovered(model_page):
    """The model of adding-a-model.md is found, with all methods that its capabilities allow."""
    _, scope = model_page
    assert workflow.models()["PoissonMean"] is type(scope["model"])
    assert bm.methods_for(scope["model"]) == [
        "advi",
        "dadvi",
        "ensemble",
        "laplace",
        "map",
        "mle",
        "nuts",
        "prior",
    ]
    assert list(scope["fit"].summary().index) == ["log_mean[Mon]", "log_mean[Tue]"]
    assert scope["fit"].diagnose().ok


def test_model_example_likelihood_has_the_known_maximum(model_page):
    """The estimate is the log of each mean count, its error one over the root of the total."""
    tree = model_page[1]["point"].tree
    estimate = tree["estimate"]["log_mean"].to_numpy()
    np.testing.assert_allclose(estimate, np.log([8 / 2, 28 / 3]), rtol=1e-6)
    errors = tree["standard_error"]["log_mean"].to_numpy()
    np.testing.assert_allclose(errors, 1 / np.sqrt([8, 28]), rtol=1e-4)


def test_model_example_posterior_equals_quadrature(model_page):
    """The posterior mean of each log mean is that of one-dimensional quadrature."""
    grid = np.linspace(-3, 5, 20_001)
    for i, (total, n) in enumerate([(8, 2), (28, 3)]):
        log_density = total * grid - n * np.exp(grid) - grid**2 / 50
        weight = np.exp(log_density - log_density.max())
        draws = model_page[1]["fit"].tree["posterior"]["log_mean"][..., i]
        mean, error = mean_and_error(draws)
        assert abs(mean - (weight * grid).sum() / weight.sum()) < 4 * error


def test_model_example_reads_back(model_page, tmp_path):
    """A fit of the example model is saved, loaded, and predicts the same numbers."""
    fit = model_page[1]["fit"]
    again = bm.load(fit.save(tmp_path / "calls.nc"))
    assert again.model == fit.model
    assert again.predict({"day": ["Tue"]}).identical(fit.predict({"day": ["Tue"]}))


def test_model_example_is_fitted_from_the_command_line(model_page, tmp_path, monkeypatch):
    """The command that adding-a-model.md prints fits the same model."""
    monkeypatch.chdir(tmp_path)
    Path("calls.csv").write_text("day,calls\nMon,3\nMon,5\nTue,11\nTue,8\nTue,9\n")
    text = model_page[0].page.read_text(encoding="utf-8").replace("\n", " ")
    command = re.search(r"`bayesmix (fit calls.csv [^`]+)`", text)[1].split()
    result = CliRunner().invoke(app, [*command, "--method", "mle"])
    assert result.exit_code == 0, result.stderr
    assert "log_mean[Tue]" in result.stdout


def test_model_example_passes_its_own_tests(model_page):
    """The test file in adding-a-model.md passes."""
    page, _ = model_page
    block = page.files["tests/models/test_poisson_mean.py"]
    scope = page.run(block.code, block.line)
    tests = [value for name, value in scope.items() if name.startswith("test_")]
    assert len(tests) == 4
    for test in tests:
        test()


def test_method_example_agrees_with_nuts(method_page):
    """The sampler of adding-a-method.md is discovered and has the means and spreads of NUTS."""
    scope = method_page[1]
    assert workflow.methods()["random-walk"] is type(scope["walk"].method)
    assert scope["walk"].diagnose().ok
    nuts = bm.fit(scope["model"], scope["census"], seed=2)
    for name in ("Intercept", "sex"):
        walked, long = (fit.tree["posterior"][name] for fit in (scope["walk"], nuts))
        centre = long.mean()
        for power in (1, 2):
            mean, error = mean_and_error((walked - centre) ** power)
            expected, other = mean_and_error((long - centre) ** power)
            assert abs(mean - expected) < 4 * np.hypot(error, other)


def test_method_example_shows_a_failure(method_page):
    """With the step that adding-a-method.md calls too large, the diagnostics refuse the draws."""
    assert not method_page[1]["stuck"].diagnose().ok


@pytest.mark.parametrize("name", ["adding-a-model.md", "adding-a-method.md"])
def test_files_in_the_documents_meet_the_style(name, tmp_path, repository):
    """Files that a reader copies out of the documents pass ruff with this project's rules."""
    page = Page(DOCS / name, tmp_path)
    config = ["--config", str(repository / "pyproject.toml")]
    # The files lie apart from the package that they are written for.
    config += ["--config", "lint.isort.known-first-party=['bayesmix']"]
    check = [sys.executable, "-m", "ruff", "check", *config, str(tmp_path)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert page.files
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Every relative link of a page, and every path of this project that it names, exists."""
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    named = set(re.findall(r"`((?:bayesmix|docs|tests|data)/[\w/.-]+)`", text))
    made = {block.file for block in blocks(page)} | {"tests/inference/test_random_walk.py"}
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in named - made if not (DOCS.parent / path).exists()]
    assert missing == []
