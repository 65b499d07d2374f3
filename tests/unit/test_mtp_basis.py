"""The basis generator: counts, values, order, bad arguments; and the reduction of tables."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from athanor.errors import ConfigError
from athanor.potentials._mtp.basis import basis
from athanor.potentials._mtp.model import IndexTables
from athanor.structure import FloatArray

# level: scalars, basic moments, products, radial functions of the published tables
PUBLISHED = {
    2: (1, 1, 0, 1),
    4: (2, 1, 1, 1),
    6: (5, 5, 5, 2),
    8: (9, 11, 14, 2),
    10: (16, 25, 42, 3),
    12: (29, 46, 117, 3),
    14: (52, 81, 348, 4),
    16: (92, 130, 969, 4),
    18: (163, 201, 2634, 5),
    20: (288, 295, 6349, 5),
    22: (500, 421, 15431, 6),
    24: (864, 581, 36170, 6),
    26: (1464, 706, 82520, 6),
    28: (2445, 866, 180069, 6),
}


def random_basic(tables: IndexTables, n_env: int, *, seed: int) -> FloatArray:
    """(n_basic, n_env) basic moments of random neighbourhoods with random radial functions."""
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(n_env, 12, 3))
    unit /= np.linalg.norm(unit, axis=2, keepdims=True)
    radial = rng.normal(size=(n_env, 12, 6))
    x, y, z = ([axis**power for power in range(11)] for axis in np.moveaxis(unit, 2, 0))
    return np.array(
        [
            (radial[..., mu] * x[a] * y[b] * z[c]).sum(axis=1)
            for mu, a, b, c in tables.basic.tolist()
        ]
    )


def scalars(tables: IndexTables, basic: FloatArray) -> FloatArray:
    """(n_env, n_scalars): the rows of the tables applied one by one, as the format defines."""
    moments = np.zeros((tables.n_moments, basic.shape[1]))
    moments[: len(basic)] = basic
    for i, j, multiplier, k in tables.times.tolist():
        moments[k] += multiplier * moments[i] * moments[j]
    return moments[tables.mapping].T


def published(path: Path) -> IndexTables:
    """The index tables of a well-formed .mtp file."""
    text = path.read_text()

    def numbers(name: str) -> np.ndarray:
        found = re.search(rf"^{name} = (.*)$", text, re.MULTILINE)
        assert found is not None
        return np.array([int(n) for n in re.findall(r"\d+", found[1])], dtype=np.int32)

    return IndexTables(
        basic=numbers("alpha_index_basic").reshape(-1, 4),
        times=numbers("alpha_index_times").reshape(-1, 4),
        mapping=numbers("alpha_moment_mapping"),
        n_moments=int(numbers("alpha_moments_count")[0]),
    )


@pytest.mark.parametrize("level", PUBLISHED)
def test_counts_are_the_published_ones_with_no_more_products(level: int) -> None:
    tables = basis(level)
    n_scalars, n_basic, n_times, n_radial = PUBLISHED[level]
    assert len(tables.mapping) == len(set(tables.mapping.tolist())) == n_scalars
    assert len(tables.basic) == n_basic
    assert tables.n_radial == n_radial
    assert len(tables.times) <= n_times
    if level >= 16:
        assert len(tables.times) <= 0.76 * n_times  # sharing pays, and must go on paying


@pytest.mark.parametrize(("level", "count"), [(10, 17), (12, 32), (14, 61), (16, 116)])
def test_counts_without_a_limit_on_factors(level: int, count: int) -> None:
    assert len(basis(level, max_factors=level).mapping) == count


def test_one_factor_gives_the_scalar_moments_alone() -> None:
    tables = basis(12, max_factors=1)
    assert tables.basic.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0]]
    assert tables.times.shape == (0, 4)
    assert tables.mapping.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("level", "max_factors"), [(2, 4), (14, 4), (18, 4), (16, 16), (18, 5)])
def test_rows_can_be_run_in_order(level: int, max_factors: int) -> None:
    tables = basis(level, max_factors=max_factors)
    i, j, multiplier, k = tables.times.T
    assert (i <= j).all()
    assert (j < k).all()
    assert (multiplier > 0).all()
    assert (np.diff(k) >= 0).all()
    made = np.unique(k)
    assert made.tolist() == list(range(len(tables.basic), tables.n_moments))
    assert len(np.unique(tables.times[:, [0, 1, 3]], axis=0)) == len(tables.times)


def test_equal_arguments_give_equal_tables() -> None:
    first, second = basis(14), basis(14)
    for name in ("basic", "times", "mapping"):
        assert (getattr(first, name) == getattr(second, name)).all()


@pytest.mark.parametrize(("level", "max_factors"), [(16, 4), (14, 7)])
def test_scalars_do_not_change_when_the_environment_is_rotated(
    level: int, max_factors: int
) -> None:
    tables = basis(level, max_factors=max_factors)
    rng = np.random.default_rng(level)
    unit = rng.normal(size=(9, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    radial = rng.normal(size=(9, 6))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    values = []
    for points in (unit, unit @ turn):
        powers = np.prod(points[:, None, :] ** tables.basic[:, 1:], axis=2)
        moments = np.einsum("nb,nb->b", radial[:, tables.basic[:, 0]], powers)
        values.append(scalars(tables, moments[:, None])[0])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)


def test_a_lower_level_is_the_beginning_of_a_higher_one() -> None:
    low, high = basis(14), basis(18)
    small = scalars(low, random_basic(low, 40, seed=3))
    large = scalars(high, random_basic(high, 40, seed=3))[:, : small.shape[1]]
    ratio = large / small
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-9)


@pytest.mark.parametrize("level", range(2, 21, 2))
def test_the_published_tables_span_the_same_space(reference: Path, level: int) -> None:
    theirs = published(reference / "mtp" / "pots" / f"rand_L{level:02d}_1sp.mtp")
    ours = basis(level)
    n_env = len(ours.mapping) * 3 // 2 + 10
    columns = []
    for tables in (ours, theirs):
        values = scalars(tables, random_basic(tables, n_env, seed=level))
        columns.append(values / np.linalg.norm(values, axis=0))
    assert columns[0].shape == columns[1].shape
    for span, target in (columns, columns[::-1]):
        coefficients = np.linalg.lstsq(span, target, rcond=1e-13)[0]
        assert np.abs(span @ coefficients - target).max() < 1e-10


@pytest.mark.parametrize("level", [-2, 0, 1, 7, 29, 30])
def test_a_level_that_is_not_there_is_refused(level: int) -> None:
    with pytest.raises(ConfigError, match=f"level is {level}; choose an even number from 2 to 28"):
        basis(level)


@pytest.mark.parametrize("max_factors", [0, -3])
def test_fewer_than_one_factor_is_refused(max_factors: int) -> None:
    with pytest.raises(ConfigError, match=f"max_factors is {max_factors}; give 1 or more"):
        basis(8, max_factors=max_factors)
