"""What is wrong with an active-learning state of the MLIP package is said in one sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from mlip_states import EMPTY, SPECIES, Case, second, third

from athanor.errors import ConfigError, FormatError
from athanor.loading import load
from athanor.potentials._mtp.mlip_state import read_state
from athanor.potentials.lj import LennardJones
from athanor.potentials.mtp import MomentTensorPotential
from athanor.query.doptimality import DOptimalityConfig
from athanor.query.random import RandomConfig
from athanor.query.state import query_from_state


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


BIG_ENDIAN = struct.pack(">4d", 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (struct.pack("<4d", 0, 1, 0, 0), BIG_ENDIAN, "another byte order"),
        (struct.pack("<4d", 0, 1, 0, 0), struct.pack("<4d", 0, np.nan, 0, 0), "expected 0 or"),
        (struct.pack("<4d", 0, 1, 0, 0), struct.pack("<4d", 0, -1, 0, 0), "expected 0 or"),
        (struct.pack("<4d", 0, 1, 0, 0), struct.pack("<4d", 0, 1, 1, 0), "force_weight 1"),
        (struct.pack("<4d", 0, 1, 0, 0), struct.pack("<4d", 0, 1, 0, 1), "stress_weight 1"),
        (struct.pack("<4d", 0, 1, 0, 0), struct.pack("<4d", 1, 1, 0, 0), "energies alone"),
        (struct.pack("<4d", 0, 1, 0, 0), struct.pack("<4d", 0, 0, 0, 0), "energies alone"),
        (struct.pack("<4d", 0, 1, 0, 0), struct.pack("<4d", 0, 2, 0, 0), "add up to"),
        (b"\n0 0\n", b"\n0 x\n", "expected its number and that of its configuration"),
        (b"\n0 0\n", b"\n1 0\n", "numbered one after the other"),
        (b"\n0 0\n", b"\n0 99\n", "expected 100"),
        (b"\n0 0\n", b"\n0 -1\n", "numbered one after the other"),
        (b"END_CFG", b"END_CFX", "not one from BEGIN_CFG to END_CFG"),
        (b"\n#", b"\n?", "the end of the weights"),
    ],
)
def test_what_is_wrong_is_said(
    old: bytes, new: bytes, words: str, case: Case, tmp_path: Path
) -> None:
    content = second(case.text, case.rows, case.origins, case.texts)
    assert old in content
    path = tmp_path / "state.als"
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(FormatError, match=words):
        read_state(path, SPECIES)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"#MVS_v1.1", b"#MVS_v1.2", "the version that is read"),
        (b"energy_weight 1", b"energy-weight 1", "expected energy_weight and a number"),
        (b"stress_weight 0", b"stress_weight y", "expected a number as stress_weight"),
        (b"weight_scaling 2\n", b"", "expected weight_scaling"),
        (b"\n#\n", b"\n##\n", "the end of the matrices"),
        (b"0 0\n", b"99 0\n", "expected 100: the file is cut short"),
        (b"BEGIN_CFG", b"BEGIN CFG", "not one from BEGIN_CFG to END_CFG"),
    ],
)
def test_what_is_wrong_with_the_newer_kind_is_said(
    old: bytes, new: bytes, words: str, case: Case, tmp_path: Path
) -> None:
    content = third(case.text, case.rows, case.origins, case.texts)
    assert old in content
    path = tmp_path / "state.almtp"
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(FormatError, match=words):
        read_state(path, SPECIES)


def test_matrices_that_do_not_belong_together(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "state.als"
    content = second(case.text, case.rows, case.origins, case.texts)
    begin = content.index(b"\n#") + 2
    size = 8 * case.rows.size
    rows = content[begin : begin + size]
    swapped = np.frombuffer(rows, "<f8").astype(">f8").tobytes()
    for wrong in (swapped, bytes(size), case.rows.T.copy().tobytes()):
        path.write_bytes(content[:begin] + wrong + content[begin + size :])
        with pytest.raises(FormatError, match="differs from one by"):
            read_state(path, SPECIES)
    # transposed with its own inverse: the columns of the species no longer add up
    transposed = case.rows.T.copy()
    path.write_bytes(second(case.text, transposed, [0] * len(transposed), case.texts))
    with pytest.raises(FormatError, match="add up to"):
        read_state(path, SPECIES)
    # a row that belongs to no configuration but is not initial
    last = max(case.origins)
    origins = [-1 if origin == last else origin for origin in case.origins]
    path.write_bytes(second(case.text, case.rows, origins, case.texts))
    with pytest.raises(FormatError, match="belongs to no configuration"):
        read_state(path, SPECIES)


def test_bytes_left_over(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "state.als"
    content = second(case.text, case.rows, case.origins, case.texts)
    path.write_bytes(content + b"BEGIN_CFG\n")
    with pytest.raises(FormatError, match="expected the end of the file"):
        read_state(path, SPECIES)
    path.write_bytes(content + EMPTY.encode())
    with pytest.raises(FormatError, match="cut short, or glued together"):
        read_state(path, SPECIES)
    path.write_bytes(content + b"\xff\xfe")
    with pytest.raises(FormatError, match="not text"):
        read_state(path, SPECIES)


def test_a_configuration_that_is_damaged_is_named(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "state.als"
    content = second(case.text, case.rows, case.origins, case.texts)
    path.write_bytes(content.replace(b"cartes_z", b"cartes_q", 1))
    state = read_state(path, SPECIES)  # grading has no need of them
    with pytest.raises(FormatError, match="configuration 0 of the active set: found no column"):
        state.structures()


def test_a_potential_alone_is_no_state(case: Case, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="expected an active-learning state behind it"):
        read_state(tmp_path / "pot.mtp", SPECIES)
    with pytest.raises(FormatError, match="cannot be read"):
        read_state(tmp_path / "absent.als", SPECIES)


def test_a_state_goes_with_its_own_potential(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "state.als"
    path.write_bytes(second(case.text, case.rows, case.origins, case.texts))
    recipe = DOptimalityConfig()
    with pytest.raises(ConfigError, match="belongs to a moment tensor potential"):
        query_from_state(
            LennardJones(frozenset({"Al"}), cutoff=5.0, epsilon=0.1, sigma=2.5), path, recipe=recipe
        )
    with pytest.raises(ConfigError, match="not for random"):
        query_from_state(case.potential, path, recipe=RandomConfig())
    other = load(tmp_path / "pot.mtp", SPECIES)
    assert isinstance(other, MomentTensorPotential)
    other.model.moment_coeffs[2] *= 1 + 1e-6
    with pytest.raises(ConfigError, match=r"another potential \(moment_coeffs differ"):
        query_from_state(MomentTensorPotential(other.model, core=False), path, recipe=recipe)
    with pytest.raises(ConfigError, match="its rows are made by structure, not by atom"):
        query_from_state(case.potential, path, recipe=DOptimalityConfig(by="atom"))
    with pytest.raises(ConfigError, match="2 species, but 1 were named"):
        read_state(path, ["Al"])
