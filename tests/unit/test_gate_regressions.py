"""Whether a potential got worse: drawn values, noise, margins, what cannot be judged."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from athanor.errors import ConfigError
from athanor.validate import PropertyConfig, Quantity, kinds, regressions
from athanor.validate._contract import FAILED, SCHEDULE
from athanor.validate._regression import NOISE, unmatched
from athanor.validate.heldout import HeldOut


def c11(value: float, **more: float) -> Quantity:
    return Quantity("C11", value, "GPa", **{"reference": 117.0, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_is_the_noise_and_the_margin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    was, u_old, u_new, u_reference, margin = rng.uniform(0.1, 3.0, 5)
    allowed = NOISE * math.sqrt(u_old**2 + u_new**2 + u_reference**2) + margin
    signs = rng.choice([-1.0, 1.0], 2)
    old = c11(117 + signs[0] * was, uncertainty=u_old)

    def said(grown: float) -> list[str]:
        new = c11(
            117 + signs[1] * (was + grown), uncertainty=u_new, reference_uncertainty=u_reference
        )
        return regressions([old], [new], ["C*"], margin={"C1?": margin})

    assert said(allowed * 0.999) == []
    (sentence,) = said(allowed * 1.001)
    assert sentence.startswith("C11 is off by ")
    assert f"was off by {was:.4g}" in sentence


def test_noise_alone_refuses_nobody_more_often_than_it_should() -> None:
    """Two measurements of one potential: the difference of errors is chance, 2 sigma of it."""
    rng = np.random.default_rng(3)
    refused = 0
    for old, new in rng.normal(120.0, 1.0, (2000, 2)):
        refused += bool(
            regressions([c11(old, uncertainty=1.0)], [c11(new, uncertainty=1.0)], ["C11"])
        )
    # one-sided 2 sigma of a normal distribution: 2.3 %
    assert 0.012 < refused / 2000 < 0.035


def test_better_is_never_worse() -> None:
    rng = np.random.default_rng(4)
    for old, share in zip(rng.normal(120.0, 9.0, 200), rng.uniform(-1, 1, 200), strict=True):
        new = 117.0 + share * (old - 117.0)
        assert regressions([c11(old)], [c11(new)], ["*"]) == []


def test_rounding_is_no_difference() -> None:
    assert regressions([c11(120.0)], [c11(120.0 * (1 + 1e-9))], ["C11"]) == []
    assert len(regressions([c11(120.0)], [c11(120.01)], ["C11"])) == 1


def test_only_what_is_chosen_is_judged() -> None:
    old, new = [c11(117.0)], [c11(150.0)]
    assert regressions(old, new, ["C44", "B"]) == []
    assert regressions(old, new, []) == []
    assert len(regressions(old, new, ["B", "C[1-4]?"])) == 1


def test_what_cannot_be_measured_any_more_is_worse() -> None:
    (sentence,) = regressions([c11(119.0)], [], ["C11"])
    assert sentence == "C11 could not be measured any more; it was 119 GPa"
    assert regressions([], [c11(150.0)], ["C11"]) == []
    failed = Quantity(FAILED, 0.0, "", 1.0, passed=False)
    assert regressions([c11(119.0)], [c11(119.0), failed], ["*"]) == [
        "it is not measured without failure any more"
    ]
    assert regressions([c11(119.0), failed], [c11(119.0), failed], ["*"]) == []
    assert regressions([c11(119.0), failed], [c11(119.0)], ["*"]) == []
    assert regressions([c11(119.0)], [c11(119.0), failed], ["C11"]) == []


def test_the_truth_is_the_reference_else_the_literature() -> None:
    bare = Quantity("a", 4.00, "Å")
    assert regressions([bare], [replace(bare, value=5.0)], ["a"]) == [], "nobody knows"
    known = replace(bare, literature=4.05)
    assert len(regressions([known], [replace(known, value=4.20)], ["a"])) == 1
    assert regressions([known], [replace(known, value=4.10)], ["a"]) == []
    both = replace(known, reference=4.20)
    assert regressions([both], [replace(both, value=4.20)], ["a"]) == []
    # a reference that could not be measured again is still the reference
    assert regressions([both], [replace(bare, value=4.20)], ["a"]) == []


def test_an_error_is_its_own_deviation() -> None:
    rmse = Quantity("force RMSE", 40.0, "meV/Å", is_error=True)
    assert len(regressions([rmse], [replace(rmse, value=41.0)], ["*RMSE"])) == 1
    assert regressions([rmse], [replace(rmse, value=39.0)], ["*RMSE"]) == []
    assert regressions([rmse], [replace(rmse, value=41.0)], ["*"], margin={"*": 2.0}) == []


def test_patterns_that_name_nothing() -> None:
    some = [c11(117.0), Quantity("frames", 200.0, "")]
    assert unmatched(some, ["C11", "C?2", "frames", "*"]) == ["C?2", "frames"]


def test_the_schedule_is_no_part_of_what_is_measured() -> None:
    plain = HeldOut(element="Al")
    gated = HeldOut(element="Al", every=3, gate=("*RMSE",), gate_margin={"*": 1.0})
    assert gated.identity == plain.identity
    assert SCHEDULE & plain.identity.keys() == set()
    assert HeldOut(element="Cu").identity != plain.identity
    assert HeldOut.parse(gated.model_dump(mode="json"), where="x") == gated


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"every": 0}, "every = 0 is not allowed"),
        ({"gate_margin": {"C11": 1.0}}, "gate_margin needs gate"),
        ({"gate": ["C11"], "gate_margin": {"C11": -1.0}}, r"gate_margin.C11 = -1.0 is not allowed"),
        ({"gate": "C11"}, "gate = 'C11' is not allowed"),
        ({"gates": ["C11"]}, "did you mean 'gate'"),
    ],
)
def test_mistakes_in_the_schedule(keys: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        HeldOut.parse({"element": "Al", **keys}, where="[[validate]]")


def test_no_property_has_a_field_of_the_schedule_for_something_else() -> None:
    """A campaign would take `every = 10` for its cycles."""
    for kind in kinds().values():
        for one in set(kind.__mro__) - {PropertyConfig}:
            assert SCHEDULE & vars(one).get("__annotations__", {}).keys() == set(), one
