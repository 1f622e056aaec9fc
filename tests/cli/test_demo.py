"""The demo: its answers, its report and its files."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import bayesmix as bm
from bayesmix import plots
from bayesmix.chains import statistics
from bayesmix.cli import demo


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder and the printed report of one demo with few draws."""
    out = tmp_path_factory.mktemp("demo") / "build" / "demo"
    report = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(report):
        patch.setenv("COLUMNS", "100")
        demo.main(out, seed=1, draws=300)
    return out, report.getvalue()


@pytest.fixture(scope="module")
def fit():
    """The demo's model with default settings."""
    return bm.fit(bm.BinomialGLM(demo.FORMULA, demo.PRIORS), bm.datasets.census(), seed=1)


def effective(fit, samples):
    """Effective number of draws behind a mean of values by sample."""
    by_chain = np.asarray(samples, dtype=float).reshape(fit.tree["posterior"].sizes["chain"], -1)
    return statistics.ess_mean(by_chain[..., None])[0]


def test_share_of_bachelors_above_professional_school(fit):
    """0.832, from 40,000 draws of independent code (REFERENCE, section 2), within 4 MCSE."""
    share = demo.answers(fit).share
    men = {"sex": [1, 1], "edu": ["Bachelors", "Prof School"]}
    p = fit.curves(men)["probability"].to_numpy()
    size = effective(fit, p[:, 0] > p[:, 1])
    assert abs(share - 0.832) < 4 * np.sqrt(0.832 * 0.168 / size)


def test_number_of_women_with_a_doctorate(fit):
    """Mean 44.5, sd 5.6, 90 % interval 35 to 54 (REFERENCE, section 2), within 4 MCSE."""
    found = demo.answers(fit)
    people = {"sex": [0], "edu": ["Doctorate"], "total": [86]}
    size = effective(fit, fit.curves(people)["probability"])
    assert abs(found.mean - 44.5) < 0.05 + 4 * 5.6 / np.sqrt(size)
    assert abs(found.sd - 5.6) < 0.05 + 4 * 5.6 / np.sqrt(2 * size)
    assert abs(found.low - 35) <= 1
    assert abs(found.high - 54) <= 1
    assert found.observed == 50


def test_answers_are_of_draws_and_not_of_means(fit):
    """The share is strictly between 0 and 1, though the mean of one probability is higher."""
    found = demo.answers(fit)
    assert found.bachelors > found.prof_school
    assert 0 < found.share < 1


def test_report_says_what_was_found(shown):
    """Summary with education names, the verdict, and both answers, as the saved fit has them."""
    out, report = shown
    found = bm.load(out / "census.nc")
    flat = " ".join(report.split())
    for level in found.data["edu"].cat.categories:
        assert f"sex|edu[{level}]" in report
    row = found.summary().loc["1|edu[Some HS]"]
    assert re.search(rf"1\|edu\[Some HS\] +{row['mean']:.3f} +{row['sd']:.3f} ", report)
    assert found.diagnose().verdict in flat
    answers = demo.answers(found)
    assert f"With probability {answers.share:.3f}, the share of posterior draws" in flat
    assert f"About {answers.mean:.1f} (sd {answers.sd:.1f})" in flat


def test_report_keeps_to_the_width_and_reads_without_markup(shown):
    """No line runs over, and no markup is left in the text."""
    report = shown[1]
    assert max(len(line) for line in report.splitlines()) <= 100
    assert not re.search(r"\[/|\[bold|\[dim|\\\[", report)


def test_every_file_is_listed_with_what_it_shows(shown):
    """The folder holds the fit and the figures, and the report has one line for each."""
    out, report = shown
    files = {path.name for path in out.iterdir()}
    assert files == {"census.nc", *(f"{picture.file}.png" for picture in demo.pictures())}
    for picture in demo.pictures():
        assert re.search(rf"^{picture.file}\.png +{re.escape(picture.shows)}", report, re.MULTILINE)
        assert (out / f"{picture.file}.png").read_bytes().startswith(b"\x89PNG")


def test_every_plot_that_suits_the_fit_is_drawn():
    """All public plots but those of optimisers and of mixtures, which the census fit is not.

    Nor the PIT, which is for measured targets: 14 rows of counts fill no histogram.
    """
    drawn = {picture.file for picture in demo.pictures()}
    mixtures = {"experts", "component_curves", "predictive", "conditional_density"}
    mixtures |= {"training", "mean_curves", "coverage"}  # of networks, and of measured targets
    mixtures |= {"pooling", "predictive_count"}  # of several fits, and of a question of their own
    assert set(plots.__all__) - {"objective", "residual_pit"} - mixtures <= drawn


def test_report_says_how_long_each_stage_took(shown):
    """Each stage has its seconds, and they add up to the last line."""
    times = shown[1].split("Time ─")[1]
    seconds = [float(value) for value in re.findall(r" (\d+\.\d) s\b", times)]
    assert len(seconds) == 7
    assert sum(seconds[:-1]) == pytest.approx(seconds[-1], abs=0.05 * len(seconds))
    assert "compiled" in times


def test_demo_knows_whether_it_compiled(tmp_path, monkeypatch):
    """A model that needs code of its own is compiled; the same again is not."""
    monkeypatch.setenv("BAYESMIX_CACHE", str(tmp_path))
    model = bm.BinomialGLM("p(low, total) ~ 1", {"Intercept": bm.HalfNormal(2)})
    method = bm.NUTS(draws=50, tune=50, chains=1)
    data = bm.datasets.census()
    assert [demo._fitted(model, data, method, 1)[1] for _ in range(2)] == [True, False]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    """An output folder under a file: status 2 and one sentence, before anything is fitted."""
    (tmp_path / "file").write_text("")
    app = typer.Typer()
    app.command()(demo.main)
    result = CliRunner().invoke(app, ["--out", str(tmp_path / "file" / "demo")])
    assert result.exit_code == 2
    assert re.match(r"error: cannot write into [^\n]+\n\Z", result.stderr)
    assert result.stdout == ""
