"""Active-learning states of the MLIP package, written here byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from mlip_states import ENERGIES, SPECIES, Case, second, third

from athanor.errors import AthanorError, FormatError
from athanor.loading import load
from athanor.potentials._mtp.mlip_state import read_state
from athanor.query.doptimality import DOptimalityConfig, rows_of
from athanor.query.state import query_from_state

SITES = ENERGIES | {"energy_weight": 0.0, "site_en_weight": 1.0}
WRITERS = {"als": second, "almtp": third}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("by", ["structure", "atom"])
def test_grades_are_those_of_the_active_set_in_the_file(
    suffix: str, by: str, tmp_path: Path
) -> None:
    case = Case(tmp_path, by)
    path = tmp_path / f"state.{suffix}"
    weights = ENERGIES if by == "structure" else SITES
    path.write_bytes(WRITERS[suffix](case.text, case.rows, case.origins, case.texts, weights))
    state = read_state(path, SPECIES)
    assert state.by == by
    np.testing.assert_array_equal(state.rows, case.rows)
    assert [origin < 0 for origin in state.origins] == [origin < 0 for origin in case.origins]
    # more coefficients than structures: some rows are still the initial ones
    assert -1 in state.origins or by == "atom"
    query = query_from_state(case.potential, path, recipe=DOptimalityConfig(save=1.5, halt=4))
    assert (query.save, query.halt, query.by) == (1.5, 4, by)
    found = [grade.value for grade in query.grade(case.new)]
    np.testing.assert_allclose(found, case.expected(by), rtol=1e-8)


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_configurations_of_the_active_set_are_read(
    suffix: str, case: Case, tmp_path: Path
) -> None:
    path = tmp_path / f"state.{suffix}"
    path.write_bytes(WRITERS[suffix](case.text, case.rows, case.origins, case.texts))
    named = [k for k in dict.fromkeys(case.origins) if k >= 0]
    found = read_state(path, SPECIES).structures()
    assert len(found) == len(named)
    for atoms, index in zip(found, named, strict=True):
        assert atoms.get_chemical_formula() == case.structures[index].get_chemical_formula()
        np.testing.assert_array_equal(atoms.positions, case.structures[index].positions)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_state_is_a_potential_too(suffix: str, case: Case, tmp_path: Path) -> None:
    path = tmp_path / f"state.{suffix}"
    path.write_bytes(WRITERS[suffix](case.text, case.rows, case.origins, case.texts))
    for one, other in zip(
        load(path, SPECIES).predict(case.new), case.potential.predict(case.new), strict=True
    ):
        assert one.energy == other.energy
        np.testing.assert_array_equal(one.forces, other.forces)


def test_a_weight_of_the_energies_leaves_grades_as_they_are(case: Case, tmp_path: Path) -> None:
    replaced = np.array(case.origins)[:, None] >= 0
    case.rows = np.where(replaced, 7.0 * case.rows, case.rows)
    path = tmp_path / "state.als"
    weights = ENERGIES | {"energy_weight": 7.0}
    path.write_bytes(second(case.text, case.rows, case.origins, case.texts, weights))
    query = query_from_state(case.potential, path, recipe=DOptimalityConfig())
    found = [grade.value for grade in query.grade(case.new)]
    # theirs multiply a new row by 7 as well
    np.testing.assert_allclose(found, 7 * case.expected("structure"), rtol=1e-8)


def test_selection_goes_on_from_the_state(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "state.als"
    path.write_bytes(second(case.text, case.rows, case.origins, case.texts))
    query = query_from_state(case.potential, path, recipe=DOptimalityConfig(save=1.1))
    chosen = query.select(case.new, query.grade(case.new), 12, np.random.default_rng(0))
    assert chosen
    rows, _ = rows_of(case.potential, case.new, "structure")
    grown = query.active.extended(rows, threshold=1.1)
    assert grown.grades(rows).max() <= 1.1 * (1 + 1e-5)


def test_a_state_of_nothing_has_initial_rows_only(tmp_path: Path) -> None:
    """What the published code leaves when it is given an empty training set."""
    case = Case(tmp_path)
    m = len(case.rows)
    path = tmp_path / "state.als"
    path.write_bytes(second(case.text, 1e-5 * np.eye(m), [-1] * m, []))
    state = read_state(path, SPECIES)
    assert state.origins == (-1,) * m
    assert state.structures() == []
    query = query_from_state(case.potential, path, recipe=DOptimalityConfig())
    assert min(grade.value for grade in query.grade(case.new)) > 1e4


def test_an_initial_row_that_went_away_and_came_back(case: Case, tmp_path: Path) -> None:
    """It then stands in another place, and the file may say that it is of a configuration."""
    first, second_ = [k for k, origin in enumerate(case.origins) if origin < 0][:2]
    case.rows[[first, second_]] = case.rows[[second_, first]]
    case.origins[first] = 0
    path = tmp_path / "state.als"
    path.write_bytes(second(case.text, case.rows, case.origins, case.texts))
    state = read_state(path, SPECIES)
    assert state.origins[first] == -1
    query = query_from_state(case.potential, path, recipe=DOptimalityConfig())
    found = [grade.value for grade in query.grade(case.new)]
    np.testing.assert_allclose(found, case.expected("structure"), rtol=1e-8)


def test_coefficients_of_unused_radial_functions_are_taken_away(tmp_path: Path) -> None:
    """A third radial function, which no moment uses: its columns hold initial rows only."""
    case = Case(tmp_path)
    text = case.text.replace("radial_funcs_count = 2", "radial_funcs_count = 3")
    lines = []
    for line in text.split("\n"):
        lines.append(line)
        if line.startswith("\t\t\t{") and len(lines) >= 2 and lines[-2].startswith("\t\t\t{"):
            lines.append("\t\t\t{0.5, 0.25, 0.125}")
    text = "\n".join(lines)
    unused = np.zeros((2, 2, 3, 3), dtype=bool)
    unused[:, :, 2] = True
    mask = np.append(unused.ravel(), np.zeros(2 + 5, dtype=bool))
    m = len(mask)
    rows = 1e-5 * np.eye(m)
    rows[np.ix_(~mask, ~mask)] = case.rows
    origins = np.full(m, -1)
    origins[~mask] = case.origins
    path = tmp_path / "state.als"
    path.write_bytes(second(text, rows, origins.tolist(), case.texts))
    state = read_state(path, SPECIES)
    np.testing.assert_array_equal(state.rows, case.rows)
    # the configurations have other numbers where a row of the empty one comes earlier
    assert [origin < 0 for origin in state.origins] == [origin < 0 for origin in case.origins]
    assert len(state.structures()) == len({*case.origins} - {-1})
    rows[0, mask.argmax()] = 0.5  # a structure that depends on it cannot be
    path.write_bytes(second(text, rows, origins.tolist(), case.texts))
    with pytest.raises(FormatError, match="does not use"):
        read_state(path, SPECIES)


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_cut_is_an_error(suffix: str, case: Case, tmp_path: Path) -> None:
    content = WRITERS[suffix](case.text, case.rows, case.origins, case.texts)
    path = tmp_path / f"state.{suffix}"
    rng = np.random.default_rng(11)
    state = len(case.text) + 1
    whole = content.rstrip()
    # each byte around what separates the parts, and bytes drawn anywhere
    edges = [state, content.index(b"#", state), len(whole) - 8]
    cuts = {edge + k for edge in edges for k in range(60)} | set(
        rng.integers(state, len(whole), 150).tolist()
    )
    for cut in sorted(cuts):
        if cut < len(whole) and cut > state:
            path.write_bytes(content[:cut])
            with pytest.raises(FormatError) as caught:
                read_state(path, SPECIES)
            assert "\n" not in str(caught.value)


def answer(path: Path, m: int) -> str:
    """The sentence of the error, or "finite" where all is; nothing else is allowed."""
    try:
        state = read_state(path, SPECIES)
        state.structures()
    except AthanorError as error:
        return str(error)
    return "finite" if state.rows.shape == (m, m) and np.isfinite(state.rows).all() else ""


@pytest.mark.parametrize("suffix", WRITERS)
def test_wounded_states_are_refused_or_harmless(suffix: str, case: Case, tmp_path: Path) -> None:
    """Any bytes: finite rows of the right shape, or one of our errors in one line."""
    content = WRITERS[suffix](case.text, case.rows, case.origins, case.texts)
    path = tmp_path / f"state.{suffix}"
    rng = np.random.default_rng(13)
    m = len(case.rows)
    refused = 0
    for _ in range(400):
        wounded = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            place = int(rng.integers(0, len(wounded) - 40))
            kind = rng.integers(0, 4)
            if kind == 0:
                wounded[place : place + 1] = rng.bytes(1)
            elif kind == 1:
                del wounded[place : place + int(rng.integers(1, 40))]
            elif kind == 2:
                wounded[place:place] = rng.bytes(int(rng.integers(1, 40)))
            else:
                wounded[place : place + 8] = struct.pack("<d", [np.nan, np.inf, 1e300][place % 3])
        path.write_bytes(bytes(wounded))
        said = answer(path, m)
        assert said
        assert "\n" not in said
        refused += said != "finite"
    assert refused > 300
