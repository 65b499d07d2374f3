"""MLIP's `.cfg` files: structures with species numbers, energy, forces and stress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from athanor.data._lines import Lines
from athanor.data.durable import write_file
from athanor.data.species import check_species
from athanor.data.text import lines_of, opened
from athanor.errors import ConfigError, FolderError, FormatError
from athanor.structure import FloatArray, Labels, check_labels, check_structure

CARTESIAN = ("cartes_x", "cartes_y", "cartes_z")
DIRECT = ("direct_x", "direct_y", "direct_z")
FORCES = ("fx", "fy", "fz")
STRESS = ("xx", "yy", "zz", "yz", "xz", "xy")
SECTIONS = "Size, Supercell, AtomData:, Energy, PlusStress:, Feature or END_CFG"


@dataclass(frozen=True, slots=True)
class CfgRecord:
    """One configuration of a `.cfg` file.

    Attributes
    ----------
    atoms : geometry only; the first k cell vectors are periodic where the file has k rows.
    labels : energy (eV), forces (eV/Å), stress (eV/Å³); None unless energy and forces are there.
    features : the Feature lines, key -> text.
    """

    atoms: Atoms
    labels: Labels | None = None
    features: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Draft:
    """What has been read of one configuration."""

    begin: int
    size: int | None = None
    rows: FloatArray | None = None
    columns: dict[str, FloatArray] = field(default_factory=dict)
    energy: float | None = None
    plus_stress: list[float] | None = None
    features: dict[str, str] = field(default_factory=dict)


def read_cfg(path: str | Path, species: Sequence[str] | None) -> list[CfgRecord]:
    """Read every configuration of an MLIP `.cfg` file.

    PlusStress is -V times the stress in ASE's sign (Å³ and eV/Å³), in the order xx yy zz yz xz xy;
    without three cell vectors it has no volume to be divided by, and there is no stress label.

    Parameters
    ----------
    path : the file.
    species : chemical symbols by species index; the file has only indices.

    Raises
    ------
    ConfigError : `species` is None, or not different chemical symbols.
    FormatError : with the line, what was found and what was expected.
    StructureError : no potential could evaluate a configuration (singular cell).
    """
    return list(iter_cfg(path, species))


def iter_cfg(
    path: str | Path, species: Sequence[str] | None, *, forces_optional: bool = False
) -> Iterator[CfgRecord]:
    """Read one configuration after the other; raises what `read_cfg` does, where it gets to it.

    With `forces_optional` a configuration that has an energy alone has labels, with NaN for forces.
    """
    path = Path(path)
    symbols = _symbols(species, where=str(path))
    with opened(path) as file:
        lines = lines_of(path, file, expected="MLIP configurations")
        yield from _records(Lines(path, lines), symbols, forces_optional=forces_optional)


def parse_cfg(path: Path, text: str, species: Sequence[str]) -> list[CfgRecord]:
    """Read the configurations of a `.cfg` file's text; `path` is only named in messages.

    Raises FormatError, StructureError, ConfigError as `read_cfg`.
    """
    symbols = _symbols(species, where=str(path))
    return list(_records(Lines(path, text.split("\n")), symbols))


def _records(
    lines: Lines, symbols: tuple[str, ...], *, forces_optional: bool = False
) -> Iterator[CfgRecord]:
    count = 0
    while lines.peek():
        draft = _configuration(lines)
        where = f"{lines.path}, frame {count}"
        yield _record(lines, draft, symbols, where=where, forces_optional=forces_optional)
        count += 1
    if count == 0:
        raise FormatError(
            lines.path, None, "found no configuration, expected BEGIN_CFG ... END_CFG"
        )


def _symbols(species: Sequence[str] | None, *, where: str) -> tuple[str, ...]:
    if species is None:
        raise ConfigError(
            f"{where}: .cfg files have only species indices; name them in order, e.g. species Al,Ni"
        )
    names = check_species(species, where=where)
    if not names:
        raise ConfigError(f"{where}: no species are named; name each index, e.g. species Al,Ni")
    return names


def _configuration(lines: Lines) -> _Draft:
    words = lines.take("BEGIN_CFG")
    if words != ["BEGIN_CFG"]:
        lines.fail(f"found {words[0][:40]!r}, expected BEGIN_CFG")
    draft = _Draft(begin=lines.number)
    seen: set[str] = set()
    while True:
        words = lines.take("END_CFG")
        key = words[0].removesuffix(":")
        if words == ["END_CFG"]:
            return draft
        if words == ["BEGIN_CFG"]:
            lines.fail(
                f"found BEGIN_CFG, expected END_CFG: the configuration of line {draft.begin} "
                "is half-written"
            )
        if key in seen and key != "Feature":
            lines.fail(f"found {key} again, expected it once in a configuration")
        seen.add(key)
        _section(lines, draft, key, words[1:])


def _section(lines: Lines, draft: _Draft, key: str, rest: list[str]) -> None:
    if key == "Size":
        word = _single(lines, rest, "the number of atoms")
        draft.size = lines.integer(word, "the number of atoms")
        if draft.size < 1:
            lines.fail("found Size 0, expected at least one atom")
    elif key == "Supercell":
        draft.rows = _supercell(lines)
    elif key == "AtomData":
        draft.columns = _atom_data(lines, draft.size, rest)
    elif key == "Energy":
        draft.energy = lines.real(_single(lines, rest, "the energy"), "the energy")
    elif key == "PlusStress":
        draft.plus_stress = _plus_stress(lines, rest)
    elif key == "Feature":
        draft.features[rest[0] if rest else ""] = " ".join(rest[1:])
    else:
        lines.fail(f"found {key[:40]!r}, expected {SECTIONS}")


def _single(lines: Lines, rest: list[str], what: str) -> str:
    """The one word after a key, on its line or on the next."""
    words = rest or lines.take(what)
    if len(words) != 1:
        lines.fail(f"found {len(words)} words, expected one: {what}")
    return words[0]


def _supercell(lines: Lines) -> FloatArray:
    rows: list[list[float]] = []
    while len(rows) < 3:
        words = lines.peek()
        if not words or (words[0][0].isalpha() and words[0].lower() not in ("nan", "inf")):
            break
        lines.take("a cell vector")
        if len(words) != 3:
            lines.fail(f"found {len(words)} numbers, expected the 3 components of a cell vector")
        rows.append([lines.real(word, "a component of a cell vector") for word in words])
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _atom_data(lines: Lines, size: int | None, names: list[str]) -> dict[str, FloatArray]:
    """Column name -> (n_atoms,) numbers."""
    if size is None:
        lines.fail("found AtomData, expected Size before it")
    if len(set(names)) != len(names):
        lines.fail("found a column name twice in AtomData, expected different names")
    _check_columns(lines, names)
    begin = lines.number
    rows = lines.rows(size)
    for number, row in enumerate(rows, start=begin + 1):
        if len(row) != len(names):
            lines.fail(
                f"found {len(row)} numbers, expected {len(names)} ({' '.join(names)}) for "
                f"atom {number - begin} of {size}",
                line=number,
            )
    if len(rows) < size:
        lines.fail(
            f"found the end of the file after {len(rows)} atoms, expected {size}: "
            "the file is half-written"
        )
    return {
        name: _column(lines, name, [row[place] for row in rows], begin + 1)
        for place, name in enumerate(names)
    }


def _check_columns(lines: Lines, names: list[str]) -> None:
    present = set(names)
    if "type" not in present:
        lines.fail(f"found the columns {' '.join(names)[:80]!r}, expected type among them")
    for group in (CARTESIAN, DIRECT, FORCES):
        missing = [name for name in group if name not in present]
        if 0 < len(missing) < 3:
            lines.fail(f"found no column {missing[0]}, expected all of {' '.join(group)}")
    if (CARTESIAN[0] in present) == (DIRECT[0] in present):
        lines.fail(f"expected either the columns {' '.join(CARTESIAN)} or {' '.join(DIRECT)}")


def _column(lines: Lines, name: str, words: list[str], begin: int) -> FloatArray:
    if name in ("id", "type"):
        values = [
            lines.integer(word, f"the column {name}", line=line)
            for line, word in enumerate(words, start=begin)
        ]
        return np.array(values, dtype=np.float64)
    if name not in CARTESIAN + DIRECT + FORCES:
        return np.zeros(0)  # site energies, grades, charges: nothing here has a use for them
    values_ = [
        lines.real(word, f"the column {name}", line=line)
        for line, word in enumerate(words, start=begin)
    ]
    return np.array(values_)


def _plus_stress(lines: Lines, names: list[str]) -> list[float]:
    """Six numbers in the order of STRESS; the header may name them in another order."""
    if sorted(names) != sorted(STRESS):
        lines.fail(f"found {' '.join(names)[:80]!r}, expected PlusStress: {' '.join(STRESS)}")
    words = lines.take("the six components of PlusStress")
    if len(words) != 6:
        lines.fail(f"found {len(words)} numbers, expected the six components of PlusStress")
    values = {
        name: lines.real(word, f"PlusStress {name}")
        for name, word in zip(names, words, strict=True)
    }
    return [values[name] for name in STRESS]


def _record(
    lines: Lines, draft: _Draft, symbols: tuple[str, ...], *, where: str, forces_optional: bool
) -> CfgRecord:
    if draft.size is None or not draft.columns:
        lines.fail("found END_CFG, expected Size and AtomData before it")
    types = draft.columns["type"].astype(np.int64)
    if types.max() >= len(symbols):
        atom = int((types >= len(symbols)).argmax())
        lines.fail(
            f"found species index {types[atom]} (atom {atom + 1} of the configuration that ends "
            f"here), but {len(symbols)} species were named ({', '.join(symbols)}); name them all"
        )
    rows = np.zeros((0, 3)) if draft.rows is None else draft.rows
    cell = np.zeros((3, 3))
    cell[: len(rows)] = rows
    with np.errstate(all="ignore"):
        atoms = Atoms(
            symbols=[symbols[kind] for kind in types],
            positions=_positions(lines, draft, cell, n_rows=len(rows)),
            cell=cell,
            pbc=[axis < len(rows) for axis in range(3)],
        )
        check_structure(atoms, where=where)
        labels = _labels(
            draft, atoms, n_rows=len(rows), where=where, forces_optional=forces_optional
        )
    return CfgRecord(atoms, labels, draft.features)


def _positions(lines: Lines, draft: _Draft, cell: FloatArray, *, n_rows: int) -> FloatArray:
    if CARTESIAN[0] in draft.columns:
        return np.column_stack([draft.columns[name] for name in CARTESIAN])
    if n_rows < 3:
        lines.fail(f"found direct coordinates with {n_rows} cell vectors, expected three")
    return np.asarray(np.column_stack([draft.columns[name] for name in DIRECT]) @ cell)


def _labels(
    draft: _Draft, atoms: Atoms, *, n_rows: int, where: str, forces_optional: bool
) -> Labels | None:
    absent = FORCES[0] not in draft.columns
    if draft.energy is None or (absent and not forces_optional):
        return None
    stress = None
    if draft.plus_stress is not None and n_rows == 3:
        xx, yy, zz, yz, xz, xy = draft.plus_stress
        volume = abs(float(np.linalg.det(atoms.cell.array)))
        stress = -np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) / volume
    nothing = np.full(len(atoms), np.nan)
    forces = np.column_stack([nothing if absent else draft.columns[name] for name in FORCES])
    labels = Labels(energy=draft.energy, forces=forces, stress=stress)
    check_labels(labels, len(atoms), where=where, forces_optional=absent)
    return labels


def write_cfg(
    path: str | Path, records: Sequence[CfgRecord], *, species: Sequence[str] | None
) -> None:
    """Write configurations with 17 significant digits.

    Only the periodic cell vectors are written, in their order, as MLIP means them.

    Raises
    ------
    ConfigError : `species` does not name every element, or is no list of different symbols.
    FolderError : the file exists already, or cannot be written.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        raise FolderError(f"{path} exists already; remove it or give another name")
    _symbols(species, where=str(path))
    texts = [cfg_text(record, path=path, species=species) for record in records]
    write_file(path, "\n".join(texts).encode())


