"""Data of others: published splits, and the sets of a published table of held-out likelihoods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "own"
SPLITS = range(5)
SETS = ("bostonHousing", "concrete", "energy", "yacht", "wine-quality-red", "power-plant")
TABLE = ("iris", "wine", "breast cancer", "digits", "california", "diabetes")


@dataclass(frozen=True)
class Task:
    """Rows to train on, rows to be scored, and which columns are which."""

    train: pd.DataFrame
    test: pd.DataFrame
    inputs: tuple[str, ...]
    targets: tuple[str, ...]


def folder(*parts: str) -> Path:
    """A place in the data of others, which are not part of this project."""
    found = SHARED.joinpath(*parts)
    if not found.exists():
        raise SystemExit(
            f"own-data benchmarks read {found}, which is not there: put the data sets of others "
            "beside the checkout, in shared/data/own"
        )
    return found


def published_split(name: str, split: int) -> Task:
    """A set of Hernandez-Lobato & Adams (2015), arXiv:1502.05336, in one of its splits."""
    home = folder("uci", name)
    rows = np.loadtxt(home / "data.txt")
    inputs = np.loadtxt(home / "index_features.txt").astype(int)
    target = int(np.loadtxt(home / "index_target.txt"))
    held = np.isin(np.arange(len(rows)), np.loadtxt(home / f"index_test_{split}.txt").astype(int))
    return _task(rows[:, inputs], rows[:, [target]], held)


def published_table(name: str) -> Task:
    """A set of cgmm's table: 30 % test, predictors standardised over all rows, as published."""
    from sklearn.model_selection import train_test_split

    inputs, targets = _california() if name == "california" else _of_scikit_learn(name)
    wide = inputs.std(axis=0)
    inputs = (inputs - inputs.mean(axis=0)) / np.where(wide > 0, wide, 1.0)
    _, test = train_test_split(np.arange(len(inputs)), test_size=0.3, random_state=42)
    return _task(inputs, targets, np.isin(np.arange(len(inputs)), test))


def _task(inputs: np.ndarray, targets: np.ndarray, held: np.ndarray) -> Task:
    names = tuple(f"x{i}" for i in range(inputs.shape[1]))
    outputs = tuple(f"y{i}" for i in range(targets.shape[1]))
    table = pd.DataFrame(np.column_stack([inputs, targets]), columns=[*names, *outputs])
    train, test = (table[rows].reset_index(drop=True) for rows in (~held, held))
    return Task(train, test, names, outputs)


def _of_scikit_learn(name: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import datasets
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    loaders = {"breast cancer": "load_breast_cancer"}
    data, target = getattr(datasets, loaders.get(name, f"load_{name}"))(return_X_y=True)
    if name == "diabetes":
        return data[:, 1:], target[:, None].astype(float)
    classes = (target[:, None] == np.unique(target)).astype(float)
    if name == "digits":
        scaled = StandardScaler().fit_transform(data)
        return classes, PCA(n_components=8, random_state=42).fit_transform(scaled)
    first = 2 if name == "iris" else 3
    return np.column_stack([data[:, first:], classes]), data[:, :first]


def _california() -> tuple[np.ndarray, np.ndarray]:
    homes = pd.read_csv(folder("california.csv")).drop(columns="ocean_proximity").dropna()
    homes = homes.astype(float)
    a_household = homes[["total_rooms", "total_bedrooms", "population"]].div(
        homes["households"], axis=0
    )
    inputs = np.column_stack(
        [homes["housing_median_age"], a_household["total_rooms"], a_household["total_bedrooms"],
         homes["population"], a_household["population"], homes["latitude"], homes["longitude"]]
    )  # fmt: skip
    return inputs, homes[["median_house_value"]].to_numpy() / 1e5
