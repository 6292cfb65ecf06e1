"""The simplex method of Nelder and Mead, for functions without a gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchmanifold.optim.solvers.method import Context
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.parts import Leaves
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Scalar
from torchmanifold.optim.solvers.state import PRECISION, RUNNING, State

__all__ = ["NelderMead"]

# The simplex gets a new base if it is this many times further from it than it is large.
_FAR = 10.0
_LARGEST = 1000


@dataclass(frozen=True)
class _Simplex:
    """A simplex of coordinates at a base point.

    Args:
        base: the tensors of the base point.
        vertices: `(*problems, dim + 1, N)`, coordinates of tangent vectors at the base.
        values: `(*problems, dim + 1)`, from the least to the greatest.
    """

    base: Leaves
    vertices: Tensor
    values: Tensor

    @property
    def size(self) -> Tensor:
        """The largest distance of a vertex from the best one."""
        edges = self.vertices[..., 1:, :] - self.vertices[..., :1, :]
        return torch.linalg.vector_norm(edges, dim=-1).amax(-1)

    def ordered(self) -> _Simplex:
        """The same simplex, its vertices from the least value to the greatest."""
        values, order = torch.sort(self.values, dim=-1, stable=True)
        index = order[..., None].expand(self.vertices.shape)
        return replace(self, vertices=self.vertices.gather(-2, index), values=values)


@dataclass(frozen=True)
class NelderMead:
    """A simplex of points that is reflected, expanded, contracted and shrunk: values alone.

    The vertices are tangent vectors at a base point, and the function is that of their retractions,
    so every manifold can serve. If the simplex has become small beside its distance from the base,
    the best vertex becomes the base. A solver with gradients is faster by orders of magnitude from
    a few dimensions on; this one is for functions that have none, and for at most about 30
    dimensions. `tol` of `minimize` is the size of the simplex at which it stops.

    Args:
        size: the length of the edges of the first simplex at its first vertex, in the metric.

    Source: Nelder & Mead, Comput. J. 7, 1965; Gao & Han, Comput. Optim. Appl. 51, 2012, for the
    coefficients in `dim` dimensions; Dreisigmeyer, Equality constraints, Riemannian manifolds and
    direct search methods, 2006, for the simplex of tangent vectors.
    """

    size: float = 0.2

    order = 0

    def __post_init__(self) -> None:
        """Refuse a simplex without a size."""
        if not self.size > 0:
            raise ValueError(f"NelderMead: size must be positive, got {self.size!r}")

    def begin(self, objective: Objective, point: Point) -> _Simplex:
        """A simplex of one right angle at the first point."""
        space = objective.space
        n, dim = space.size, space.dim
        if n > _LARGEST:
            raise ValueError(
                f"NelderMead: x0 has {n} numbers, at most {_LARGEST} are possible; take a method "
                f"with gradients, as 'lbfgs'"
            )
        front = () if space.single else (space.rows.count,)
        units = torch.eye(n, dtype=space.rows.dtype, device=space.rows.device)
        images = [objective.step(point, unit.expand(*front, n).contiguous())[0] for unit in units]
        basis = torch.linalg.svd(torch.stack(images, -1)).U[..., :dim].mT
        corner = basis.new_zeros((*front, 1, n))
        simplex = _Simplex(
            point.x,
            torch.cat([corner, self.size * basis], dim=-2),
            space.rows.tensor(point.f)[..., None].expand(*front, dim + 1).clone(),
        )
        return self._evaluated(objective, simplex, simplex.values).ordered()

    def step(
        self, objective: Objective, state: State, point: Point, active: Scalar, context: Context
    ) -> tuple[State, Point, Scalar, Scalar]:
        """One reflection, with what follows it."""
        rows, dim = objective.space.rows, objective.space.dim
        simplex: _Simplex = state.memory
        if dim == 0:  # the point is the only one
            still = replace(state, nit=state.nit + 1, step=rows.full(0.0))
            return still, point, rows.full(True), rows.full(False)
        base = Point(simplex.base, None, objective.space.frames(simplex.base))
        least, last = simplex.values[..., 0], simplex.values[..., -1]
        middle = simplex.vertices[..., :-1, :].mean(-2)
        away = middle - simplex.vertices[..., -1, :]
        first = self._value(objective, base, middle + away)
        # Expansion, or a contraction on the better side; none if the reflection is good enough.
        expands, outside = first < least, first < last
        plain = (first >= least) & (first < simplex.values[..., -2])
        grown, shortened = 1 + 2 / dim, 0.75 - 1 / (2 * dim)
        t = torch.where(expands, grown, torch.where(outside, shortened, -shortened)).to(away)
        second = first
        if not bool(plain.all()):
            second = self._value(objective, base, middle + t[..., None] * away)
        bound = torch.where(outside, first, last)
        takes = ~plain & (second < bound) if dim > 1 else ~plain & (second <= bound)
        takes = torch.where(expands, ~plain & (second < first), takes)
        shrinks = ~plain & ~expands & ~takes
        t = torch.where(takes, t, 1.0)
        value = torch.where(takes, second, first)
        moved = middle + t[..., None] * away
        vertices = simplex.vertices.clone()
        vertices[..., -1, :] = torch.where(shrinks[..., None], vertices[..., -1, :], moved)
        values = simplex.values.clone()
        values[..., -1] = torch.where(shrinks, last, value)
        new = replace(simplex, vertices=vertices, values=values)
        if bool(shrinks.any()):
            best = vertices[..., :1, :]
            shrunk = best + (1 - 1 / max(dim, 2)) * (vertices - best)
            shrunk = torch.where(shrinks[..., None, None], shrunk, vertices)
            new = self._evaluated(objective, replace(new, vertices=shrunk), values, shrinks)
        new = new.ordered()
        x, _ = objective.moved(base, new.vertices[..., 0, :])
        new = self._nearer(objective, new, x)
        f, size = rows.scalar(new.values[..., 0]), rows.scalar(new.size)
        scale = rows.norm(objective.space.vector(x))
        lost = size <= torch.finfo(rows.dtype).eps * scale
        state = replace(
            state,
            x=x,
            f=f,
            memory=new,
            nit=state.nit + 1,
            step=size,
            fell=state.f - f,
            verdict=rows.where(lost, PRECISION, RUNNING),
        )
        end = Point(x, f, objective.space.frames(x))
        return state, end, rows.full(True), rows.full(False)

    def _value(self, objective: Objective, base: Point, c: Tensor) -> Tensor:
        """The value of one vertex of each problem; infinite if it is not finite."""
        x, _ = objective.moved(base, c)
        f = objective.space.rows.tensor(objective.value(x).f).to(c)
        return torch.where(torch.isfinite(f), f, torch.inf)

    def _evaluated(
        self,
        objective: Objective,
        simplex: _Simplex,
        values: Tensor,
        changed: Tensor | None = None,
    ) -> _Simplex:
        """The simplex with the values of all vertices but the first, for the problems `changed`."""
        base = Point(simplex.base, None, objective.space.frames(simplex.base))
        values = values.clone()
        for i in range(1, values.shape[-1]):
            f = self._value(objective, base, simplex.vertices[..., i, :])
            values[..., i] = f if changed is None else torch.where(changed, f, values[..., i])
        return replace(simplex, values=values)

    def _nearer(self, objective: Objective, simplex: _Simplex, x: Leaves) -> _Simplex:
        """The simplex with its best vertex `x` as base, if it is far from its own."""
        space = objective.space
        distance = torch.linalg.vector_norm(simplex.vertices[..., 0, :], dim=-1)
        far = distance > _FAR * simplex.size
        if not bool(far.any()):
            return simplex
        edges = simplex.vertices - simplex.vertices[..., :1, :]
        condition = space.rows.scalar(far)
        base = space.rows.merge(condition, x, simplex.base)
        vertices = torch.where(far[..., None, None], edges, simplex.vertices)
        # Tangent vectors at the new base: the parts of the old ones that have one.
        at = Point(base, None, space.frames(base))
        kept = torch.stack([objective.step(at, v)[0] for v in vertices.unbind(-2)], dim=-2)
        vertices = torch.where(far[..., None, None], kept, simplex.vertices)
        moved = _Simplex(base, vertices, simplex.values)
        return self._evaluated(objective, moved, simplex.values, far).ordered()