def cfg_text(record: CfgRecord, *, path: Path, species: Sequence[str] | None) -> str:
    """Return one configuration as a `.cfg` file has it; raises ConfigError as `write_cfg`."""
    symbols = _symbols(species, where=str(path))
    unknown = sorted(set(record.atoms.symbols) - set(symbols))
    if unknown:
        raise ConfigError(
            f"{path}: the structures hold {', '.join(unknown)}, but the species named are "
            f"{', '.join(symbols)}; name all"
        )
    return "\n".join(_written(record, symbols))


def _written(record: CfgRecord, symbols: tuple[str, ...]) -> list[str]:
    atoms, labels = record.atoms, record.labels
    rows = atoms.cell.array[atoms.pbc]
    columns = [*CARTESIAN, *(FORCES if labels is not None else ())]
    table = atoms.positions if labels is None else np.hstack([atoms.positions, labels.forces])
    kinds = [symbols.index(symbol) for symbol in atoms.symbols]
    lines = ["BEGIN_CFG", " Size", f"    {len(atoms)}"]
    if len(rows):
        lines += [" Supercell", *(f"    {_reals(row)}" for row in rows.tolist())]
    lines.append(f" AtomData:  id type {' '.join(columns)}")
    lines += [
        f"    {number} {kind} {_reals(row)}"
        for number, (kind, row) in enumerate(zip(kinds, table.tolist(), strict=True), start=1)
    ]
    if labels is not None:
        lines += [" Energy", f"    {labels.energy:.16e}"]
        if labels.stress is not None and len(rows) == 3:
            plus = -labels.stress * abs(np.linalg.det(atoms.cell.array))
            six = [plus[axes] for axes in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
            lines += [f" PlusStress:  {' '.join(STRESS)}", f"    {_reals(six)}"]
    lines += [f" Feature   {key} {value}" for key, value in record.features.items()]
    return [*lines, "END_CFG", ""]


def _reals(row: Sequence[float]) -> str:
    return " ".join(f"{value:.16e}" for value in row)
