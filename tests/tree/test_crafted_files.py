"""Crafted and damaged files: load returns a whole fit, or refuses with words, within seconds."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import crafted_files
import pytest
from small_fits import FORMULA, fitted, from_prior, people

import bayesmix as bm
from bayesmix.errors import FitFileError

SECONDS = 30
"""No file takes longer, on a machine that is busy with other things."""
MEMORY = 1 << 20
"""Kilobytes that a process may grow by, whatever it was given to read."""
TELLING = (
    "a group linked into itself",
    "600 groups within each other",
    "a link to another file",
    "a parameter that is a link",
    "external storage",
    "a virtual dataset of another file",
    "50 kB that expand to 2.4 GB",
    "a parameter of 8 TB",
    "strings that are all one long string",
    "a heap of text without end",
    "a type of its own",
    "a parameter of complex numbers",
    "dimensions that are not there",
    "seed: missing",
    "model: nested 100,000 deep",
    "model: 2 MB long",
    "1e+09 n_components",
    "no parameters",
    "a parameter is missing",
    "a parameter of text",
    "a parameter of one NaN",
    "a parameter of one value fewer",
    "labels of a dimension changed",
    "data changed",
    "position of a column: missing",
    "levels of a column: nested",
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Draws of a hierarchical model, and points of the other families."""
    folder = tmp_path_factory.mktemp("good")
    fits = {
        "draws": from_prior(FORMULA, people()),
        "experts": fitted("MixtureOfExperts", "em"),
        "pieces": fitted("PiecewiseRegression", "em"),
        "network": fitted("MDN", "mle"),
    }
    return [fit.save(folder / f"{name}.nc") for name, fit in fits.items()]


@pytest.mark.parametrize("name", TELLING)
def test_a_crafted_file_is_refused_with_words(name: str, good: list[Path], tmp_path: Path) -> None:
    """The refusal names the file and says what is wrong with it."""
    base = good[3 if "n_components" in name else 0]
    made = crafted_files.build(name, base, tmp_path)
    with pytest.raises(FitFileError, match=crafted_files.CASES[name][1]) as refusal:
        bm.load(made)
    assert str(made) in str(refusal.value)


TRY = f"""
import resource, sys, time, warnings
import bayesmix as bm
from bayesmix.errors import BayesmixError, FitFileError

warnings.simplefilter("ignore")

def answers(path):
    try:
        found = bm.load(path)
    except FitFileError as error:
        return f"refused: {{' '.join(str(error).split())[:200]}}"
    for ask in ("summary", "diagnose", "predict", "log_density", "sample", "__repr__"):
        try:
            getattr(found, ask)()
        except BayesmixError:
            pass
        except Exception as error:
            return f"raw: {{ask}}: {{type(error).__name__}}: {{' '.join(str(error).split())[:200]}}"
    return "loaded"

grown = 0
for path in sys.stdin:
    path, start = path.rstrip(), time.perf_counter()
    try:
        said = answers(path)
    except Exception as error:
        said = f"raw: load: {{type(error).__name__}}: {{' '.join(str(error).split())[:200]}}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = grown or peak
    if peak - grown > {MEMORY}:
        said = f"raw: {{peak - grown:,}} kB of memory"
    print(f"{{time.perf_counter() - start:.2f}}\\t{{said}}", flush=True)
"""


def tried(files: list[Path]) -> list[tuple[float, str]]:
    """Seconds and outcome of each file, in a process that is watched: a crash or a hang is seen."""
    home = str(Path(bm.__file__).parents[1])
    found: list[tuple[float, str]] = []
    while len(found) < len(files):
        run = [sys.executable, "-c", f"import sys; sys.path[:0] = [{home!r}]\n{TRY}"]
        rest = files[len(found) :]
        with subprocess.Popen(run, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for path in rest:
                process.stdin.write(f"{path}\n")
                process.stdin.flush()
                watch = threading.Timer(4 * SECONDS, process.kill)
                watch.start()
                line = process.stdout.readline()
                watch.cancel()
                if not line:
                    found.append((0.0, f"crashed or hung: {process.wait()}"))
                    break
                seconds, said = line.rstrip("\n").split("\t")
                found.append((float(seconds), said))
            process.stdin.close()
    return found


def report(files: dict[str, Path]) -> dict[str, str]:
    """What went wrong, by the name of the file; a first file, good and untold, warms up."""
    outcomes = tried(list(files.values()))
    return {
        name: f"{said} ({seconds} s)"
        for name, (seconds, said) in zip(files, outcomes, strict=True)
        if seconds > SECONDS or not said.startswith(("refused", "loaded"))
    }


@pytest.mark.slow
def test_every_crafted_file(good: list[Path], tmp_path: Path) -> None:
    """Each of more than 150 files, made of one fit after the other, ends in an error with words."""
    made = {"good": good[0]}
    for i, name in enumerate(crafted_files.CASES):
        base = good[i % len(good)]
        made[f"{name}, of {base.name}"] = crafted_files.build(name, base, tmp_path)
    assert len(made) > 150
    assert report(made) == {}


@pytest.mark.slow
def test_every_accident(good: list[Path], tmp_path: Path) -> None:
    """Files with 300 kinds of flips and cuts load whole or are refused; nothing crashes."""
    made = {"good": good[0]}
    for path in crafted_files.accidents(good, tmp_path, 300, seed=20):
        made[path.name] = path
    assert report(made) == {}
