"""Making index tables from elsewhere shorter without changing what they compute."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import gcd

import numpy as np

from athanor.potentials._mtp.model import IndexTables

Terms = tuple[tuple[int, int, int], ...]
"""Sorted (i, j, multiplier) of one moment."""


def reduce_tables(tables: IndexTables) -> IndexTables:
    """Drop products nothing uses, merge equal ones, make equal or proportional moments once.

    Basic moments stay as they are, so the radial coefficients keep their meaning; the scalars keep
    their order and their values up to rounding. Rows of one moment come together, moments ascend.
    Tables whose merged multipliers would leave the range of 32 bits, or that add products to a
    basic moment, are returned as given.
    """
    n_basic = len(tables.basic)
    if (tables.times[:, 3] < n_basic).any():
        return tables
    sums = _sums(tables)
    live = _live(tables, sums)
    exact = {int(k) for k in tables.mapping}  # a scalar must not be rescaled
    renamed = {moment: (moment, 1) for moment in range(n_basic)}
    known: dict[Terms, int] = {}
    rows: list[tuple[int, int, int, int]] = []
    count = n_basic
    for moment, products in sums.items():
        if moment not in live:
            continue
        terms, factor = _merged(products, renamed, rescale=moment not in exact)
        if terms not in known:
            known[terms] = count
            rows += [(*term, count) for term in terms]
            count += 1
        renamed[moment] = (known[terms], factor)
    times = np.array(rows, dtype=np.int64).reshape(-1, 4)
    if len(rows) and np.abs(times).max() > np.iinfo(np.int32).max:
        return tables
    return IndexTables(
        basic=tables.basic,
        times=times.astype(np.int32),
        mapping=np.array([renamed[int(k)][0] for k in tables.mapping], dtype=np.int32),
        n_moments=count,
    )


def _sums(tables: IndexTables) -> dict[int, list[tuple[int, int, int]]]:
    """Products (i, j, multiplier) of each moment, in the order in which moments are complete."""
    sums: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    last: dict[int, int] = {}
    for number, (i, j, multiplier, k) in enumerate(tables.times.tolist()):
        sums[k].append((i, j, multiplier))
        last[k] = number
    for k in sorted({int(k) for k in tables.mapping} - set(last)):
        if k >= len(tables.basic):
            sums[k] = []  # a scalar that is never written stays zero
            last[k] = -1
    return {k: sums[k] for k in sorted(last, key=last.__getitem__)}


def _live(tables: IndexTables, sums: dict[int, list[tuple[int, int, int]]]) -> set[int]:
    """Moments that a scalar depends on."""
    live: set[int] = set()
    waiting = [int(k) for k in tables.mapping]
    while waiting:
        moment = waiting.pop()
        if moment not in live:
            live.add(moment)
            waiting += [n for i, j, _ in sums.get(moment, ()) for n in (i, j)]
    return live


def _merged(
    products: Iterable[tuple[int, int, int]], renamed: dict[int, tuple[int, int]], *, rescale: bool
) -> tuple[Terms, int]:
    """The sum in new numbers, equal products together, and the divisor that was taken out."""
    totals: dict[tuple[int, int], int] = defaultdict(int)
    for i, j, multiplier in products:
        (new_i, factor_i), (new_j, factor_j) = renamed[i], renamed[j]
        pair = (min(new_i, new_j), max(new_i, new_j))
        totals[pair] += multiplier * factor_i * factor_j
    kept = sorted((*pair, total) for pair, total in totals.items() if total)
    factor = gcd(*(total for _, _, total in kept)) if kept and rescale else 1
    return tuple((i, j, total // factor) for i, j, total in kept), factor
