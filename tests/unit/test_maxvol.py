"""MaxVol: the volume is what it says, locally maximal, and nothing is ever NaN."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from athanor.errors import FitError
from athanor.query import _exchange, _search
from athanor.query._maxvol import INITIAL, ActiveSet, Pass, held
from athanor.query._search import NEAR, Chunk


def draw(rng: np.random.Generator, n: int, m: int, *, decades: float = 3.0) -> np.ndarray:
    """Rows of very different length, columns of very different magnitude, all correlated."""
    mixing = np.linalg.qr(rng.normal(size=(m, m)))[0]
    columns = 10 ** rng.uniform(-decades, decades, m)
    return (rng.normal(size=(n, m)) * np.exp(rng.normal(size=(n, 1)))) @ mixing * columns


@pytest.mark.parametrize("seed", range(5))
def test_an_active_set_is_dominant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(40, 300)), int(rng.integers(1, 30))
    rows = draw(rng, n, m)
    active = ActiveSet.of(rows)
    assert active.grades(rows).max() <= 1 + 1e-5
    np.testing.assert_array_equal(active.rows, rows[active.origins])
    assert len(set(active.origins.tolist())) == m
    sign_and_log = np.linalg.slogdet(active.rows)
    assert active.log_volume == pytest.approx(sign_and_log[1], rel=1e-10)
    np.testing.assert_allclose(active.rows @ active.inverse, np.eye(m), atol=1e-7)
    assert active.seen == n


def test_grades_are_the_largest_coefficients() -> None:
    rng = np.random.default_rng(20)
    rows, asked = draw(rng, 50, 8, decades=1), draw(rng, 30, 8, decades=1)
    active = ActiveSet.of(rows)
    expected = [np.abs(np.linalg.solve(active.rows.T, row)).max() for row in asked]
    np.testing.assert_allclose(active.grades(asked), expected, rtol=1e-9)


def test_an_exchange_multiplies_the_volume_by_the_grade() -> None:
    rng = np.random.default_rng(21)
    active = ActiveSet.of(draw(rng, 60, 7))
    row = 5 * draw(rng, 1, 7)
    grade = active.grades(row)[0]
    grown = active.extended(row)
    assert grade > 1
    assert grown.log_volume == pytest.approx(active.log_volume + np.log(grade), abs=1e-9)
    assert grown.origins.max() == active.seen
    assert grown.seen == active.seen + 1


def test_the_largest_volume_of_all_is_found() -> None:
    from itertools import combinations

    rng = np.random.default_rng(22)
    for _ in range(10):
        rows = rng.normal(size=(12, 4))
        best = max(
            np.linalg.slogdet(rows[list(chosen)])[1] for chosen in combinations(range(12), 4)
        )
        assert ActiveSet.of(rows).log_volume == pytest.approx(best, abs=1e-9)


def test_grades_do_not_depend_on_the_magnitude_of_parameters() -> None:
    rng = np.random.default_rng(23)
    rows, asked = draw(rng, 80, 9, decades=0), draw(rng, 20, 9, decades=0)
    scale = 10 ** rng.uniform(-4, 6, 9)
    plain, scaled = ActiveSet.of(rows), ActiveSet.of(rows * scale)
    np.testing.assert_array_equal(np.sort(plain.origins), np.sort(scaled.origins))
    np.testing.assert_allclose(plain.grades(asked), scaled.grades(asked * scale), rtol=1e-8)


def test_fewer_rows_than_parameters_keep_initial_rows() -> None:
    rng = np.random.default_rng(24)
    rows = rng.normal(size=(3, 8))
    active = ActiveSet.of(rows)
    assert np.count_nonzero(active.origins < 0) == 5
    assert set(active.origins[active.origins >= 0].tolist()) == {0, 1, 2}
    unit = active.rows[active.origins < 0]
    np.testing.assert_array_equal(np.count_nonzero(unit, axis=1), 1)
    assert unit.max() == INITIAL
    assert active.grades(rows).max() <= 1 + 1e-5
    assert active.grades(rng.normal(size=(1, 8)))[0] > 100, "new directions are inflated, not NaN"


def test_no_rows_at_all_is_the_initial_matrix() -> None:
    active = ActiveSet.of(np.empty((0, 4)))
    np.testing.assert_array_equal(np.sort(active.rows, axis=None)[-4:], INITIAL)
    assert active.log_volume == pytest.approx(4 * np.log(INITIAL))
    assert active.grades(np.empty((0, 4))).shape == (0,)


def test_a_parameter_that_never_matters_gives_no_nan() -> None:
    rng = np.random.default_rng(25)
    rows = rng.normal(size=(40, 6))
    rows[:, 2] = 0.0
    rows[:, 5] = 3 * rows[:, 0]
    active = ActiveSet.of(rows)
    assert np.isfinite(active.inverse).all()
    assert np.count_nonzero(active.origins < 0) == 2
    assert active.grades(rows).max() <= 1 + 1e-5
    woken = rows[:1].copy()
    woken[0, 2] = 1.0
    assert active.grades(woken)[0] == pytest.approx(1 / INITIAL, rel=0.1)


def test_the_same_rows_give_the_same_bits_and_another_order_the_same_volume() -> None:
    rng = np.random.default_rng(26)
    rows = draw(rng, 200, 12)
    one, two = ActiveSet.of(rows), ActiveSet.of(rows)
    np.testing.assert_array_equal(one.rows, two.rows)
    shuffled = ActiveSet.of(rows[rng.permutation(200)])
    assert shuffled.log_volume == pytest.approx(one.log_volume, abs=0.5)


def test_equal_rows_are_taken_once() -> None:
    rng = np.random.default_rng(27)
    rows = np.repeat(rng.normal(size=(10, 5)), 20, axis=0)
    active = ActiveSet.of(rows)
    assert len(np.unique(active.rows, axis=0)) == 5


def test_growing_in_parts_reaches_the_whole() -> None:
    rng = np.random.default_rng(28)
    rows = draw(rng, 400, 15)
    active = ActiveSet.of(rows[:100])
    volumes = [active.log_volume]
    for first in range(100, 400, 100):
        part = rows[first : first + 100]
        active = active.extended(part)
        volumes.append(active.log_volume)
        assert active.grades(part).max() <= 1 + 1e-5
    assert volumes == sorted(volumes)
    np.testing.assert_array_equal(active.rows, rows[active.origins])
    assert active.log_volume >= ActiveSet.of(rows).log_volume - 1.0, "about as good as at once"


def test_a_higher_threshold_exchanges_fewer_rows() -> None:
    rng = np.random.default_rng(29)
    active, more = ActiveSet.of(draw(rng, 60, 20)), draw(rng, 200, 20)
    few, many = active.extended(more, threshold=3.0), active.extended(more)
    taken = [int((grown.origins >= active.seen).sum()) for grown in (few, many)]
    assert few.grades(more).max() <= 3.0 * (1 + 1e-5)
    assert taken[0] < taken[1]
    assert few.log_volume < many.log_volume
    # the price: no taking of rows is worth more at this threshold
    assert few.log_volume - taken[0] * np.log(3) >= many.log_volume - taken[1] * np.log(3)


def test_many_rows_are_screened_in_chunks() -> None:
    rng = np.random.default_rng(30)
    rows = rng.normal(size=(40_000, 30))
    active = ActiveSet.of(rows)
    assert active.grades(rows).max() <= 1 + 1e-5
    np.testing.assert_array_equal(active.rows, rows[active.origins])


def test_a_row_that_is_not_finite_is_refused_or_graded_infinite() -> None:
    rng = np.random.default_rng(31)
    rows = rng.normal(size=(20, 4))
    active = ActiveSet.of(rows)
    for bad in (np.nan, np.inf):
        spoiled = rows.copy()
        spoiled[7, 1] = bad
        assert active.grades(spoiled)[7] == np.inf
        assert np.isfinite(np.delete(active.grades(spoiled), 7)).all()
        with pytest.raises(FitError, match="row 7 of derivatives is not finite"):
            ActiveSet.of(spoiled)
        with pytest.raises(FitError, match="row 7"):
            active.extended(spoiled)


@pytest.mark.parametrize("shape", [(5, 0), (5,), (2, 3, 4)])
def test_rows_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FitError, match="expected"):
        ActiveSet.of(np.ones(shape))


def test_other_columns_are_refused_when_extending() -> None:
    active = ActiveSet.of(np.eye(3))
    with pytest.raises(FitError, match=r"\(2, 4\), expected \(n, 3\)"):
        active.extended(np.ones((2, 4)))


def test_an_active_set_pickles() -> None:
    active = ActiveSet.of(np.random.default_rng(32).normal(size=(30, 5)))
    again = pickle.loads(pickle.dumps(active))
    np.testing.assert_array_equal(again.inverse, active.inverse)
    assert again.log_volume == active.log_volume


def passing(rows: np.ndarray, rng: np.random.Generator, *, asked: list[int]) -> Pass:
    """The rows in chunks of random lengths; notes how many were given out."""

    def once() -> Iterator[Chunk]:
        first = 0
        while first < len(rows):
            stop = min(len(rows), first + int(rng.integers(1, 90)))
            asked.append(stop - first)
            yield rows[first:stop].copy(), np.arange(first, stop)
            first = stop

    return once


@pytest.mark.parametrize("near", [NEAR, 1])
@pytest.mark.parametrize("seed", range(4))
def test_rows_that_pass_by_give_an_active_set_as_good(
    seed: int, near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_search, "room_beside", lambda m: near * m)
    rng = np.random.default_rng(40 + seed)
    rows = draw(rng, 1500, int(rng.integers(2, 25)))
    asked: list[int] = []
    active = ActiveSet.of_stream(passing(rows, rng, asked=asked))
    assert active.grades(rows).max() <= 1 + 1e-5
    np.testing.assert_array_equal(active.rows, rows[active.origins])
    assert active.seen == 1500
    assert sum(asked) >= 2 * 1500, "the last pass shows that none is better"
    assert active.log_volume == pytest.approx(ActiveSet.of(rows).log_volume, abs=1.0)


@pytest.mark.parametrize("near", [NEAR, 1])
@pytest.mark.parametrize("threshold", [1.0, 1.1, 2.1])
def test_rows_that_pass_by_extend_an_active_set(
    threshold: float, near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(50)
    active, more = ActiveSet.of(draw(rng, 60, 20)), draw(rng, 2000, 20)
    at_once = active.extended(more, threshold=threshold)
    monkeypatch.setattr(_search, "room_beside", lambda m: near * m)
    grown = active.extended_by(passing(more, rng, asked=[]), threshold=threshold)
    assert grown.grades(more).max() <= threshold * (1 + 1e-5)
    assert grown.grades(active.rows).max() <= threshold * (1 + 1e-5)
    taken = grown.origins >= active.seen
    np.testing.assert_array_equal(grown.rows[taken], more[grown.origins[taken] - active.seen])
    kept = {origin: row.tobytes() for origin, row in zip(active.origins, active.rows, strict=True)}
    for origin, row in zip(grown.origins[~taken], grown.rows[~taken], strict=True):
        assert kept[origin] == row.tobytes()
    assert grown.seen == active.seen + 2000
    price = np.log(threshold)
    worth = [one.log_volume - price * (one.origins >= 60).sum() for one in (grown, at_once)]
    assert worth[0] == pytest.approx(worth[1], abs=1.0)


def test_few_rows_are_held_while_they_pass_by() -> None:
    m, chunk, chunks = 12, 500, 120
    whole = 8 * m * chunk * chunks

    def once() -> Iterator[Chunk]:
        rng = np.random.default_rng(60)
        for number in range(chunks):
            yield rng.normal(size=(chunk, m)), number * chunk + np.arange(chunk)

    ActiveSet.of_stream(once)  # what is allocated once and for all is not counted
    tracemalloc.start()
    try:
        active = ActiveSet.of_stream(once)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert active.seen == chunk * chunks
    assert peak < 2 * held(m) + 8 * 8 * m * chunk < whole / 4


def test_streams_are_checked() -> None:
    def once() -> Iterator[Chunk]:
        yield np.ones((3, 2)), np.arange(3)
        yield np.array([[1.0, 2.0], [np.nan, 1.0]]), np.arange(3, 5)

    with pytest.raises(FitError, match="row 4 of derivatives is not finite"):
        ActiveSet.of_stream(once)
    with pytest.raises(FitError, match="no rows of derivatives"):
        ActiveSet.of_stream(lambda: iter(()))
    with pytest.raises(FitError, match=r"\(3, 2\), expected \(n, 4\)"):
        ActiveSet.of(np.eye(4)).extended_by(once)


def test_active_rows_must_be_independent() -> None:
    for rows in (np.ones((3, 3)), np.diag([1.0, 0.0, 2.0])):
        with pytest.raises(FitError, match="linearly dependent"):
            ActiveSet.holding(rows, np.arange(3), 3)


def test_coefficients_that_went_wrong_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates drift where A is ill-conditioned; what they led to is then undone."""
    rng = np.random.default_rng(80)
    rows = draw(rng, 400, 15)
    noise = np.random.default_rng(81)

    def wrong(coefficients: np.ndarray, k: int, j: int) -> None:
        coefficients[:] = noise.normal(size=coefficients.shape)

    right = ActiveSet.of(rows)
    monkeypatch.setattr(_exchange, "_exchange", wrong)
    active = ActiveSet.of(rows)
    assert active.grades(rows).max() <= 1 + 1e-5
    assert active.log_volume == pytest.approx(right.log_volume, abs=1.0)


def test_no_rows_extend_nothing() -> None:
    active = ActiveSet.of(np.random.default_rng(70).normal(size=(30, 5)))
    grown = active.extended_by(lambda: iter(()), threshold=2.0)
    np.testing.assert_array_equal(grown.origins, active.origins)
    assert grown.seen == active.seen
