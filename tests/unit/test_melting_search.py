"""Velocities of interfaces, the line through them, and the search for where they vanish."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import cholesky

from athanor.errors import MeasurementError
from athanor.validate._melting.crossing import crossing_of
from athanor.validate._melting.growth import Growth, Noise, Velocity, noise_of, velocity_of
from athanor.validate._melting.search import Aim, Evidence, next_temperature, search

WALK, WHITE, INTERVAL, SAMPLES = 0.4, 0.05, 0.4, 100
START, BOX = 20.0, (8.0, 32.0)


def wandering(
    temperature: float, drift: float, rng: np.random.Generator, *, samples: int = SAMPLES
) -> Growth:
    """An interface that drifts and diffuses, sampled with noise, until a phase fills the box."""
    steps = drift * INTERVAL + np.sqrt(WALK * INTERVAL) * rng.standard_normal(samples)
    place = START + np.cumsum(steps)
    seen = place + np.sqrt(WHITE) * rng.standard_normal(samples)
    out = np.flatnonzero((seen < BOX[0]) | (seen > BOX[1]))
    if not len(out):
        return Growth(temperature, INTERVAL, tuple(seen))
    last = int(out[0])
    end = "solid" if seen[last] > BOX[1] else "liquid"
    return Growth(temperature, INTERVAL, tuple(seen[: last + 1]), end)


def fake(
    melting: float, mobility: float, seed: int, *, curved: float = 0.0
) -> Callable[[float, int], Growth]:
    """What grows with velocity mobility × undercooling, with kinetics that are no line far out."""

    def grow(temperature: float, number: int) -> Growth:
        cold = melting - temperature
        drift = mobility * cold * (1 - curved * cold / melting)
        return wandering(temperature, drift, np.random.default_rng([seed, number]))

    return grow


def aim(**others: float) -> Aim:
    given = {"guess": 1000.0, "lowest": 500.0, "highest": 1500.0, "half_width": 8.0}
    return Aim(**(given | others))


# growth


def test_the_velocity_is_that_of_generalised_least_squares() -> None:
    rng = np.random.default_rng(1)
    run = wandering(900.0, 0.1, rng, samples=40)
    noise = Noise(WALK, WHITE)
    found = velocity_of(run, noise)
    # the same from the full covariance of the samples, the start being free
    times = INTERVAL * np.arange(len(run.position))
    covariance = WALK * np.minimum.outer(times, times) + WHITE * np.eye(len(times))
    root = cholesky(covariance, lower=True)
    design = np.linalg.solve(root, np.stack([np.ones_like(times), times], axis=1))
    inverse = np.linalg.inv(design.T @ design)
    expected = inverse @ design.T @ np.linalg.solve(root, np.array(run.position))
    assert found.value == pytest.approx(expected[1], rel=1e-9)
    assert found.error == pytest.approx(np.sqrt(inverse[1, 1]), rel=1e-9)


def test_errors_of_velocities_are_what_velocities_scatter_by() -> None:
    rng = np.random.default_rng(2)
    found, errors = [], []
    for _ in range(60):
        runs = [wandering(900.0, 0.02, rng) for _ in range(4)]
        noise = noise_of(runs)
        found += [velocity_of(run, noise).value for run in runs if not run.end]
        errors += [velocity_of(run, noise).error for run in runs if not run.end]
    assert np.std(found) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.2)


@pytest.mark.parametrize(("walk", "white"), [(0.4, 0.05), (0.05, 0.5), (1.0, 0.001)])
def test_the_noise_is_recovered(walk: float, white: float) -> None:
    rng = np.random.default_rng(3)
    runs = []
    for _ in range(12):
        steps = 0.3 * INTERVAL + np.sqrt(walk * INTERVAL) * rng.standard_normal(200)
        seen = np.cumsum(steps) + np.sqrt(white) * rng.standard_normal(200)
        runs.append(Growth(900.0, INTERVAL, tuple(seen)))
    noise = noise_of(runs)
    assert noise.walk == pytest.approx(walk, rel=0.2)
    assert noise.white == pytest.approx(white, rel=0.2, abs=0.01)


def test_a_line_without_noise_has_its_slope() -> None:
    place = tuple(3.0 + 0.25 * INTERVAL * np.arange(30))
    run = Growth(900.0, INTERVAL, place)
    assert velocity_of(run, noise_of([run])).value == pytest.approx(0.25, rel=1e-6)
    assert run.time == pytest.approx(29 * INTERVAL)


# the crossing


def exact(temperatures: list[float], error: float = 0.01) -> list[Velocity]:
    return [Velocity(t, 0.02 * (926.0 - t), error) for t in temperatures]


def test_exact_velocities_cross_where_they_should() -> None:
    found = crossing_of(exact([880.0, 910.0, 940.0, 990.0]), confidence=0.95)
    assert found is not None
    assert found.temperature == pytest.approx(926.0)
    assert found.slope == pytest.approx(0.02)
    assert found.low < 926.0 < found.high
    assert found.velocity(906.0) == pytest.approx(0.4)


def test_the_interval_is_fieller_s() -> None:
    """At its ends the line is as many standard errors from zero as the confidence says."""
    rng = np.random.default_rng(4)
    speeds = [Velocity(v.temperature, v.value + 0.1 * rng.standard_normal(), 0.1)
              for v in exact([880.0, 900.0, 930.0, 960.0])]  # fmt: skip
    found = crossing_of(speeds, confidence=0.9)
    assert found is not None
    t, y = np.array([(v.temperature, v.value) for v in speeds]).T
    design = np.stack([np.ones_like(t), t], axis=1) / 0.1
    covariance = np.linalg.inv(design.T @ design) * max(1.0, found.chi2)
    line = np.linalg.lstsq(design, y / 0.1, rcond=None)[0]
    for end in (found.low, found.high):
        at = np.array([1.0, end])
        assert abs(at @ line) / np.sqrt(at @ covariance @ at) == pytest.approx(1.6449, abs=1e-3)


def test_intervals_contain_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    inside = []
    for _ in range(600):
        speeds = [
            Velocity(v.temperature, v.value + 0.2 * rng.standard_normal(), 0.2)
            for v in exact([880.0, 905.0, 930.0, 955.0, 980.0])
        ]
        found = crossing_of(speeds, confidence=0.8)
        if found is not None:
            inside.append(found.low <= 926.0 <= found.high)
    # errors that grow with chi2 err to the safe side
    assert 0.77 < np.mean(inside) < 0.92


def test_what_does_not_fall_with_temperature_has_no_crossing() -> None:
    rising = [Velocity(t, 0.02 * (t - 926.0), 0.01) for t in (900.0, 950.0)]
    assert crossing_of(rising, confidence=0.95) is None
    assert crossing_of(exact([900.0]), confidence=0.95) is None
    noisy = exact([920.0, 930.0], error=5.0)
    assert crossing_of(noisy, confidence=0.95) is None


def test_velocities_far_out_do_not_bend_the_line() -> None:
    speeds = exact([910.0, 920.0, 930.0, 940.0])
    speeds += [Velocity(600.0, 1.0, 0.01), Velocity(1200.0, -30.0, 0.01)]
    found = crossing_of(speeds, confidence=0.95, window=0.05)
    assert found is not None
    assert found.used == 4
    assert found.temperature == pytest.approx(926.0)


# the search


def test_the_search_finds_melting_points_within_its_interval() -> None:
    """Melting points and mobilities are drawn; so many intervals of 95 % hold the truth."""
    rng = np.random.default_rng(6)
    inside, runs = [], []
    for trial in range(40):
        melting = float(rng.uniform(850, 1150))
        mobility = float(10 ** rng.uniform(-2.3, -1.5))
        curved = float(rng.uniform(0, 1))
        found = search(fake(melting, mobility, trial, curved=curved), aim())
        crossing = found.crossing
        assert not found.narrow or crossing.half_width <= 8.0
        inside.append(crossing.low <= melting <= crossing.high)
        runs.append(len(found.runs))
    # 40 draws of 95 %: fewer than 33 has a chance of one in a thousand
    assert sum(inside) >= 33
    assert np.median(runs) < 25


@pytest.mark.parametrize("guess", [600.0, 930.0, 1400.0])
def test_a_bad_guess_is_left(guess: float) -> None:
    found = search(fake(926.0, 0.02, 7), aim(guess=guess, lowest=300.0, highest=1600.0))
    assert found.narrow
    assert abs(found.crossing.temperature - 926.0) < 12.0


def test_the_same_search_again_is_the_same() -> None:
    assert search(fake(926.0, 0.02, 8), aim()) == search(fake(926.0, 0.02, 8), aim())


def test_runs_come_from_both_sides() -> None:
    found = search(fake(926.0, 0.02, 9), aim(half_width=5.0))
    near = [run.temperature for run in found.runs[3:]]
    assert min(near) < found.crossing.temperature < max(near)
    evidence = Evidence.of(found.runs, aim())
    assert min(evidence.growing) < found.crossing.temperature < max(evidence.melting)
    assert evidence.crossing == found.crossing


def test_too_few_runs_give_a_wider_interval_and_say_so() -> None:
    found = search(fake(926.0, 0.03, 10), aim(half_width=0.01, runs=9))
    assert not found.narrow
    assert len(found.runs) == 9
    assert found.crossing.half_width > 0.01


def test_a_crystal_that_grows_everywhere_has_no_bracket() -> None:
    with pytest.raises(MeasurementError, match=r"grows from 1000 to 1500 K and melts nowhere"):
        search(fake(5000.0, 0.001, 11), aim())


def test_a_crystal_that_melts_everywhere_has_no_bracket() -> None:
    with pytest.raises(MeasurementError, match=r"melts from 500 to 1000 K and grows nowhere"):
        search(fake(100.0, 0.001, 12), aim())


def test_an_interface_that_does_not_move_is_said_to() -> None:
    def grow(temperature: float, number: int) -> Growth:
        # vibrations alone, and alike at every temperature
        rng = np.random.default_rng(number)
        return Growth(temperature, INTERVAL, tuple(20 + 0.1 * rng.standard_normal(60)))

    with pytest.raises(MeasurementError, match=r"does not move beyond its noise|no line of growth"):
        search(grow, aim())


def test_phases_that_never_coexist_are_said_to() -> None:
    def grow(temperature: float, number: int) -> Growth:
        end = "solid" if temperature < 926.0 else "liquid"
        return Growth(temperature, INTERVAL, (20.0, 50.0), end)

    with pytest.raises(MeasurementError, match="never coexist"):
        search(grow, aim())


def test_velocities_that_fall_nowhere_are_no_melting_point() -> None:
    def grow(temperature: float, number: int) -> Growth:
        # the wrong way round: growth above and melting below
        drift = 0.5 if temperature > 990.0 else -0.5
        return wandering(temperature, drift, np.random.default_rng(number), samples=30)

    with pytest.raises(MeasurementError, match=r"no line of growth|no bracket"):
        search(grow, aim(runs=12, half_width=0.5))


def test_the_first_run_is_at_the_guess_and_the_second_on_the_side_that_the_first_says() -> None:
    assert next_temperature(Evidence(), aim()) == 1000.0
    for drift, expected in ((2.0, 1040.0), (-2.0, 960.0)):
        run = wandering(1000.0, drift, np.random.default_rng(13))
        assert next_temperature(Evidence.of([run], aim()), aim()) == pytest.approx(expected)


def test_runs_that_are_not_sure_one_by_one_are_a_bracket_together() -> None:
    found = crossing_of(
        [Velocity(t, 0.02 * (1000.0 - t), 0.5) for t in np.linspace(900.0, 1100.0, 9)],
        confidence=0.95,
    )
    assert found is not None

    def tried(*places: float) -> Evidence:
        return Evidence(tuple(Growth(t, INTERVAL, (20.0,)) for t in places), crossing=found)

    assert tried(900.0, 1100.0).bracket == (found.low, found.high)
    assert tried(found.low + 1.0, 1100.0).bracket is None
    assert tried(900.0, found.high - 1.0).bracket is None
    assert Evidence(tried(900.0).runs, growing=(900.0,)).bracket is None
