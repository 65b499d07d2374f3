"""MLIP's active-learning states: what follows a potential in its `.als` and `.almtp` files.

A potential as text (see mlip_file), and behind it, with all numbers little-endian and m the number
of coefficients, in the order radial (i, j, mu, q), species, moments:

MLIP-2, `.als`: a line feed, `^`, four float64, the weights of selection by site energies, energy,
forces and stress; a line feed, `#`, A row by row, then its inverse column by column, m * m float64
each; a line feed; m lines `row configuration`; the configurations, each once, as `.cfg` text. Rows
that were never replaced belong to a configuration of size 0.

MLIP-3, `.almtp`: a line feed, `#MVS_v1.1`, then lines with energy_weight, force_weight,
stress_weight, site_en_weight, weight_scaling; `#`, A and its inverse as above; the lines `` and
`#`; m lines `configuration equation`, both -1 where a row was never replaced; a line `#`; the
configurations as `.cfg` text.

These are facts about the files, gathered from public sources: of MLIP-2 from what the published
code writes, confirmed on matrices and weights taken from such a file; of MLIP-3 from several
independent public readers (a LAMMPS pair style and a Python package among them). No code is theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.data.cfg import parse_cfg
from athanor.data.text import decoded, read_bytes
from athanor.errors import FormatError
from athanor.potentials._mtp.mlip_file import read_mtp
from athanor.potentials._mtp.mlip_text import potential_part
from athanor.potentials._mtp.model import MtpModel
from athanor.structure import FloatArray

By = Literal["structure", "atom"]
BoolArray = NDArray[np.bool_]

_NEW = b"#MVS_v1.1\n"
_WEIGHTS = ("energy_weight", "force_weight", "stress_weight", "site_en_weight")
_FUNCTIONS = re.compile(r"radial_funcs_count\s*=\s*(\d+)", re.ASCII)
_EMPTY = re.compile(r"BEGIN_CFG\s+Size\s+0\s", re.ASCII)
_WHOLE = re.compile(r"-1|\d{1,18}", re.ASCII)
_INVERSE = 1e-3
"""How far A times the stored inverse may be from one: theirs drifts with every exchange."""
_ALIKE = 1e-6
"""How far a row's derivatives by the species coefficients may be from adding up to its weight."""
_INITIAL = 0.01
"""An initial row's number (theirs is 1e-5 or less) is below this much of the weight."""
_LARGEST = 1e6
"""A weight beyond, or below its inverse, is a number read wrongly."""


@dataclass(frozen=True, slots=True)
class MlipState:
    """A potential and the active set that was chosen for it.

    Attributes
    ----------
    path : the file it was read from, for messages.
    model : the potential.
    by : what a row stands for: a structure (mean over atoms of dE_i/dtheta) or an atom.
    rows : (m, m) A, for the parameters of `MomentTensorPotential.features` and in their order; the
        weight of selection is divided out.
    origins : (m,) number of the configuration that each row is of, -1 for rows never replaced.
    texts : the configurations, as `.cfg` text.
    """

    path: Path
    model: MtpModel
    by: By
    rows: FloatArray
    origins: tuple[int, ...]
    texts: tuple[str, ...]

    def structures(self) -> list[Atoms]:
        """The configurations of the active set; FormatError, StructureError as `read_cfg`."""
        found: list[Atoms] = []
        for number, text in enumerate(self.texts):
            if _EMPTY.match(text):
                continue
            try:
                (record,) = parse_cfg(self.path, text, self.model.species)
            except FormatError as error:
                raise FormatError(
                    self.path, None, f"configuration {number} of the active set: {error.message}"
                ) from None
            found.append(record.atoms)
        return found


@dataclass(frozen=True, slots=True)
class _Raw:
    """What stands in the file: A with all its columns, the configuration of each row (or -1)."""

    weights: dict[str, float]
    rows: FloatArray
    origins: tuple[int, ...]
    texts: tuple[str, ...]


class _Bytes:
    """The bytes of a file and a place among them; every mismatch is a FormatError."""

    def __init__(self, path: Path, content: bytes, place: int) -> None:
        self.path = path
        self.content = content
        self.place = place

    def fail(self, message: str) -> NoReturn:
        raise FormatError(self.path, None, f"active-learning state: {message}")

    def expect(self, mark: bytes, what: str) -> None:
        if not self.content.startswith(mark, self.place):
            found = self.content[self.place : self.place + len(mark)]
            self.fail(f"found {found!r} at byte {self.place}, expected {mark!r}, {what}")
        self.place += len(mark)

    def reals(self, count: int, what: str) -> FloatArray:
        """`count` float64; their size is compared with the file's before memory is taken."""
        left = len(self.content) - self.place
        if left < 8 * count:
            self.fail(
                f"found {left} bytes, expected at least {8 * count} for {what}: the file is cut "
                "short, or the matrices belong to another potential"
            )
        found = np.frombuffer(self.content, "<f8", count=count, offset=self.place)
        self.place += 8 * count
        return found.astype(np.float64)

    def words(self, what: str) -> list[str]:
        """The words of the next line."""
        end = self.content.find(b"\n", self.place, self.place + 200)
        if end < 0:
            self.fail(f"found no line at byte {self.place}, expected {what}; is the file whole?")
        text = self.content[self.place : end].decode("ascii", errors="replace")
        self.place = end + 1
        return text.split()

    def links(self, count: int, what: str) -> list[tuple[int, int]]:
        """`count` lines of two whole numbers, -1 allowed."""
        found = []
        for row in range(count):
            words = self.words(f"{what} of row {row}")
            if len(words) != 2 or not all(_WHOLE.fullmatch(word) for word in words):
                self.fail(f"found {' '.join(words)[:60]!r}, expected {what} of row {row}")
            found.append((int(words[0]), int(words[1])))
        return found


