"""The scalar functions as multigraphs (Novikov et al. 2021, section 2.1, eqs 3-5).

A vertex is a moment M(mu, nu), an edge contracts one index of its two moments, so a vertex has
degree nu and there are no loops. The level of a graph is the sum of 2 + 4 mu + nu.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, permutations, product

MAX_RANK = 10
"""Largest tensor rank of a moment; the published tables stop here too."""

MAX_MU = 5
"""Largest radial index of a moment; the published tables stop here too."""

Edges = tuple[tuple[int, ...], ...]
"""Symmetric matrix: how many edges join two vertices."""


@dataclass(frozen=True)
class Graph:
    """A connected scalar: mu and mutual edges of its vertices, in canonical order."""

    mus: tuple[int, ...]
    edges: Edges

    @cached_property
    def level(self) -> int:
        """Sum of 2 + 4 mu + nu over the vertices."""
        return 2 * len(self.mus) + 4 * sum(self.mus) + sum(map(sum, self.edges))


def connected_graphs(level: int, max_factors: int) -> list[Graph]:
    """Every connected graph up to isomorphism, ordered by level, size and shape."""
    found = []
    for vertices in _vertex_sets(level, max_factors):
        mus = tuple(mu for mu, _ in vertices)
        seen = set()
        for edges in _matrices(tuple(nu for _, nu in vertices)):
            if _connected(edges):
                seen.add(_canonical(vertices, edges))
        found += [Graph(mus, edges) for edges in seen]
    return sorted(found, key=lambda graph: (graph.level, len(graph.mus), graph.mus, graph.edges))


def scalar_sets(graphs: list[Graph], level: int, max_factors: int) -> list[tuple[int, ...]]:
    """Every scalar as the ascending numbers of its connected parts, ordered by level.

    Within a level fewer factors come first. Removing the last part of a set gives a set that is
    in the list before it.
    """
    found: list[tuple[int, int, tuple[int, ...]]] = []

    def extend(parts: tuple[int, ...], first: int, left: int, factors: int) -> None:
        for number in range(first, len(graphs)):
            graph = graphs[number]
            if graph.level > left:
                break
            if len(graph.mus) > factors:
                continue
            longer = (*parts, number)
            used = max_factors - factors + len(graph.mus)
            found.append((level - left + graph.level, used, longer))
            extend(longer, number, left - graph.level, factors - len(graph.mus))

    extend((), 0, level, max_factors)
    return [parts for _, _, parts in sorted(found)]


def _vertex_sets(level: int, max_factors: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Ascending sets of (mu, nu) that fit the level and may be joined into one graph."""
    kinds = [(mu, nu) for mu in range(MAX_MU + 1) for nu in range(MAX_RANK + 1)]

    def extend(
        chosen: tuple[tuple[int, int], ...], first: int, left: int
    ) -> Iterator[tuple[tuple[int, int], ...]]:
        if chosen and _may_be_joined([nu for _, nu in chosen]):
            yield chosen
        if len(chosen) == max_factors:
            return
        for number in range(first, len(kinds)):
            mu, nu = kinds[number]
            rest = left - 2 - 4 * mu - nu
            if rest >= 0 and (nu or not chosen):
                yield from extend((*chosen, kinds[number]), number, rest)

    yield from extend((), 0, level)


def _may_be_joined(ranks: list[int]) -> bool:
    """Whether a connected loop-free multigraph with these degrees can exist."""
    total = sum(ranks)
    if len(ranks) == 1:
        return total == 0
    return min(ranks) > 0 and total % 2 == 0 and 2 * max(ranks) <= total >= 2 * len(ranks) - 2


def _matrices(ranks: tuple[int, ...]) -> Iterator[Edges]:
    """Every loop-free edge matrix with the given degrees."""
    if not ranks:
        yield ()
        return
    first, rest = ranks[0], ranks[1:]
    for row in _rows(first, rest):
        for inner in _matrices(tuple(nu - used for nu, used in zip(rest, row, strict=True))):
            yield (
                (0, *row),
                *((used, *line) for used, line in zip(row, inner, strict=True)),
            )


def _rows(total: int, caps: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every row of numbers that adds up to `total` below the caps."""
    if not caps:
        if total == 0:
            yield ()
        return
    for here in range(min(total, caps[0]) + 1):
        for rest in _rows(total - here, caps[1:]):
            yield (here, *rest)


def _connected(edges: Edges) -> bool:
    reached, front = {0}, [0]
    while front:
        row = edges[front.pop()]
        new = [other for other, count in enumerate(row) if count and other not in reached]
        reached.update(new)
        front += new
    return len(reached) == len(edges)


def _canonical(vertices: tuple[tuple[int, int], ...], edges: Edges) -> Edges:
    """The smallest matrix among the relabellings that keep the vertices in ascending order.

    Equal vertices are first told apart by what they are joined to, which leaves few relabellings.
    """
    colours = [
        (vertex, tuple(sorted(Counter(zip(vertices, row, strict=True)).items())))
        for vertex, row in zip(vertices, edges, strict=True)
    ]
    order = sorted(range(len(vertices)), key=lambda v: colours[v])
    classes = [list(group) for _, group in groupby(order, key=lambda v: colours[v])]
    best: Edges | None = None
    for parts in product(*(permutations(group) for group in classes)):
        labels = [vertex for part in parts for vertex in part]
        matrix = tuple(tuple(edges[v][w] for w in labels) for v in labels)
        if best is None or matrix < best:
            best = matrix
    assert best is not None  # there is always the identity
    return best
