"""The sampler on a hundred generated mixtures of experts: one mode, and verdicts that are true."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from census_peers import BUILD, ROOT, machine

REPORT = BUILD / "own_mixtures.json"
COUNT = 100


def line(record: dict[str, Any]) -> str:
    """One problem in one line of text."""
    short = ", ".join(f"{value:.1f}" for value in record["short"])
    how = "jumps" if record["jumps"] else f"depth {record['depth']:.1f}"
    marks = "".join("." if record[key] else "X" for key in ("settled", "mode", "truthful"))
    failed = [name for name, (level, _) in record["findings"].items() if level == "fail"]
    return (
        f"{record['number']:3d} {marks} {record['family']:8s} K={record['n_experts']} "
        f"n={record['n']} p={record['predictors']} rhat {record['rhat']:.3f} "
        f"ess {record['ess']:.0f} div {record['divergent']} {how} "
        f"chains [{short}] {record['wall']:.1f} s {' '.join(failed)}"
    )


def numbers(text: str) -> list[int]:
    """Problems chosen by slices and single numbers with commas between."""
    found = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        found += range(int(first), int(last or int(first) + 1))
    return found


def main() -> None:
    """Fit them one after the other; what has been measured already is not fitted again."""
    from generated_mixtures import measure

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=f"0:{COUNT}", help="such as 0:25,31,40:45")
    parser.add_argument("--again", action="store_true", help="also those measured already")
    chosen = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"machine": machine(), "problems": {}}
    if REPORT.exists():
        report = json.loads(REPORT.read_text())
    for number in numbers(chosen.only):
        if str(number) in report["problems"] and not chosen.again:
            continue
        report["problems"][str(number)] = record = measure(number)
        REPORT.write_text(json.dumps(report, indent=1))
        print(line(record), flush=True)
    counts = {
        key: sum(record[key] for record in report["problems"].values())
        for key in ("settled", "mode", "truthful")
    }
    print(f"of {len(report['problems'])}: {counts}")


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    main()