def read_state(path: str | Path, species: Sequence[str]) -> MlipState:
    """Read the potential and the active set of an MLIP-2 `.als` or an MLIP-3 `.almtp` file.

    Grades by its rows are those of the published code. The configurations are only counted here;
    `MlipState.structures` reads them.

    Parameters
    ----------
    path : the file.
    species : chemical symbols by species index.

    Raises
    ------
    FormatError : no potential, no state behind it, another version, a file cut short or with bytes
        left over, matrices that are not each other's inverse, or rows that are not those of
        energies, or of site energies, alone.
    ConfigError : as `read_mtp`.
    """
    path = Path(path)
    model = read_mtp(path, species)
    content = read_bytes(path)
    potential = potential_part(content)
    if len(potential) == len(content):
        raise FormatError(
            path, None, "found a potential, expected an active-learning state behind it"
        )
    source = _Bytes(path, content, len(potential))
    unused = _unused(potential.decode(), model)
    raw = (_second if content[len(potential)] == ord("^") else _third)(source, len(unused))
    by, weight = _purpose(source, raw.weights)
    last = len(unused) - len(model.moment_coeffs)
    columns = raw.rows[:, last - len(model.species) : last]
    replaced = _replaced(source, raw, columns, weight)
    rows = _unweighted(source, raw.rows, columns[replaced], by, weight)
    kept = _kept(source, rows, replaced, unused)
    return MlipState(
        path=path,
        model=model,
        by=by,
        rows=np.ascontiguousarray(rows[kept][:, ~unused]),
        origins=tuple(raw.origins[row] if replaced[row] else -1 for row in np.flatnonzero(kept)),
        texts=raw.texts,
    )


def _unused(potential: str, model: MtpModel) -> BoolArray:
    """(m,) which of the file's coefficients are of radial functions that no moment uses."""
    n_functions = int(_FUNCTIONS.findall(potential)[-1])
    n_species, _, n_used, size = model.radial.shape
    unused = np.zeros((n_species, n_species, n_functions, size), dtype=bool)
    unused[:, :, n_used:] = True
    linear = np.zeros(n_species + len(model.moment_coeffs), dtype=bool)
    return np.concatenate([unused.ravel(), linear])


def _second(source: _Bytes, m: int) -> _Raw:
    """What MLIP-2 writes."""
    source.expect(b"^", "the beginning of the state")
    site, energy, force, stress = source.reals(4, "the four weights").tolist()
    source.expect(b"\n#", "the end of the weights")
    rows = _matrix(source, m)
    source.expect(b"\n", "the end of the matrices")
    links = source.links(m, "its number and that of its configuration,")
    texts = _texts(source)
    if [row for row, _ in links] != list(range(m)) or min(number for _, number in links) < 0:
        source.fail("the rows are not numbered one after the other")
    if len(texts) != 1 + max(number for _, number in links):
        source.fail(
            f"found {len(texts)} configurations, expected "
            f"{1 + max(number for _, number in links)}: the file is cut short, or glued together"
        )
    empty = {number for number, text in enumerate(texts) if _EMPTY.match(text)}
    return _Raw(
        weights=dict(zip(_WEIGHTS, (energy, force, stress, site), strict=True)),
        rows=rows,
        origins=tuple(-1 if number in empty else number for _, number in links),
        texts=texts,
    )


def _third(source: _Bytes, m: int) -> _Raw:
    """What MLIP-3 writes; more configurations than there are links to do no harm."""
    source.expect(_NEW, "the version that is read")
    weights = {name: _named(source, name) for name in _WEIGHTS}
    _named(source, "weight_scaling")
    source.expect(b"#", "the end of the weights")
    rows = _matrix(source, m)
    source.expect(b"\n#\n", "the end of the matrices")
    links = source.links(m, "configuration and equation")
    source.expect(b"#\n", "the end of the rows")
    texts = _texts(source)
    if len(texts) <= max(number for number, _ in links):
        source.fail(
            f"found {len(texts)} configurations, expected "
            f"{1 + max(number for number, _ in links)}: the file is cut short"
        )
    return _Raw(weights, rows, tuple(number for number, _ in links), texts)


