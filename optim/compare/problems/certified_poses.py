"""The least cost of a pose graph by Newton's method on sparse matrices, with its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import SuperLU, splu

from torchmanifold.optim.compare.problems.g2o import PoseGraph
from torchmanifold.optim.compare.problems.rotations import nearest_rotations

__all__ = ["Form", "chordal", "form_of", "is_certified", "minimum"]

# Skew matrices, a basis in two and three dimensions.
SKEW = {
    2: np.array([[[0.0, 1], [-1, 0]]]),
    3: np.array(
        [[[0.0, 1, 0], [-1, 0, 0], [0, 0, 0]], [[0, 0, 1], [0, 0, 0], [-1, 0, 0]],
         [[0, 0, 0], [0, 0, 1], [0, -1, 0]]]
    ),
}  # fmt: skip


def _factored(a: sparse.spmatrix) -> SuperLU:
    """The factors of a symmetric matrix, without pivoting."""
    return splu(
        sparse.csc_matrix(a),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )


@dataclass(frozen=True)
class Form:
    """The cost of poses as a sum of squares, linear in the stacked inverse rotations `y`.

    The residuals are `turns y` and `moves t + shifts y`. The first pose is at 0, and `t` are the
    best positions of all other poses for the given `y`.
    """

    turns: sparse.spmatrix
    moves: sparse.spmatrix
    shifts: sparse.spmatrix

    @cached_property
    def _positions(self) -> SuperLU:
        return _factored(self.moves.T @ self.moves)

    @cached_property
    def whole(self) -> sparse.spmatrix:
        """The cost as a quadratic form of `[t; y]`."""
        rows = sparse.bmat([[None, self.turns], [self.moves, self.shifts]]).tocsr()
        return rows.T @ rows

    def residuals(self, y: np.ndarray) -> np.ndarray:
        """The residuals of `y`, shape `(n d, d)`: of rotations, and below them of positions."""
        shift = self.shifts @ y
        return np.concatenate([self.turns @ y, shift - self._explained(shift)])

    def adjoint(self, r: np.ndarray) -> np.ndarray:
        """The adjoint of `residuals`."""
        split = self.turns.shape[0]
        return self.turns.T @ r[:split] + self.shifts.T @ (r[split:] - self._explained(r[split:]))

    def _explained(self, shift: np.ndarray) -> np.ndarray:
        return self.moves @ self._positions.solve(self.moves.T @ shift)

    def gradient(self, y: np.ndarray) -> np.ndarray:
        """The gradient of half the cost, in the shape of `y`."""
        return self.adjoint(self.residuals(y.reshape(-1, y.shape[-1]))).reshape(y.shape)


def _sparse(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> sparse.spmatrix:
    rows, columns, values = (a.ravel() for a in np.broadcast_arrays(rows, columns, values))
    return sparse.coo_matrix((values, (rows, columns)), shape).tocsr()


def form_of(graph: PoseGraph) -> Form:
    r"""The form of `sum_ij kappa ||R_j - R_i r_ij||^2 + tau ||t_j - t_i - R_i s_ij||^2`.

    Raises:
        ValueError: if the graph is not connected.
    """
    m, n, d = len(graph.tails), graph.n, graph.d
    joined = sparse.coo_matrix((np.ones(m), (graph.tails, graph.heads)), (n, n))
    if (parts := connected_components(joined, directed=False)[0]) > 1:
        raise ValueError(f"the pose graph falls into {parts} parts; give each in a file of its own")
    # Each row is a residual: m d rows of rotations, and m rows of translations.
    edges = np.arange(m)
    tails, heads = (end[:, None] * d + np.arange(d) for end in (graph.tails, graph.heads))
    rows, root = edges[:, None] * d + np.arange(d), np.sqrt(graph.kappa)[:, None, None]
    back = root * graph.rotations.swapaxes(1, 2)
    turns = _sparse(rows, heads, root[:, 0], (m * d, n * d))
    turns -= _sparse(rows[:, :, None], tails[:, None], back, (m * d, n * d))
    root = np.sqrt(graph.tau)
    moves = _sparse(edges, graph.heads, root, (m, n)) - _sparse(edges, graph.tails, root, (m, n))
    shifts = -_sparse(edges[:, None], tails, root[:, None] * graph.translations, (m, n * d))
    return Form(turns, moves[:, 1:], shifts)


def chordal(form: Form, d: int) -> np.ndarray:
    """The rotations nearest to the matrices of least cost whose first one is the identity.

    Returns:
        The inverse rotations, `(n, d, d)`.

    Source: Carlone, Tron, Daniilidis & Dellaert, Initialization techniques for 3D SLAM, ICRA 2015.
    """
    # Positions are unknowns too, and come first.
    whole, first = form.whole.tocsc(), form.moves.shape[1]
    free = np.r_[:first, first + d : whole.shape[0]]
    found = _factored(whole[free][:, free]).solve(-whole[free][:, first : first + d].toarray())
    return nearest_rotations(np.concatenate([np.eye(d), found[first:]]).reshape(-1, d, d))


def _slack(form: Form, y: np.ndarray) -> sparse.spmatrix:
    """`form.whole - diag(0, L)`, where `L_i` is the symmetric part of `gradient_i y_i'`."""
    n, d, _ = y.shape
    blocks = form.gradient(y) @ y.swapaxes(1, 2)
    blocks = (blocks + blocks.swapaxes(1, 2)) / 2
    multipliers = sparse.bsr_matrix((blocks, np.arange(n), np.arange(n + 1)))
    none = sparse.csr_matrix((form.moves.shape[1],) * 2)
    return form.whole - sparse.block_diag([none, multipliers], format="csr")


def _newton_step(form: Form, y: np.ndarray, exact: bool) -> np.ndarray:
    """The step of the inverse rotations as skew matrices, `(n, d, d)`; the first one is 0.

    Args:
        form: the cost.
        y: inverse rotations.
        exact: whether to include the curvature of the rotations; otherwise a Gauss-Newton step.
    """
    n, d, _ = y.shape
    k, first = len(SKEW[d]), form.moves.shape[1]
    whole = _slack(form, y) if exact else form.whole
    moved = np.einsum("kab,nbc->nkac", SKEW[d], y)
    rows = first + np.arange(n)[:, None, None] * d + np.arange(d)[:, None]
    columns = np.arange(n)[:, None, None] * k + np.arange(k)
    # The derivative of each column of [t; y] by the coordinates of the skew matrices.
    steps = [
        _sparse(rows, columns, moved[..., c].swapaxes(1, 2), (whole.shape[0], n * k))[:, k:]
        for c in range(d)
    ]
    position = sparse.eye(whole.shape[0], first, format="csr")
    blocks = [[None] * d + [position.T @ whole @ step] for step in steps]
    for c in range(d):
        blocks[c][c] = whole[:first, :first]
    last = [block[-1].T for block in blocks]
    hessian = sparse.bmat([*blocks, [*last, sum(step.T @ whole @ step for step in steps)]])
    gradient = form.gradient(y).reshape(-1, d)
    slope = sum(step[first:].T @ gradient[:, c] for c, step in enumerate(steps))
    found = splu(hessian.tocsc()).solve(np.r_[np.zeros(d * first), -slope])[d * first :]
    return np.einsum("nk,kab->nab", np.r_[np.zeros(k), found].reshape(n, k), SKEW[d])


def minimum(form: Form, d: int, sweeps: int = 50) -> np.ndarray:
    """A stationary point near the chordal solution: Gauss-Newton steps, then Newton steps.

    Returns:
        The inverse rotations, `(n, d, d)`.
    """
    y, size = chordal(form, d), np.inf
    for _ in range(sweeps):
        turn = _newton_step(form, y, exact=size < 1e-2)
        before, size = size, np.abs(turn).max()
        y = nearest_rotations(y + turn @ y)
        if before < 1e-6 and size > before / 2:
            break  # only rounding errors are left
    return y


def is_certified(form: Form, y: np.ndarray, tolerance: float = 1e-8) -> bool:
    """Whether no poses cost less than those of the stationary `y`, up to the relative tolerance.

    The multipliers `L` of `y` have the cost as their trace. If `form.whole - diag(0, L)` is
    positive semidefinite, the cost is nowhere below this trace. A multiple of the identity is added
    that lowers the bound by the tolerance, and then the signs of the pivots decide.

    Source: Rosen, Carlone, Bandeira & Leonard, SE-Sync: a certifiably correct algorithm for
    synchronization over the special Euclidean group, Int. J. Robot. Res. 38, 2019.
    """
    cost = np.square(form.residuals(y.reshape(-1, y.shape[-1]))).sum()
    lift = np.zeros(form.whole.shape[0])
    lift[form.moves.shape[1] :] = tolerance * cost / len(y) / y.shape[-1]
    factors = _factored(_slack(form, y) + sparse.diags(lift))
    unpivoted = np.array_equal(factors.perm_r, factors.perm_c)
    return bool(unpivoted and (factors.U.diagonal() > 0).all())
