"""The function of a solver: value, gradient and Hessian-vector products at points, and counts.

Value and gradient share one evaluation: the value is computed with a graph, and the backward pass
follows if the point is accepted. The graph is kept, and gives every Hessian-vector product at the
point by one more backward pass (reverse over reverse).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from torchmanifold.optim.solvers.derivatives import Riemannian
from torchmanifold.optim.solvers.parts import Leaves
from torchmanifold.optim.solvers.point import Counts, Point
from torchmanifold.optim.solvers.rows import Many, Scalar
from torchmanifold.optim.solvers.space import Space

__all__ = ["Objective"]


@dataclass(frozen=True)
class Objective:
    """A function on a space, with its derivatives.

    Args:
        fun: `(x, *args)` to one value for each problem.
        space: the space of `x`.
        args: further arguments; tensors of all problems are cut together with the problems.
        jac: the Euclidean gradient, `(x, *args)`, by default from autograd; True if `fun` returns
            both.
        hessp: the Euclidean Hessian along `v`, `(x, v, *args)`, by default from autograd.
        order: the order of the derivatives that the method needs: 0, 1 or 2.
        residuals: `(x, *args)` to `(*problems, m)`, if `fun` is half the sum of their squares.
            Hessian-vector products are then Gauss-Newton products, `J'J v`.
    """

    fun: Callable[..., Any]
    space: Space
    args: tuple[Any, ...] = ()
    jac: Callable[..., Any] | bool | None = None
    hessp: Callable[..., Any] | str | None = None
    order: int = 1
    residuals: Callable[..., Tensor] | None = None
    counts: Counts = field(default_factory=Counts)

    # -- origins of derivatives -------------------------------------------------------------------

    @property
    def curvature(self) -> str:
        """The origin of Hessian-vector products, in words."""
        if self.residuals is not None:
            return "autograd, Gauss-Newton"
        if self.differences:
            return "differences of gradients"
        source = "hessp" if callable(self.hessp) else "autograd"
        if self.bends:
            return f"{source}, of the pullback by the retraction"
        return source

    @property
    def sources(self) -> str:
        """The origin of derivatives, in words."""
        if self.order == 0:
            return "none"
        gradient = "jac" if self.jac is not None else "autograd"
        return gradient if self.order == 1 else f"{gradient}, products by {self.curvature}"

    @property
    def differences(self) -> bool:
        """Whether Hessian-vector products are differences of gradients."""
        return self.hessp == "differences" or (bool(self.jac) and self.hessp is None)

    @property
    def bends(self) -> bool:
        """Whether a metric has no Hessian, so that the pullback by the retraction replaces it."""
        if isinstance(self.hessp, Riemannian):
            return False
        return not all(part.manifold.offers("hessian") for part in self.space.parts)

    # -- values and gradients ---------------------------------------------------------------------

    def value(self, x: Leaves) -> Point:
        """The point `x` with its value; the gradient can follow without another evaluation."""
        rows, space = self.space.rows, self.space
        self.counts.nfev += 1
        if self.order == 0 or self.jac is not None:
            given = self.fun(space.give_out(x), *self.args)
            egrad: Leaves = ()
            if self.jac is True:
                given, slope = given
                egrad = space.take_in(slope)
            f = given.detach() if isinstance(given, Tensor) else torch.as_tensor(given)
            return Point(x, rows.scalar(f), space.frames(x), egrad=egrad)
        with torch.enable_grad():
            roots = tuple(leaf.detach().requires_grad_() for leaf in x)
            if self.residuals is None:
                r, f = None, self.fun(space.give_out(roots), *self.args)
            else:
                r = self.residuals(space.give_out(roots), *self.args)
                f = r.square().sum(-1) / 2
        return Point(x, rows.scalar(f.detach()), space.frames(x), graph=(roots, f, r))

    def gradient(self, point: Point) -> Point:
        """The point, with its gradient."""
        if point.c is not None:
            return point
        self.counts.njev += 1
        if callable(self.jac):
            point.egrad = self.space.take_in(self.jac(self.space.give_out(point.x), *self.args))
        elif self.jac is None:
            roots, f, r = point.graph
            with torch.enable_grad():
                total = f.sum() if f.ndim else f
                # The value does not depend on the point, because it has no graph.
                slopes = (
                    torch.autograd.grad(
                        total,
                        roots,
                        create_graph=self._twice,
                        retain_graph=self._twice or r is not None,
                        materialize_grads=True,
                    )
                    if f.requires_grad
                    else tuple(map(torch.zeros_like, roots))
                )
            point.graph = (roots, slopes) if self._twice else None
            if r is not None:
                point.graph = (roots, *_adjoint(r, roots))
            point.egrad = tuple(slope.detach() for slope in slopes)
        # A Riemannian gradient stands in for the Euclidean one where only sizes are compared.
        name = "down" if isinstance(self.jac, Riemannian) else "gradient"
        c = self.space.vector(self.space.each(point.frames, name, point.egrad))
        point.c, point.norm = c, self.space.rows.norm(c)
        return point

    @property
    def _twice(self) -> bool:
        return self.order == 2 and self.hessp is None and self.residuals is None

    def measure(self, point: Point) -> Scalar:
        """The norm of the Euclidean gradient, whose rounding error is `eps` times this."""
        if point.size is None:
            point.size = self.space.rows.norm(self.space.vector(point.egrad))
        return point.size

    def evaluate(self, x: Leaves) -> Point:
        """Value and gradient at `x`."""
        point = self.value(x)
        return point if self.order == 0 else self.gradient(point)

    # -- products ---------------------------------------------------------------------------------

    def product(self, point: Point, c: Tensor) -> Tensor:
        """`B* H B c`, the Hessian in coordinates, along any `c`."""
        self.counts.nhev += 1
        space = self.space
        parts = space.tensors(c)
        if self.differences:
            return self._difference(point, c)
        u = space.each(point.frames, "up", parts)
        if self.residuals is not None:
            found = self._gauss_newton(point, u)
            return space.vector(space.each(point.frames, "gradient", found))
        ehess = self._euclidean(point, u)
        if isinstance(self.hessp, Riemannian):
            return space.vector(space.each(point.frames, "down", ehess))
        if not self.bends:
            return space.vector(space.each(point.frames, "hessian", point.egrad, ehess, u))
        bent = self._bent(point, parts)
        given = zip(point.frames, *map(space.grouped, (point.egrad, ehess, u)), bent, strict=True)
        return space.vector(
            space.flat(
                F.hessian(g, h, v) if bend is None else F.gradient(h) + bend
                for F, g, h, v, bend in given
            )
        )

    def _euclidean(self, point: Point, u: Leaves) -> Leaves:
        space = self.space
        if callable(self.hessp):
            x, v = space.give_out(point.x), space.give_out(u)
            return space.take_in(self.hessp(x, v, *self.args))
        roots, slopes = point.graph
        pairs = [(g, v) for g, v in zip(slopes, u, strict=True) if g.requires_grad]
        if not pairs:
            return tuple(map(torch.zeros_like, u))
        outputs, vectors = zip(*pairs, strict=True)
        return torch.autograd.grad(
            outputs, roots, vectors, retain_graph=True, materialize_grads=True
        )

    def _gauss_newton(self, point: Point, u: Leaves) -> Leaves:
        """`J'J u`: the derivative of `J'w` by `w` along `u` is `J u`."""
        roots, r, w, adjoint = point.graph
        pairs = [(g, v) for g, v in zip(adjoint, u, strict=True) if g.requires_grad]
        if not pairs:
            return tuple(map(torch.zeros_like, u))
        outputs, vectors = zip(*pairs, strict=True)
        (moved,) = torch.autograd.grad(outputs, w, vectors, retain_graph=True)
        return torch.autograd.grad(r, roots, moved, retain_graph=True, materialize_grads=True)

    def _bent(self, point: Point, c: Leaves) -> list[Tensor | None]:
        # The second derivative of <egrad, R(x, B c)> at c = 0 is the part of the retraction in the
        # Hessian of the pullback. With a retraction of second order this Hessian is the Riemannian
        # one (Boumal 2023, proposition 5.44).
        if point.bent is None:
            graphs: list[Any] = []
            grouped = map(self.space.grouped, (point.x, point.egrad))
            for part, x, g in zip(self.space.parts, *grouped, strict=True):
                if part.manifold.offers("hessian"):
                    graphs.append(None)
                    continue
                with torch.enable_grad():
                    zero = torch.zeros_like(x, requires_grad=True)
                    y = part.manifold.trivialize(x, zero)
                    (slope,) = torch.autograd.grad(y, zero, g, create_graph=True)
                graphs.append((zero, slope))
            point.bent = graphs
        return [
            None
            if graph is None
            else torch.autograd.grad(
                graph[1], graph[0], v, retain_graph=True, materialize_grads=True
            )[0]
            for graph, v in zip(point.bent, self.space.grouped(c), strict=True)
        ]

    def _difference(self, point: Point, c: Tensor) -> Tensor:
        space, rows = self.space, self.space.rows
        eps = torch.finfo(rows.dtype).eps
        size = rows.norm(space.vector(point.x)) + 1.0
        length = rows.most(rows.norm(c), torch.finfo(rows.dtype).tiny)
        h = rows.divide(math.sqrt(eps) * size, length)
        x = self.moved(point, rows.scale(h, c))[0]
        ahead = self.gradient(self.value(x))
        kept, _ = self.step(point, ahead.c)
        return rows.scale(rows.divide(rows.full(1.0), h), kept - point.c)

    # -- moves ------------------------------------------------------------------------------------

    def step(self, point: Point, c: Tensor) -> tuple[Tensor, Leaves]:
        """The part of `c` that has a tangent vector at the point, and that vector."""
        space = self.space
        parts = space.grouped(space.tensors(c))
        both = [F.step(v) for F, v in zip(point.frames, parts, strict=True)]
        return space.vector(space.flat(b[0] for b in both)), space.flat(b[1] for b in both)

    def moved(self, point: Point, c: Tensor) -> tuple[Leaves, Tensor]:
        """Retract along `c`; returns also the part of `c` that has a tangent vector."""
        kept, u = self.step(point, c)
        return self.space.retract(point.x, u), kept

    # -- fewer problems ------------------------------------------------------------------------

    def taken(self, kept: Tensor) -> Objective:
        """The function of only the problems with the given numbers."""
        problems = self.space.problems

        def cut(argument: Any) -> Any:
            if isinstance(argument, Tensor) and argument.shape[: len(problems)] == problems:
                return argument.flatten(0, len(problems) - 1)[kept]
            return argument

        args = tuple(cut(argument) for argument in self.args)
        return replace(self, space=self.space.taken(len(kept)), args=args)

    @property
    def cuttable(self) -> bool:
        """Whether an argument has one slice for each problem."""
        problems = self.space.problems
        return isinstance(self.space.rows, Many) and any(
            isinstance(argument, Tensor) and argument.shape[: len(problems)] == problems
            for argument in self.args
            if problems
        )


def _adjoint(r: Tensor, roots: Leaves) -> tuple[Tensor, Tensor, Leaves]:
    """The residuals, a vector `w` of zeros, and `J'w` with its graph."""
    with torch.enable_grad():
        w = torch.zeros_like(r, requires_grad=True)
        adjoint = torch.autograd.grad(r, roots, w, create_graph=True, materialize_grads=True)
    return r, w, adjoint
