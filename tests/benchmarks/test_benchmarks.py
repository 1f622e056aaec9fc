"""The contest's bookkeeping; no test here looks at how long a thing took."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import census_peers
import numpy as np
import peer_table
import pytest
import tournament
from contest import Contestant, Failed, Settings, by_turns, launch, read_draws
from own_mixtures import numbers
from own_page import generated
from peers.contract import CHAINS, QUANTITIES, diagnose, write_draws

pytestmark = pytest.mark.benchmark


def made_up(walls: list[float], ess: float) -> list[dict[str, float]]:
    """Runs of one contestant with the given wall times and least ESS."""
    rest = {"ess_bulk": ess, "ess_tail": ess, "rhat": 1.0, "divergences": 0}
    return [{"wall": wall, "ess_per_second": ess / wall, **rest} for wall in walls]


def settings(folder: Path, **changed: Any) -> Settings:
    """A contest of two rounds after one warm-up."""
    return Settings(
        **{"runs": 2, "warm_ups": 1, "draws": 50, "timeout": 60, "folder": folder} | changed
    )


def script(name: str, code: str) -> Contestant:
    """A contestant that runs a few lines of Python."""
    return Contestant(name, (sys.executable, "-c", code))


def test_ratio_is_taken_round_by_round() -> None:
    """The median of the rounds' ratios is not the ratio of the medians."""
    assert peer_table.ratio([1.0, 4.0, 9.0], [2.0, 2.0, 30.0]) == {
        "median": 0.5,
        "min": 0.3,
        "max": 2.0,
    }


def test_ratio_refuses_unequal_rounds() -> None:
    """A missing round may not shift the pairs."""
    with pytest.raises(ValueError, match="shorter"):
        peer_table.ratio([1.0, 2.0], [1.0])


def test_summary_holds_spreads_and_ratios_of_ours_to_each_peer() -> None:
    """Half the wall time and twice the ESS make four times the ESS per second."""
    runs = {"bayesmix": made_up([1.0, 2.0, 3.0], 800), "peer": made_up([2.0, 4.0, 6.0], 400)}
    table = peer_table.summarise(runs)
    assert table["peer"]["wall"] == {"median": 4.0, "min": 2.0, "max": 6.0}
    assert table["peer"]["ours_over_peer"]["wall"] == {"median": 0.5, "min": 0.5, "max": 0.5}
    assert table["peer"]["ours_over_peer"]["ess_per_second"]["median"] == 4.0
    assert "ours_over_peer" not in table["bayesmix"]


def test_best_peer_is_never_ours() -> None:
    """The yardstick is the best of the others, by median ESS per second."""
    runs = {name: made_up([2.0], ess) for name, ess in (("bayesmix", 900), ("p", 30), ("q", 80))}
    assert peer_table.best_peer(peer_table.summarise(runs)) == "q"
    assert peer_table.best_peer(peer_table.summarise({"bayesmix": runs["bayesmix"]})) is None


def test_absent_contestant_stands_in_the_table() -> None:
    """A peer that could not be measured is named with its reason."""
    table = peer_table.summarise({"bayesmix": made_up([1.0], 10)})
    text = peer_table.render(table, {"numpyro": "no such file"}, {"rstanarm": "another prior"})
    assert "numpyro: absent (no such file)" in text
    assert "note, rstanarm: another prior" in text


def test_extras_are_told_or_named_as_absent() -> None:
    """A spread is a line of seconds, the worst estimate is named, and what failed has a reason."""
    one = peer_table.spread([0.25])
    report = {
        "import": {"seconds": one},
        "second_fit": {"absent": {"bayesmix-again": "broke"}},
        "maximum_likelihood": {
            "bayesmix-mle": {"wall": one},
            "lme4": {"wall": one},
            "ours_over_lme4_wall": peer_table.spread([1.0]),
            "ours_minus_lme4": {"a": 1e-7, "b": -2e-5},
        },
    }
    text = "\n".join(peer_table.render_extras(report))
    assert "import bayesmix (goal 0.25): 0.250 (0.250-0.250) s" in text
    assert "estimates within 2.0e-05" in text
    assert "bayesmix-again: absent (broke)" in text
    assert "second fit" not in text


def test_contestants_take_turns_after_an_uncounted_round(tmp_path: Path) -> None:
    """A B A B A B, new seeds each round, and the first round is not in the result."""
    seen: list[tuple[str, int]] = []

    def measure(contestant: Contestant, seed: int, _: Path) -> dict[str, Any]:
        seen.append((contestant.name, seed))
        return {"seed": seed, "wall": 1.0}

    runs, failures = by_turns(
        [Contestant("A", ()), Contestant("B", ())], settings(tmp_path), measure
    )
    assert [name for name, _ in seen] == ["A", "B"] * 3
    assert len({seed for _, seed in seen}) == 3
    assert runs["A"] == runs["B"] == [{"seed": seed, "wall": 1.0} for _, seed in seen[2::2]]
    assert not failures


def test_a_slow_contestant_is_measured_once(tmp_path: Path) -> None:
    """It has no warm-up and the first round alone; its ratio is to that round's."""
    turn = iter(range(1, 10))

    def measure(contestant: Contestant, *_: Any) -> dict[str, Any]:
        return {"wall": float(next(turn))}

    both = [Contestant("A", ()), Contestant("B", (), slow=True)]
    runs, _ = by_turns(both, settings(tmp_path), measure)
    assert [run["wall"] for run in runs["A"]] == [2.0, 4.0]
    assert [run["wall"] for run in runs["B"]] == [3.0]
    assert tournament.ratios(runs, "A", "wall") == {"A": [1.0] * 3, "B": [1.5] * 3}
    assert tournament.ratios(runs, "C", "wall") == {}


