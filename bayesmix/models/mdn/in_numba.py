"""The log joint density of a mixture density network and its gradient, as one compiled loop.

The same equation as :mod:`bayesmix.models.mdn.equation` and PyMC's graph (tests hold them
together): rows in blocks that stay in the cache, units outside, rows inside.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayesmix.compiled import vector
from bayesmix.protocols import Array

TANH, RELU, SIGMOID, SOFTPLUS = 0, 1, 2, 3
_BLOCK = 128
_STRICT = {"nsz", "contract", "arcp"}
_RELAXED = {*_STRICT, "reassoc"}


@njit(fastmath=_RELAXED, error_model="numpy")
def _affine(theta: Array, at: int, rows: int, wide: int, below: Array, m: int, out: Array):
    """W h + b: the weights (rows, wide) start at ``at`` in theta, the biases follow."""
    bias = at + rows * wide
    for o in range(rows):
        row = out[o]
        b = theta[bias + o]
        for i in range(m):
            row[i] = b
        for c in range(wide):
            w, h = theta[at + o * wide + c], below[c]
            for i in range(m):
                row[i] += w * h[i]


@njit(fastmath=_RELAXED, error_model="numpy")
def _back(theta, at, rows, wide, below, m, slope, deeper, wanted, out):
    """Slopes of an affine map's outputs to those of its parameters and, if wanted, its inputs."""
    bias = at + rows * wide
    for o in range(rows):
        s = slope[o]
        total = 0.0
        for i in range(m):
            total += s[i]
        out[bias + o] += total
        for c in range(wide):
            h, total = below[c], 0.0
            for i in range(m):
                total += s[i] * h[i]
            out[at + o * wide + c] += total
            if wanted:
                w, d = theta[at + o * wide + c], deeper[c]
                for i in range(m):
                    d[i] += w * s[i]


@njit(fastmath=_STRICT, error_model="numpy")
def _activate(kind: int, m: int, row: Array):
    if kind == TANH:
        for i in range(m):
            row[i] = 1.0 - 2.0 / (vector.exp(2.0 * row[i]) + 1.0)
    elif kind == SIGMOID:
        for i in range(m):
            row[i] = 1.0 / (1.0 + vector.exp(-row[i]))
    elif kind == SOFTPLUS:
        for i in range(m):
            high = max(row[i], 0.0)
            row[i] = high + vector.log(1.0 + vector.exp(row[i] - 2.0 * high))
    else:
        for i in range(m):
            row[i] = row[i] if row[i] > 0.0 or row[i] != row[i] else 0.0


@njit(fastmath=_STRICT, error_model="numpy")
def _through(kind: int, m: int, row: Array, slope: Array):
    """The slope by what went into the activation, from its value and the slope by that."""
    if kind == TANH:
        for i in range(m):
            slope[i] *= 1.0 - row[i] * row[i]
    elif kind == SIGMOID:
        for i in range(m):
            slope[i] *= row[i] * (1.0 - row[i])
    elif kind == SOFTPLUS:
        for i in range(m):
            slope[i] *= 1.0 - vector.exp(-row[i])
    else:
        for i in range(m):
            slope[i] = slope[i] if row[i] > 0.0 else 0.0


@njit(fastmath=_STRICT, error_model="numpy")
def _scales(m: int, floor: float, row: Array, log_row: Array):
    """Log scales to scales, in place, and the logs of those."""
    for i in range(m):
        row[i] = vector.exp(row[i]) + floor
        log_row[i] = vector.log(row[i])


@njit(fastmath=_STRICT, error_model="numpy")
def _standardise(k, m, y, first, d, pairs, loc, tril, scale, log_scale, which, z, joint):
    """z = L^-1 (y - loc) of one component, and its log density added to ``joint``."""
    n_pairs = len(pairs)
    for j in range(d):
        row, s = z[j], scale[which[k, j]]
        mean, target = loc[k * d + j], y[j]
        for i in range(m):
            row[i] = target[first + i] - mean[i]
        for at in range(n_pairs):
            if pairs[at, 0] == j:
                other, entry = z[pairs[at, 1]], tril[k * n_pairs + at]
                for i in range(m):
                    row[i] -= entry[i] * other[i]
        log_s = log_scale[which[k, j]]
        for i in range(m):
            row[i] /= s[i]
            joint[i] -= 0.5 * row[i] * row[i] + log_s[i]


