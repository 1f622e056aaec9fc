"""Matrix products in compiled graphs without a way through Python, so that their code can be kept.

PyTensor's own product asks Python for the address of a BLAS routine, once a process. Machine code
that does so needs Python objects beside it, which only pickle could keep. Numba's product calls the
same routine by a name that every process knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Apply
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_funcify
from pytensor.tensor.math import Dot


class Product(Op):
    """The product of two matrices of doubles."""

    __props__ = ()

    def make_node(self, *inputs: Any) -> Apply[Any]:
        """The product of two variables."""
        left, right = inputs
        shape = (left.type.shape[0], right.type.shape[1])
        return Apply(self, [left, right], [pt.TensorType("float64", shape=shape)()])

    def perform(self, node: Any, inputs: Sequence[Any], output_storage: Any) -> None:
        """In NumPy, for constants."""
        output_storage[0][0] = inputs[0] @ inputs[1]


@numba_funcify.register(Product)
def _in_numba(op: Any, node: Any, **kwargs: Any) -> Any:
    from numba import njit

    del op, node, kwargs

    @njit
    def product(left: Any, right: Any) -> Any:
        return np.dot(np.ascontiguousarray(left), np.ascontiguousarray(right))

    return product


def with_products(outputs: Sequence[Any]) -> list[Any]:
    """The same outputs, their matrix products written as :class:`Product`."""
    graph = FunctionGraph(outputs=list(outputs), clone=False)
    own = Product()
    for node in graph.toposort():
        if isinstance(node.op, Dot) and all(one.type.dtype == "float64" for one in node.inputs):
            made: Any = own(*node.inputs)
            graph.replace(node.outputs[0], made, import_missing=True)
    return list(graph.outputs)
