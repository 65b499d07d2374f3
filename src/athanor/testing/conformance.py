"""The contract of a potential as checks that anyone can run on a kind of their own.

    import pytest
    from athanor.testing import conformance

    @pytest.mark.parametrize("check", conformance.CHECKS, ids=conformance.title)
    def test_contract(check): check(conformance.Subject.of(MyConfig))

Each check takes a `Subject` and raises `ConformanceError` (an AssertionError) with one sentence:
which promise is broken, on which structure, by how much. Every structure is random and seeded.
Nothing here needs pytest; `run` does them all at once.
"""

from __future__ import annotations

from collections.abc import Callable

from athanor.potentials import PotentialConfig
from athanor.testing._behaviour import (
    check_bad_structures,
    check_batch,
    check_calculator,
    check_features,
    check_input_untouched,
    check_members,
    check_process_pool,
    check_repeatable,
    check_save_load,
    check_statement,
    check_unknown_element,
    check_without_stress,
)
from athanor.testing._derivatives import (
    check_forces,
    check_net_force,
    check_smooth_at_cutoff,
    check_smooth_in_crowd,
    check_stress,
)
from athanor.testing._following import check_following
from athanor.testing._subject import ConformanceError, Subject
from athanor.testing._symmetries import (
    check_choice_of_cell,
    check_isolated_atom,
    check_lattice_translation,
    check_left_handed,
    check_open_directions,
    check_permutation,
    check_reflection,
    check_rotation,
    check_separate_parts,
    check_small_cells,
    check_supercell,
    check_translation,
)
from athanor.testing._threads import check_threads

__all__ = ["CHECKS", "Check", "ConformanceError", "Subject", "run", "title"]

Check = Callable[[Subject], None]

CHECKS: tuple[Check, ...] = (
    check_statement,
    check_forces,
    check_net_force,
    check_stress,
    check_smooth_at_cutoff,
    check_smooth_in_crowd,
    check_rotation,
    check_reflection,
    check_translation,
    check_permutation,
    check_lattice_translation,
    check_choice_of_cell,
    check_open_directions,
    check_supercell,
    check_small_cells,
    check_left_handed,
    check_isolated_atom,
    check_separate_parts,
    check_batch,
    check_without_stress,
    check_input_untouched,
    check_repeatable,
    check_save_load,
    check_process_pool,
    check_unknown_element,
    check_bad_structures,
    check_calculator,
    check_features,
    check_members,
    check_following,
    check_threads,
)


def title(check: Check) -> str:
    """The name of a check without its prefix, e.g. 'lattice_translation'."""
    return str(getattr(check, "__name__", check)).removeprefix("check_")


def run(recipe: type[PotentialConfig], *, seed: int = 0) -> dict[str, ConformanceError | None]:
    """Run every check on the example of `recipe`: title -> None, or what is broken."""
    subject = Subject.of(recipe, seed=seed)
    return {title(check): _outcome(check, subject) for check in CHECKS}


def _outcome(check: Check, subject: Subject) -> ConformanceError | None:
    try:
        check(subject)
    except ConformanceError as error:
        return error
    except Exception as error:
        # an unexpected error is a broken promise too, and must not hide the other checks
        broken = ConformanceError(f"{title(check)} ended with {error!r}")
        broken.__cause__ = error
        return broken
    return None