@njit(fastmath=_STRICT, error_model="numpy")
def _slopes(k, m, d, pairs, share, z, scale, which, free, floors, loc, tril, scale_slope):
    """Slopes of one component's log density times its responsibility.

    With q = L^-T z: by loc, q; by an entry of L, q_i z_j; by a scale also -1 / scale. They replace
    loc and tril, and are added to the scales' slopes, which components may share.
    """
    n_pairs = len(pairs)
    for back in range(d):
        j = d - 1 - back
        q = loc[k * d + j]
        for i in range(m):
            q[i] = z[j, i]
        for at in range(n_pairs):
            if pairs[at, 1] == j:
                above, entry = loc[k * d + pairs[at, 0]], tril[k * n_pairs + at]
                for i in range(m):
                    q[i] -= entry[i] * above[i]
        s = scale[which[k, j]]
        for i in range(m):
            q[i] /= s[i]
        if free:
            out, floor = scale_slope[which[k, j]], floors[which[k, j]]
            for i in range(m):
                out[i] += share[i] * (q[i] * z[j, i] - 1.0 / s[i]) * (s[i] - floor)
    for at in range(n_pairs):
        above, other, entry = loc[k * d + pairs[at, 0]], z[pairs[at, 1]], tril[k * n_pairs + at]
        for i in range(m):
            entry[i] = share[i] * above[i] * other[i]
    for j in range(d):
        q = loc[k * d + j]
        for i in range(m):
            q[i] *= share[i]


@njit(error_model="numpy")
def _forward(theta, x, first, m, kind, layers, head_rows, begin, hidden, outs):
    """Rows first, ..., first + m - 1 through all layers to the heads' outputs."""
    depth, at = layers.size - 1, 0
    for c in range(layers[0]):
        for i in range(m):
            hidden[0, c, i] = x[c, first + i]
    for layer in range(depth):
        units, wide = layers[layer + 1], layers[layer]
        _affine(theta, at, units, wide, hidden[layer], m, hidden[layer + 1])
        for unit in range(units):
            _activate(kind, m, hidden[layer + 1, unit])
        at += units * (wide + 1)
    for head in range(4):
        own = outs[begin[head] :]
        _affine(theta, at, head_rows[head], layers[depth], hidden[depth], m, own)
        at += head_rows[head] * (layers[depth] + 1)


@njit(error_model="numpy")
def _backward(theta, m, kind, layers, head_rows, begin, hidden, outs, slope, out):
    """Slopes by the heads' outputs, ``outs``, to slopes by parameters, added to ``out``."""
    depth, at = layers.size - 1, theta.size
    deeper = slope[depth % 2]
    deeper[:] = 0.0
    for back in range(4):
        head = 3 - back
        at -= head_rows[head] * (layers[depth] + 1)
        own = outs[begin[head] :]
        _back(theta, at, head_rows[head], layers[depth], hidden[depth], m, own, deeper,
              depth > 0, out)  # fmt: skip
    for layer in range(depth - 1, -1, -1):
        units, wide = layers[layer + 1], layers[layer]
        own, deeper = slope[(layer + 1) % 2], slope[layer % 2]
        for unit in range(units):
            _through(kind, m, hidden[layer + 1, unit], own[unit])
        deeper[:] = 0.0
        at -= units * (wide + 1)
        _back(theta, at, units, wide, hidden[layer], m, own, deeper, layer > 0, out)