def _named(source: _Bytes, name: str) -> float:
    """The number on a line that begins with `name`."""
    words = source.words(name)
    if len(words) != 2 or words[0] != name:
        source.fail(f"found {' '.join(words)[:60]!r}, expected {name} and a number")
    try:
        return float(words[1])
    except ValueError:
        source.fail(f"found {words[1][:40]!r}, expected a number as {name}")


def _matrix(source: _Bytes, m: int) -> FloatArray:
    """A, (m, m), checked against its inverse, which the file holds column by column."""
    both = source.reals(2 * m * m, f"two matrices of {m} by {m} coefficients").reshape(2, m, m)
    rows, columns = both
    with np.errstate(all="ignore"):
        off = np.abs(rows @ columns.T - np.eye(m)).max()
    if not off < _INVERSE:  # also where something is not finite
        source.fail(
            f"A times the stored inverse differs from one by {off:.3g}: the matrices are damaged, "
            "belong to another potential or come from a machine of another byte order"
        )
    return np.asarray(rows)


def _texts(source: _Bytes) -> tuple[str, ...]:
    """The configurations that end the file."""
    rest = decoded(
        source.path, source.content[source.place :], expected="configurations behind the matrices"
    )
    *parts, end = rest.split("END_CFG")
    for number, part in enumerate(parts):
        if not part.lstrip().startswith("BEGIN_CFG") or part.count("BEGIN_CFG") != 1:
            source.fail(f"configuration {number} is not one from BEGIN_CFG to END_CFG")
    if end.strip():
        source.fail(
            f"found {end.strip()[:40]!r} behind {len(parts)} configurations, expected the end of "
            "the file: it is cut short, or something was added"
        )
    return tuple(f"{part.lstrip()}END_CFG\n" for part in parts)


def _purpose(source: _Bytes, weights: dict[str, float]) -> tuple[By, float]:
    """What a row stands for, and its weight."""
    for name, value in weights.items():
        if value != 0 and not 1 / _LARGEST <= value <= _LARGEST:
            source.fail(
                f"found {name} {value:g}, expected 0 or a number from {1 / _LARGEST:g} to "
                f"{_LARGEST:g}; is the file from a machine of another byte order?"
            )
    energy, force, stress, site = (weights[name] for name in _WEIGHTS)
    if force or stress or bool(energy) == bool(site):
        told = ", ".join(f"{name} {value:g}" for name, value in weights.items())
        source.fail(
            f"it was chosen with {told}; only states by energies alone or by site energies alone "
            "are read, so make one with these weights 0 but for one, or give the training set"
        )
    return ("structure", energy) if energy else ("atom", site)


def _replaced(source: _Bytes, raw: _Raw, species: FloatArray, weight: float) -> BoolArray:
    """(m,) the rows that are of a configuration: all but the initial ones, of a single number.

    An initial row that was exchanged away and back may stand in another place. `species` are the
    columns of the species coefficients.
    """
    single = np.count_nonzero(raw.rows, axis=1) == 1
    # the row of an isolated atom has a single number too, with its species coefficient
    named = np.array(raw.origins) >= 0
    if not (named | single).all():
        source.fail("a row that belongs to no configuration is not a single number and zeros")
    return np.asarray(named & ~(single & (species.sum(axis=1) < _INITIAL * weight)))


def _unweighted(
    source: _Bytes, rows: FloatArray, species: FloatArray, by: By, weight: float
) -> FloatArray:
    """A with the weight divided out; `species` are the replaced rows' columns of the species.

    A structure's derivatives by the species coefficients are its composition and an atom's are 1
    for its own species, so that they add up to the weight: this also tells the order of columns and
    what an energy was divided by.
    """
    allowed = (weight,) if by == "structure" else (weight, 1.0)
    sums = species.sum(axis=1)
    scale = float(np.median(sums)) if len(sums) else allowed[-1]
    fits = [abs(scale - one) <= _ALIKE * one for one in allowed]
    if not any(fits) or (np.abs(sums - scale) > _ALIKE * scale).any():
        source.fail(
            f"the columns of the species coefficients add up to {sums.min():g} ... {sums.max():g}, "
            f"expected {weight:g} in each row: rows of energies not divided by the number of atoms "
            "(as with --weighting=molecules) are not read"
        )
    return rows / scale


def _kept(source: _Bytes, rows: FloatArray, replaced: BoolArray, unused: BoolArray) -> BoolArray:
    """(m,) the rows that are left when the columns of unused coefficients are taken away."""
    touched = (rows[:, unused] != 0).any(axis=1)
    if touched.sum() != unused.sum() or replaced[touched].any():
        source.fail("a structure depends on a radial function that the potential does not use")
    return np.asarray(~touched)
