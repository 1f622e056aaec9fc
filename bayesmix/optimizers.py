"""How a network is trained: optimisers as frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from bayesmix.calls import Named
from bayesmix.errors import SpecError
from bayesmix.specs import check_choice, check_count, check_number


@dataclass(frozen=True)
class EarlyStopping(Named):
    r"""Quasi-Newton steps on all rows, as many as rows held out can bear.

    The rows are cut into folds. For every strength of decay a network is trained without each fold
    and watched on it, step by step; the strength and the number of steps with the lowest NLL over
    all folds are then used on all rows. A straight line with Gaussian noise (least squares) is
    scored on the same folds, and where no network does better, the fit is that line, as a network.

    Parameters
    ----------
    weight_decays
        Strengths to choose from. As the precision :math:`\alpha` of a normal prior on every weight
        (biases are free), in standard units of inputs and targets: with n rows,
        :math:`\alpha / 2n` times the sum of squared weights is added to the mean NLL per row.
    max_iter
        Steps, at most.
    folds
        Parts of the rows, each held out once.
    patience
        Steps without a lower held-out NLL after which a run is given up.

    References
    ----------
    Prechelt (1998), Early stopping - but when?, doi:10.1007/3-540-49430-8_3; Liu & Nocedal (1989),
    doi:10.1007/BF01589116.

    Examples
    --------
    >>> EarlyStopping(weight_decays=10).weight_decays
    (10.0,)
    """

    weight_decays: tuple[float, ...] = (0.5, 5.0, 50.0)
    max_iter: int = 1000
    folds: int = 5
    patience: int = 100

    def __post_init__(self) -> None:
        given = cast("object", self.weight_decays)
        several = isinstance(given, Sequence) and not isinstance(given, str)
        values = tuple(cast("Sequence[object]", given)) if several else (given,)
        if not values:
            raise SpecError("EarlyStopping: weight_decays must hold a number at least, got none")
        checked = (check_number("EarlyStopping", "weight_decays", v, low=0) for v in values)
        object.__setattr__(self, "weight_decays", tuple(checked))
        check_count("EarlyStopping", "max_iter", self.max_iter)
        check_count("EarlyStopping", "folds", self.folds, low=2)
        check_count("EarlyStopping", "patience", self.patience)


@dataclass(frozen=True)
class LBFGS(Named):
    """Full-batch quasi-Newton steps in double precision on a compiled density.

    Restarts take a tenth of the steps each, and the best goes on.

    Parameters
    ----------
    max_iter
        Steps. A network's likelihood has no maximum worth waiting for, so they are a setting.
    weight_decay
        Weight of half the sum of squared weights (biases are free), beside the mean NLL per row;
        on standard units.
    validation
        Share of rows that one more network is trained without, from one start: all rows train the
        fit, and ``diagnose()`` says how such a network does on rows that it has not seen. 0 leaves
        it out.

    References
    ----------
    Liu & Nocedal (1989), doi:10.1007/BF01589116.
    """

    max_iter: int = 500
    weight_decay: float = 0.0
    validation: float = 0.2

    def __post_init__(self) -> None:
        check_count("LBFGS", "max_iter", self.max_iter)
        share = check_number("LBFGS", "validation", self.validation, low=0, high=0.9)
        object.__setattr__(self, "validation", share)
        decay = check_number("LBFGS", "weight_decay", self.weight_decay, low=0)
        object.__setattr__(self, "weight_decay", decay)


@dataclass(frozen=True)
class Adam(Named):
    """Stochastic gradient steps on batches of rows, in PyTorch.

    Parameters
    ----------
    learning_rate
        Of the first step.
    batch_size
        Rows a step looks at; None, or more than there are, takes all.
    epochs
        Passes over the rows.
    schedule
        ``"cosine"`` lets the rate fall to zero over all epochs; ``"constant"``.
    weight_decay
        As AdamW has it: the share of every weight taken off at each step, times the rate.
    clip
        Largest norm of a member's gradient; None leaves it.
    validation
        Share of rows held out, on which training stops early and the best state is chosen; 0 keeps
        all rows for training.
    patience
        Epochs without a better validation NLL after which training stops.
    double
        Double precision; single is faster.

    References
    ----------
    Kingma & Ba (2015), arXiv:1412.6980; Loshchilov & Hutter (2019), arXiv:1711.05101.
    """

    learning_rate: float = 5e-3
    batch_size: int | None = 256
    epochs: int = 200
    schedule: str = "cosine"
    weight_decay: float = 0.0
    clip: float | None = 10.0
    validation: float = 0.1
    patience: int = 30
    double: bool = False

    def __post_init__(self) -> None:
        rate = check_number("Adam", "learning_rate", self.learning_rate, low=0, strict=True)
        object.__setattr__(self, "learning_rate", rate)
        if self.batch_size is not None:
            check_count("Adam", "batch_size", self.batch_size)
        for name in ("epochs", "patience"):
            check_count("Adam", name, getattr(self, name))
        check_choice("Adam", "schedule", self.schedule, ("cosine", "constant"))
        decay = check_number("Adam", "weight_decay", self.weight_decay, low=0)
        object.__setattr__(self, "weight_decay", decay)
        if self.clip is not None:
            clip = check_number("Adam", "clip", self.clip, low=0, strict=True)
            object.__setattr__(self, "clip", clip)
        share = check_number("Adam", "validation", self.validation, low=0, high=0.9)
        object.__setattr__(self, "validation", share)
        if not isinstance(self.double, bool):
            raise SpecError(f"Adam: double must be True or False, got {self.double!r}")