def test_failed_contestant_leaves_the_contest_with_its_reason(tmp_path: Path) -> None:
    """One that fails in a counted round has no runs at all; the others go on."""
    calls: list[str] = []

    def measure(contestant: Contestant, seed: int, _: Path) -> dict[str, Any]:
        calls.append(contestant.name)
        if contestant.name == "A" and calls.count("A") == 2:
            raise Failed("broke")
        return {"wall": 1.0}

    runs, failures = by_turns(
        [Contestant("A", ()), Contestant("B", ())], settings(tmp_path), measure
    )
    assert failures == {"A": "broke"}
    assert list(runs) == ["B"]
    assert calls.count("A") == 2


def test_launch_returns_what_was_said(tmp_path: Path) -> None:
    """The DIAGNOSED line's numbers come back with the clock's, whatever else is printed."""
    code = "print('hello'); print('DIAGNOSED {\"divergences\": 3}'); print('bye')"
    said = launch(script("A", code), 1, tmp_path / "a.csv", settings(tmp_path))
    assert said["divergences"] == 3
    assert said["wall"] > 0


@pytest.mark.parametrize(
    ("contestant", "words"),
    [
        (Contestant("A", ("/nowhere/python",)), "nowhere"),
        (script("A", "import no_such_peer"), "no_such_peer"),
        (script("A", "print('DIAGNOSED {}'); raise SystemExit(2)"), "exit status 2"),
        (script("A", "print('fitted')"), "no DIAGNOSED line"),
    ],
    ids=["not installed", "not importable", "fails after its line", "says nothing"],
)
def test_launch_says_why_it_failed(contestant: Contestant, words: str, tmp_path: Path) -> None:
    """The reason is the process's own last words where it has any."""
    with pytest.raises(Failed, match=words):
        launch(contestant, 1, tmp_path / "a.csv", settings(tmp_path))


def test_launch_kills_what_runs_too_long(tmp_path: Path) -> None:
    """A contestant that hangs, workers and all, is ended and reported."""
    code = (
        "import subprocess as s, sys; s.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    )
    with pytest.raises(Failed, match="exit status -9"):
        launch(script("A", code), 1, tmp_path / "a.csv", settings(tmp_path, timeout=1))


def test_draws_survive_the_file(tmp_path: Path) -> None:
    """Chains and names come back as they were written."""
    rng = np.random.default_rng(1)
    draws = {name: rng.normal(size=(CHAINS, 30)) for name in QUANTITIES}
    write_draws(str(tmp_path / "a.csv"), draws)
    back = read_draws(tmp_path / "a.csv")
    assert list(back) == list(QUANTITIES)
    for name in QUANTITIES:
        np.testing.assert_allclose(back[name], draws[name], rtol=1e-15)


def test_foreign_draws_are_refused(tmp_path: Path) -> None:
    """Another set of quantities would make another least ESS."""
    (tmp_path / "a.csv").write_text("chain,a\n0,1.0\n")
    with pytest.raises(Failed, match="has columns"):
        read_draws(tmp_path / "a.csv")


def test_diagnosis_finds_the_worst_quantity() -> None:
    """One stuck quantity among eighteen good ones decides R-hat and ESS."""
    rng = np.random.default_rng(2)
    draws = {name: rng.normal(size=(CHAINS, 200)) for name in QUANTITIES}
    good = diagnose(draws)
    assert good["rhat"] < 1.02
    assert min(good["ess_bulk"], good["ess_tail"]) > 300
    draws["slope_6"] = draws["slope_6"] + 3 * np.arange(CHAINS)[:, None]
    bad = diagnose(draws)
    assert bad["rhat"] > 1.5
    assert bad["ess_bulk"] < 20


def test_the_table_can_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tiny contest of bayesmix and nutpie prints a table and writes the same as JSON."""
    options = ["--only", "bayesmix", "nutpie", "--runs", "1", "--warm-ups", "0", "--draws", "60"]
    assert census_peers.main([*options, "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "census_peers.json").read_text())
    assert list(report["table"]) == ["bayesmix", "nutpie"]
    ours, peer = (report["runs"][name][0]["wall"] for name in report["table"])
    ratio = report["table"]["nutpie"]["ours_over_peer"]["wall"]["median"]
    assert ratio == pytest.approx(ours / peer)
    assert {"import", "second_fit", "maximum_likelihood"} <= set(report)
    printed = capsys.readouterr().out
    assert "ours/peer ESS/s" in printed
    assert "best peer by ESS/s: nutpie" in printed


def test_the_page_counts_by_family_and_experts() -> None:
    """One row a group and one of all; a fit that is half right counts in its half."""
    one = {"family": "poisson", "n_experts": 2, "mode": True, "truthful": True, "jumps": False,
           "processor": 1.0}  # fmt: skip
    runs = {str(i): {**one, "number": i, "settled": i == 0, "ok": i == 0} for i in range(2)}
    lines = generated({"problems": runs}).splitlines()
    assert "| poisson | 2 | 2 | 1 | 2 | 1 | 2 | 1 | 0 | 1.0 |" in lines
    assert "| all |  | 2 | 1 | 2 | 1 | 2 | 1 | 0 | 1.0 |" in lines
    assert any(line.startswith("Not measured of 100: 2, 3, 4") for line in lines)


def test_slices_and_numbers_are_read() -> None:
    """Single numbers and first:last, with commas between."""
    assert numbers("3,5:8,1") == [3, 5, 6, 7, 1]