@njit(error_model="numpy")
def log_likelihood(theta, y, x, layers, head_rows, which, pairs, floors, settings, out):
    """Log-likelihood of all rows; its gradient is added to ``out``.

    Parameters
    ----------
    y, x
        Targets (output, obs) and inputs (input, obs).
    layers
        Sizes: inputs, and units of each hidden layer. In theta each layer has its weights, by unit,
        and then its biases; so have the heads.
    head_rows
        Outputs of the heads logit, loc, scale and tril; 0 for a head that there is not.
    which
        The scale of each component and output, (component, output).
    pairs
        Rows and columns of the entries below L's diagonal, (pair, 2).
    floors
        The floor of each scale.
    settings
        The activation's number and the fixed scale.
    """
    n, (n_parts, d) = y.shape[1], which.shape
    kind, n_scales, free = int(settings[0]), floors.size, head_rows[2] > 0
    hidden, slope = (
        np.empty((layers.size, layers.max(), _BLOCK)),
        np.empty((2, layers.max(), _BLOCK)),
    )
    begin = np.array([0, n_parts, n_parts * (1 + d), n_parts * (1 + d) + n_scales])
    outs = np.zeros((begin[3] + head_rows[3], _BLOCK))
    gate, loc = outs[: begin[1]], outs[begin[1] : begin[2]]
    scale, tril = outs[begin[2] : begin[3]], outs[begin[3] :]
    joint, z = np.empty((n_parts, _BLOCK)), np.empty((n_parts, d, _BLOCK))
    log_scale, scale_slope = np.empty((n_scales, _BLOCK)), np.empty((n_scales, _BLOCK))
    total, log_total = np.empty(_BLOCK), np.empty(_BLOCK)
    value = 0.0
    if not free:
        scale[:] = settings[1]
        log_scale[:] = np.log(settings[1])
    for first in range(0, n, _BLOCK):
        m = min(_BLOCK, n - first)
        gate[:] = 0.0
        _forward(theta, x, first, m, kind, layers, head_rows, begin, hidden, outs)
        for row in range(n_scales if free else 0):
            _scales(m, floors[row], scale[row], log_scale[row])
        for k in range(n_parts):
            joint[k, :m] = gate[k, :m]
            _standardise(k, m, y, first, d, pairs, loc, tril, scale, log_scale, which, z[k],
                         joint[k])  # fmt: skip
        vector.shares(joint, m, total, log_total)
        value += log_total[:m].sum()
        vector.shares(gate, m, total, log_total)
        value -= log_total[:m].sum()
        scale_slope[:] = 0.0
        for k in range(n_parts):
            _slopes(k, m, d, pairs, joint[k], z[k], scale, which, free, floors, loc, tril,
                    scale_slope)  # fmt: skip
            for i in range(m):
                gate[k, i] = joint[k, i] - gate[k, i]
        if free:
            scale[:] = scale_slope
        _backward(theta, m, kind, layers, head_rows, begin, hidden, outs, slope, out)
    return value - 0.9189385332046727 * d * n


@njit(error_model="numpy")
def log_joint(theta, y, x, layers, head_rows, which, pairs, floors, settings, prior, units, out):
    """Log-likelihood plus normal log priors; ``out`` takes the gradient.

    ``prior`` holds the priors' means and inverse scales, (2, parameter), and ``settings[2]`` their
    normalising constant. Without it and with inverse scales of zero this is the log-likelihood.
    The network's parameters are ``units[0] * theta + units[1]``.
    """
    value = settings[2]
    raw, slope = np.empty(theta.size), np.zeros(theta.size)
    for j in range(theta.size):
        z = (theta[j] - prior[0, j]) * prior[1, j]
        value -= 0.5 * z * z
        raw[j] = units[0, j] * theta[j] + units[1, j]
    value += log_likelihood(raw, y, x, layers, head_rows, which, pairs, floors, settings, slope)
    for j in range(theta.size):
        z = (theta[j] - prior[0, j]) * prior[1, j]
        out[j] = units[0, j] * slope[j] - z * prior[1, j]
    return value
