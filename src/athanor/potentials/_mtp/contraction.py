"""Making the tensor of a node in a given way, and counting what every way costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from athanor.potentials._mtp.moments import MomentTable, Part, Tensor
from athanor.potentials._mtp.nodes import Node, Way, children, pair, share, ways


@dataclass(slots=True)
class Maker:
    """Makes the tensors of nodes in one moment table, each once.

    Attributes
    ----------
    table : where the products go.
    moment : (mu, nu) -> the tensor of a basic moment, one group.
    choose : the way to make a node that is needed.
    """

    table: MomentTable
    moment: Callable[[int, int], Tensor]
    choose: Callable[[Node], Way]
    _made: dict[Node, Tensor] = field(default_factory=dict)

    def tensor(self, node: Node) -> Tensor:
        """The tensor of a node, made now if it is needed for the first time."""
        known = self._made.get(node)
        if known is None:
            known = self._made[node] = self.make(node, self.choose(node))[0]
        return known

    def make(self, node: Node, way: Way) -> tuple[Tensor, int]:
        """The tensor of a node made in this way, and the products of its last contraction."""
        if way.gathered:
            left, parts = self._gathered_left(node, way)
        else:
            left, parts = self._resolved(node, way.left), self._resolved_left(node, way)
        counted = not node.resolved
        parts += [
            Part(rank, None, number, group, counted)
            for number, vertex in enumerate(way.right)
            for group, rank in enumerate(node.legs[vertex])
            if rank
        ]
        return self.table.contract(left, self._resolved(node, way.right), parts, node.group_ranks())

    def _resolved(self, node: Node, vertices: tuple[int, ...]) -> Tensor:
        """One moment, or a resolved pair: a group for each vertex."""
        if len(vertices) == 1:
            return self.moment(node.mus[vertices[0]], node.nu(vertices[0]))
        inner, swapped = pair(node, *vertices)
        tensor = self.tensor(inner)
        return Tensor(tensor.moments.T, tensor.factors.T) if swapped else tensor

    @staticmethod
    def _resolved_left(node: Node, way: Way) -> list[Part]:
        """Contracted and free indices of a left share that has a group for each vertex."""
        parts = []
        for number, vertex in enumerate(way.left):
            joined = [node.edges[vertex][other] for other in way.right]
            parts += [
                Part(rank, number, other, None, True) for other, rank in enumerate(joined) if rank
            ]
            parts += [
                Part(rank, number, None, group, not node.resolved)
                for group, rank in enumerate(node.legs[vertex])
                if rank
            ]
        return parts

    def _gathered_left(self, node: Node, way: Way) -> tuple[Tensor, list[Part]]:
        """The left share, whose groups are contracted or free as a whole."""
        left, places = share(node, way)
        n_right = len(way.right)
        parts = [
            Part(rank, number, place, None, False)
            if place < n_right
            else Part(rank, number, None, place - n_right, False)
            for number, (rank, place) in enumerate(zip(left.group_ranks(), places, strict=True))
        ]
        return self.tensor(left), parts


@dataclass(frozen=True, slots=True)
class Option:
    """One way to make a node: its own products, and the nodes it needs."""

    way: Way
    cost: int
    needs: tuple[Node, ...]


@dataclass(slots=True)
class Catalogue:
    """The options of every node; costs are counted once for nodes that differ only in mu."""

    _maker: Maker = field(init=False)
    _moments: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    _costs: dict[Node, list[int]] = field(default_factory=dict)
    _options: dict[Node, tuple[Option, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._maker = Maker(MomentTable(0), self._moment, lambda node: next(ways(node)))

    def options(self, node: Node) -> tuple[Option, ...]:
        """Every way to make `node`."""
        known = self._options.get(node)
        if known is None:
            costs = self._shape_costs(_shape(node))
            known = self._options[node] = tuple(
                Option(way, cost, children(node, way))
                for way, cost in zip(ways(node), costs, strict=True)
            )
        return known

    def _shape_costs(self, shape: Node) -> list[int]:
        known = self._costs.get(shape)
        if known is None:
            known = [self._maker.make(shape, way)[1] for way in ways(shape)]
            self._costs[shape] = known
        return known

    def _moment(self, mu: int, nu: int) -> Tensor:
        """A tensor of its own numbers, so that products of equal moments are recognised."""
        known = self._moments.get((mu, nu))
        if known is None:
            table = self._maker.table
            size = len(table.components(nu)[0])
            numbers = np.arange(table.n_moments, table.n_moments + size)
            table.n_moments += size
            known = self._moments[mu, nu] = Tensor(numbers, np.ones(size, dtype=np.int64))
        return known


def _shape(node: Node) -> Node:
    """The node with mu replaced by a number that only tells equal moments from different ones."""
    classes: dict[int, dict[int, int]] = {}
    mus = []
    for vertex, mu in enumerate(node.mus):
        same_rank = classes.setdefault(node.nu(vertex), {})
        mus.append(same_rank.setdefault(mu, len(same_rank)))
    return Node(tuple(mus), node.edges, node.legs, node.resolved)
