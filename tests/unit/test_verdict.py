"""What a comparison of ways of choosing says, and when it says nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from athanor.distil.folder import ArmResult
from athanor.distil.verdict import sentence, verdicts


def results(
    arm: str, values: Sequence[float | None], *, failed: int = 0, forces: bool = True
) -> list[ArmResult]:
    """Fits of one arm in eV/atom (None: not finite); the last `failed` gave nothing."""
    done = [
        ArmResult(
            arm,
            seed,
            20,
            {
                "energy_rmse": value,
                "forces_rmse": 10 * value if forces and value is not None else None,
            },
            "",
        )
        for seed, value in enumerate(values)
    ]
    return done + [ArmResult(arm, 50 + k, 20, None, f"too flat {k}") for k in range(failed)]


def drawn(mean: float, count: int, *, seed: int) -> list[float]:
    """Errors about a mean, eV/atom."""
    return list(np.random.default_rng(seed).normal(mean, 1e-4, count))


def test_clusters_that_are_better_are_said_to_be() -> None:
    low, high = drawn(1e-3, 5, seed=1), drawn(2e-3, 5, seed=2)
    told = [*results("clusters", low), *results("random", high)]
    said = sentence(told)
    assert said.startswith("For energies, the clustered choice beats a random one as large: ")
    assert f"{1e3 * np.mean(low):.3g} against {1e3 * np.mean(high):.3g} meV/atom (5 seeds" in said
    p = stats.ttest_ind(low, high, equal_var=False, alternative="less").pvalue
    assert verdicts(told)[0].p == pytest.approx(p)
    assert "beats" in sentence(told, "forces_rmse")
    assert f"{1e4 * np.mean(low):.3g} against" in sentence(told, "forces_rmse")
    other = [*results("clusters", high), *results("random", low)]
    assert "does not beat a random one" in sentence(other)


def test_fits_that_failed_are_counted() -> None:
    low, high = drawn(1e-3, 4, seed=3), drawn(2e-3, 4, seed=4)
    told = [*results("clusters", low, failed=2), *results("random", high, failed=2)]
    said = sentence(told)
    assert "beats a random one" in said
    assert said.endswith("; 2 of 6 fits to clusters and 2 of 6 fits to random choices failed).")
    assert verdicts(told)[0].failed == 2
    assert verdicts(told)[0].reasons == ("too flat 0", "too flat 1")


@pytest.mark.parametrize(("lost", "of_chance"), [(1, 0), (0, 2), (2, 1)])
def test_no_claim_where_not_as_many_fits_failed(lost: int, of_chance: int) -> None:
    told = [
        *results("clusters", drawn(1e-3, 5, seed=5), failed=lost),
        *results("soap", drawn(1e-3, 5, seed=6), failed=of_chance),
        *results("random", drawn(2e-3, 5, seed=7), failed=of_chance),
    ]
    for measure in ("energy_rmse", "forces_rmse"):
        said = sentence(told, measure)
        assert f"{lost} of {5 + lost} fits to clusters" in said
        assert f"{of_chance} of {5 + of_chance} fits to random choices failed" in said
        assert "nothing is said of which choice is better" in said
        assert "beat" not in said
    by_arm = {one.arm: one for one in verdicts(told)}
    assert by_arm["clusters"].p is None
    assert by_arm["clusters"].beats_random is None
    assert by_arm["soap"].p is not None


def test_errors_that_are_not_finite_are_failures() -> None:
    told = [
        *results("clusters", [*drawn(1e-3, 4, seed=8), None]),
        *results("random", drawn(2e-3, 5, seed=9)),
    ]
    assert "1 of 5 fits to clusters and 0 of 5 fits to random choices failed" in sentence(told)


def test_every_fit_of_an_arm_failed() -> None:
    told = [*results("clusters", [], failed=3), *results("random", drawn(2e-3, 3, seed=10))]
    assert sentence(told) == (
        "For energies nothing can be compared: 3 of 3 fits to clusters and 0 of 3 fits to random "
        "choices failed."
    )


def test_without_labels_of_forces_no_fit_failed() -> None:
    told = [
        *results("clusters", drawn(1e-3, 3, seed=11), forces=False),
        *results("random", drawn(1e-3, 3, seed=12), forces=False),
    ]
    assert {one.failed for one in verdicts(told)} == {0}
    assert sentence(told, "forces_rmse") == "No comparison with a random choice was made."
    assert sentence([]) == sentence(told[:3]) == sentence(told, "forces_rmse")


def test_the_whole_pool_leaves_nothing_to_compare() -> None:
    told = [
        *results("clusters", drawn(1e-3, 5, seed=13)),
        *results("random", drawn(2e-3, 5, seed=14)),
    ]
    said = sentence(told, whole_pool=True, delta=0.0)
    assert said.endswith("took the same structures: there is nothing to compare.")
    assert {one.p for one in verdicts(told, whole_pool=True)} == {None}
    assert [one.mean for one in verdicts(told, whole_pool=True)] == [
        one.mean for one in verdicts(told)
    ]


def test_at_delta_0_soap_alone_is_the_same_partition() -> None:
    told = [
        *results("clusters", drawn(1e-3, 5, seed=19)),
        *results("random", drawn(1e-3, 5, seed=15)),
    ]
    same = "clusters and SOAP alone are the same partition"
    with_soap = [*told, *results("soap", drawn(1e-3, 5, seed=16))]
    assert sentence(with_soap, delta=0.0).endswith(f"{same}.")
    assert sentence(with_soap, delta=0.0).startswith(sentence(with_soap))
    for silent in (
        sentence(with_soap),
        sentence(with_soap, delta=0.1),
        sentence(told, delta=0.0),
    ):
        assert same not in silent


def test_few_seeds_say_nothing_of_chance() -> None:
    told = [
        *results("clusters", drawn(1e-3, 2, seed=17)),
        *results("random", drawn(2e-3, 2, seed=18)),
    ]
    assert "over too few seeds to say whether clusters beat chance." in sentence(told)
