"""Kernels: densities written as compiled loops, and the capability to offer one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from bayesmix.protocols import Array, HasPyMC, Params


@dataclass(frozen=True, eq=False)
class Kernel:
    """A log joint density written for numba: ``function(theta, *arrays, gradient) -> value``.

    Parameters
    ----------
    function
        A numba-compiled function; ``gradient`` is an output.
    arrays
        What it reads besides theta, as contiguous arrays.
    variables
        Names and shapes of the free parameters in the order of theta; all are unconstrained. They
        are called as in ``pymc_model``.
    reported
        The reported parameters as a function of the free ones, both by name with one leading
        sample axis; None where they are the same, or where there is an expansion.
    expansion
        A numba-compiled function ``(theta, *arrays, values)`` that writes the reported parameters
        one after the other; None where there is no such function.
    outputs
        Names and shapes of the reported parameters, where there is an expansion.
    initial
        Where a search or a chain starts; None is zero.
    standard
        The coordinates are chosen so that the posterior is nearly a standard normal.
    """

    function: Any
    arrays: tuple[Array, ...]
    variables: tuple[tuple[str, tuple[int, ...]], ...]
    reported: Callable[[Params], dict[str, Array]] | None = None
    expansion: Any = None
    outputs: tuple[tuple[str, tuple[int, ...]], ...] = ()
    initial: Array | None = None
    standard: bool = False


class HasKernel(HasPyMC):
    """Capability: the density that PyMC states, also as a compiled loop, where speed decides."""

    entry: ClassVar[str] = "kernel"

    @abstractmethod
    def kernel(self, data: Any, *, jacobian: bool = True) -> Kernel | None:
        """The same density as ``pymc_model``; None for options that only PyMC serves.

        ``jacobian`` counts the volume of transforms, as a sampler wants and a mode does not.
        """


class HasStandardKernel(HasKernel):
    """Capability: coordinates found from the data, in which a posterior is nearly standard."""

    entry: ClassVar[str] = "standard_kernel"

    @abstractmethod
    def standard_kernel(self, data: Any) -> Kernel | None:
        """The same posterior as :meth:`kernel`; None where its own coordinates shall be used."""
