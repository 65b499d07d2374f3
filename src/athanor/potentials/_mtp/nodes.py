"""Partly contracted graphs, and the ways to make one from two smaller ones.

A node is a set of vertices, contracted along the edges between them, whose other edges ("legs")
are open indices. There are two forms:

- gathered: one group of indices per outer vertex, symmetrised, because the group will meet a
  symmetric tensor there. Components are multiplied by the number of ordered strings they stand
  for, so that contracting a whole group is a plain sum of products.
- resolved: two vertices and one group of indices for each; the same tensor serves every graph the
  pair is in, whatever its legs are joined to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

from athanor.potentials._mtp.graphs import Edges, Graph

Legs = tuple[tuple[int, ...], ...]
"""Per vertex and group, the number of open indices."""


@dataclass(frozen=True, slots=True)
class Node:
    """Radial indices and mutual edges of the vertices, and their legs."""

    mus: tuple[int, ...]
    edges: Edges
    legs: Legs
    resolved: bool

    def nu(self, vertex: int) -> int:
        """Rank of the moment at a vertex."""
        return sum(self.edges[vertex]) + sum(self.legs[vertex])

    def group_ranks(self) -> tuple[int, ...]:
        """Number of indices in each group."""
        return tuple(sum(column) for column in zip(*self.legs, strict=True))


@dataclass(frozen=True, slots=True)
class Way:
    """Vertices of the left and the right share, and whether the left one is a gathered node."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    gathered: bool


def root(graph: Graph) -> Node:
    """A whole graph of two or more vertices: no legs."""
    return gather(graph.mus, graph.edges, ((),) * len(graph.mus))[0]


def gather(mus: tuple[int, ...], edges: Edges, legs: Legs) -> tuple[Node, tuple[int, ...]]:
    """The canonical gathered node, and which of the given groups each of its groups is."""
    vertices = range(len(mus))
    best: tuple[tuple[tuple[int, ...], Edges, Legs], tuple[int, ...]] | None = None
    for groups in permutations(range(len(legs[0]))):
        for order in permutations(vertices):
            key = (
                tuple(mus[v] for v in order),
                tuple(tuple(edges[v][w] for w in order) for v in order),
                tuple(tuple(legs[v][g] for g in groups) for v in order),
            )
            if best is None or key < best[0]:
                best = key, groups
    assert best is not None  # there is always the identity
    return Node(*best[0], resolved=False), best[1]


def pair(node: Node, first: int, second: int) -> tuple[Node, bool]:
    """The resolved node of two vertices, and whether its groups are in the other order."""
    edge = node.edges[first][second]
    ends = [(node.mus[v], node.nu(v) - edge) for v in (first, second)]
    swapped = ends[1] < ends[0]
    (mu, rank), (other_mu, other_rank) = sorted(ends)
    legs = ((rank, 0), (0, other_rank))
    return Node((mu, other_mu), ((0, edge), (edge, 0)), legs, resolved=True), swapped


def share(node: Node, way: Way) -> tuple[Node, tuple[int, ...]]:
    """The gathered left share of a way, and where each of its groups goes.

    A number below the count of right vertices is the right vertex a group is contracted with, the
    others, less that count, are groups of `node`.
    """
    legs = [[*(node.edges[v][w] for w in way.right), *node.legs[v]] for v in way.left]
    used = [number for number, column in enumerate(zip(*legs, strict=True)) if any(column)]
    left, groups = gather(
        tuple(node.mus[v] for v in way.left),
        tuple(tuple(node.edges[v][w] for w in way.left) for v in way.left),
        tuple(tuple(row[number] for number in used) for row in legs),
    )
    return left, tuple(used[group] for group in groups)


def ways(node: Node) -> Iterator[Way]:
    """Every way to make a node: the right share is a moment or a resolved pair."""
    vertices = range(len(node.mus))
    if node.resolved:
        yield Way((0,), (1,), gathered=False)
        return
    for size in (1, 2):
        for right in combinations(vertices, size):
            left = tuple(v for v in vertices if v not in right)
            if not left or (len(left) == 1 and (size == 2 or left > right)):
                continue  # the same products as another way
            if len(left) <= 2:
                yield Way(left, right, gathered=False)
            way = Way(left, right, gathered=True)
            if len(left) > 2 or (len(left) == 2 and _mixes(node, way)):
                yield way


def _mixes(node: Node, way: Way) -> bool:
    """Whether a group of the left pair has legs of both; else the resolved pair is no worse."""
    first, second = ([*(node.edges[v][w] for w in way.right), *node.legs[v]] for v in way.left)
    return any(a and b for a, b in zip(first, second, strict=True))


def children(node: Node, way: Way) -> tuple[Node, ...]:
    """The nodes that a way needs first, without repetition (single moments are no nodes)."""
    found = []
    if not node.resolved:
        if way.gathered:
            found.append(share(node, way)[0])
        elif len(way.left) == 2:
            found.append(pair(node, *way.left)[0])
        if len(way.right) == 2:
            found.append(pair(node, *way.right)[0])
    return tuple(dict.fromkeys(found))
