"""Writing MLIP's active-learning states byte by byte, as their layout is documented."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from athanor.data.cfg import CfgRecord, write_cfg
from athanor.loading import load
from athanor.potentials._mtp.mlip_file import write_mtp
from athanor.potentials._mtp.model import IndexTables, MtpModel
from athanor.potentials.mtp import MomentTensorPotential
from athanor.query._maxvol import ActiveSet
from athanor.query.doptimality import rows_of
from athanor.structure import FloatArray

SPECIES = ("Al", "Ni")
EMPTY = "BEGIN_CFG\n Size\n    0\nEND_CFG\n\n"
ENERGIES = {"energy_weight": 1.0, "force_weight": 0.0, "stress_weight": 0.0, "site_en_weight": 0.0}


def cfg_texts(folder: Path, structures: Sequence[Atoms], species: Sequence[str]) -> list[str]:
    """The `.cfg` text of each structure."""
    texts = []
    for index, atoms in enumerate(structures):
        path = folder / f"one{index}.cfg"
        write_cfg(path, [CfgRecord(atoms)], species=species)
        texts.append(path.read_text() + "\n")
        path.unlink()
    return texts


def second(
    potential: str,
    rows: FloatArray,
    origins: Sequence[int],
    texts: Sequence[str],
    weights: dict[str, float] = ENERGIES,
    columns: FloatArray | None = None,
) -> bytes:
    """An MLIP-2 `.als`; origins are -1 for rows that were never replaced.

    `columns` is the inverse as it is stored, column by column; computed here when it is None.

    Configurations are numbered as MLIP-2 does it: in the order in which rows name them, the empty
    one among them.
    """
    number: dict[int, int] = {}
    for origin in origins:
        number.setdefault(origin, len(number))
    columns = np.linalg.inv(rows).T if columns is None else columns
    four = [weights[name] for name in ("site_en_weight", "energy_weight")]
    four += [weights[name] for name in ("force_weight", "stress_weight")]
    return b"".join(
        [
            potential.encode() + b"\n^" + struct.pack("<4d", *four) + b"\n#",
            np.ascontiguousarray(rows, "<f8").tobytes(),
            np.ascontiguousarray(columns, "<f8").tobytes() + b"\n",
            *(f"{row} {number[origin]}\n".encode() for row, origin in enumerate(origins)),
            *((EMPTY if origin < 0 else texts[origin]).encode() for origin in number),
        ]
    )


def third(
    potential: str,
    rows: FloatArray,
    origins: Sequence[int],
    texts: Sequence[str],
    weights: dict[str, float] = ENERGIES,
) -> bytes:
    """An MLIP-3 `.almtp`."""
    named = [origin for origin in dict.fromkeys(origins) if origin >= 0]
    number = {origin: index for index, origin in enumerate(named)} | {-1: -1}
    return b"".join(
        [
            potential.encode() + b"\n#MVS_v1.1\n",
            *(f"{name} {value:.16e}\n".encode() for name, value in weights.items()),
            b"weight_scaling 2\n#",
            np.ascontiguousarray(rows, "<f8").tobytes(),
            np.ascontiguousarray(np.linalg.inv(rows).T, "<f8").tobytes() + b"\n#\n",
            *(f"{number[o]} {-1 if o < 0 else 0}\n".encode() for o in origins),
            b"#\n",
            *(texts[origin].encode() for origin in named),
        ]
    )


def small_model() -> MtpModel:
    """Five scalar moments, two radial functions of three terms, random coefficients."""
    rng = np.random.default_rng(7)
    basic = [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    times = [[0, 0, 1, 5], [1, 1, 1, 6], [2, 2, 1, 6], [3, 3, 1, 6], [0, 5, 1, 7]]
    n = len(SPECIES)
    return MtpModel(
        species=SPECIES,
        tables=IndexTables(
            basic=np.array(basic, dtype=np.int32),
            times=np.array(times, dtype=np.int32),
            mapping=np.array([0, 4, 5, 6, 7], dtype=np.int32),
            n_moments=8,
        ),
        min_dist=1.8,
        max_dist=5.0,
        scaling=0.25,
        radial=rng.normal(size=(n, n, 2, 3)),
        species_coeffs=rng.normal(size=n),
        moment_coeffs=rng.normal(size=5),
        name="small",
    )


def cells(count: int, *, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        size = int(rng.integers(2, 6))
        atoms = Atoms(
            [SPECIES[k] for k in rng.integers(0, 2, size)],
            cell=np.diag(rng.uniform(3.5, 5.5, 3)) + rng.normal(0, 0.1, (3, 3)),
            pbc=True,
        )
        atoms.set_scaled_positions((np.arange(size)[:, None] + rng.uniform(0, 0.3, 3)) / size)
        atoms.rattle(0.2, rng=rng)
        found.append(atoms)
    return found


class Case:
    """A potential, structures, and the active set that the published code could have left."""

    def __init__(self, folder: Path, by: str = "structure", count: int = 14) -> None:
        write_mtp(folder / "pot.mtp", small_model())
        self.text = (folder / "pot.mtp").read_text()
        self.potential = load(folder / "pot.mtp", SPECIES)
        assert isinstance(self.potential, MomentTensorPotential)
        self.structures = cells(count, seed=3)
        rows, owners = rows_of(self.potential, self.structures, by)
        active = ActiveSet.of(rows)
        self.rows = active.rows
        self.origins = [-1 if k < 0 else int(owners[k]) for k in active.origins]
        self.texts = cfg_texts(folder, self.structures, SPECIES)
        self.new = cells(12, seed=4)

    def expected(self, by: str) -> FloatArray:
        """max |b A^-1| without any of our code for grading."""
        rows, owners = rows_of(self.potential, self.new, by)
        grades = np.abs(rows @ np.linalg.inv(self.rows)).max(axis=1)
        return np.array([grades[owners == index].max() for index in range(len(self.new))])
