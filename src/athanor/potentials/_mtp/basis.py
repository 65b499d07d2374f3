"""The basis of moment tensor potentials, level by level (Novikov et al. 2021, eqs 3-5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from athanor.errors import ConfigError
from athanor.potentials._mtp.contraction import Maker
from athanor.potentials._mtp.graphs import Graph, connected_graphs, scalar_sets
from athanor.potentials._mtp.model import IndexTables, IntArray
from athanor.potentials._mtp.moments import LongArray, MomentTable, Tensor, symmetric_components
from athanor.potentials._mtp.nodes import root
from athanor.potentials._mtp.plan import cheapest_ways

MAX_LEVEL = 28


def basis(level: int, *, max_factors: int = 4) -> IndexTables:
    """Generate the basis of a level: all contractions of moments with sum(2 + 4 mu + nu) <= level.

    The scalars come in order of their own level, so the basis of a lower level is the beginning of
    a higher one, each scalar up to a constant factor. Rows of `times` that make one moment are
    together, moments ascend and are complete before they are used. Equal arguments give equal
    tables.

    Parameters
    ----------
    level : even, 2 to 28.
    max_factors : most moments that are multiplied in one scalar.

    Raises
    ------
    ConfigError : level or max_factors out of range.
    """
    if level % 2 or not 2 <= level <= MAX_LEVEL:
        raise ConfigError(f"level is {level}; choose an even number from 2 to {MAX_LEVEL}")
    if max_factors < 1:
        raise ConfigError(f"max_factors is {max_factors}; give 1 or more (4 is the usual choice)")
    max_factors = min(max_factors, level // 2)  # a factor has level 2 at least
    graphs = connected_graphs(level, max_factors)
    basic, moments = _basic(graphs)
    table = MomentTable(len(basic))
    parts = _connected_scalars(graphs, table, moments)
    scalars: dict[tuple[int, ...], int] = {}
    for numbers in scalar_sets(graphs, level, max_factors):
        last = parts[numbers[-1]]
        shorter = scalars.get(numbers[:-1])
        scalars[numbers] = last if shorter is None else table.product(shorter, last)
    return IndexTables(
        basic=basic.astype(np.int32),
        times=_times(table),
        mapping=np.array(list(scalars.values()), dtype=np.int32),
        n_moments=table.n_moments,
    )


def _basic(graphs: Sequence[Graph]) -> tuple[LongArray, dict[tuple[int, int], Tensor]]:
    """Rows (mu, a, b, c) of the moments that graphs use, and their numbers as tensors."""
    kinds = sorted(
        {(mu, sum(row)) for graph in graphs for mu, row in zip(graph.mus, graph.edges, strict=True)}
    )
    rows: list[LongArray] = []
    tensors = {}
    first = 0
    for mu, nu in kinds:
        powers = symmetric_components(nu)[0]
        size = len(powers)
        tensors[mu, nu] = Tensor(np.arange(first, first + size), np.ones(size, dtype=np.int64))
        rows.append(np.column_stack([np.full(size, mu), powers]))
        first += size
    return np.concatenate(rows), tensors


def _connected_scalars(
    graphs: Sequence[Graph], table: MomentTable, moments: dict[tuple[int, int], Tensor]
) -> list[int]:
    """Make every connected scalar; the moment of each."""
    roots = {graph: root(graph) for graph in graphs if len(graph.mus) > 1}
    chosen = cheapest_ways(list(roots.values()))
    maker = Maker(table, lambda mu, nu: moments[mu, nu], chosen.__getitem__)
    return [
        int(
            (
                maker.tensor(roots[graph]) if graph in roots else moments[graph.mus[0], 0]
            ).moments.item()
        )
        for graph in graphs
    ]


def _times(table: MomentTable) -> IntArray:
    """Rows (i, j, multiplier, k) of all products, in 32 bits."""
    rows = table.rows()
    if len(rows) and rows.max() > np.iinfo(np.int32).max:
        raise ConfigError("a multiplier of this basis is too large; lower level or max_factors")
    return rows.astype(np.int32)
