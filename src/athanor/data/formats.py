"""Structures and labels in and out of files: extended XYZ, MLIP's .cfg, and what ASE reads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.io.formats import filetype, open_with_compression

from athanor.data import extxyz
from athanor.data._results import labels_of, renamed, source_of
from athanor.data._whole import check_whole
from athanor.data.cfg import CfgRecord, iter_cfg, write_cfg
from athanor.data.dataset import Dataset
from athanor.data.durable import sync_folder, write_file, writing
from athanor.data.species import check_species
from athanor.data.text import lines_of
from athanor.errors import ConfigError, FolderError, FormatError, InputError, LabelError
from athanor.structure import Frame, Labels, bare, check_structure

# The readers of these formats neither unpickle nor evaluate what a file holds.
SAFE = frozenset(
    {
        *("aims", "aims-output", "castep-castep", "castep-cell", "cif", "cp2k-restart"),
        *("espresso-in", "espresso-out", "extxyz", "gen", "lammps-data", "lammps-dump-text"),
        *("proteindatabank", "traj", "turbomole", "vasp", "vasp-out", "vasp-xdatcar", "vasp-xml"),
        *("xsf", "xyz"),
    }
)
XYZ = frozenset({"extxyz", "xyz"})
NUMBERED = frozenset({"lammps-data", "lammps-dump-text"})
"""Formats that know atoms by type numbers, from 1, in the order of `species`."""


def read_structures(path: str | Path, species: Sequence[str] | None = None) -> list[Atoms]:
    """Read geometries: numbers, positions (Å), cell (Å), pbc, and nothing else.

    Parameters
    ----------
    path : MLIP's `.cfg`, extended XYZ, or another file that ASE reads without running code in it.
    species : chemical symbols by index, for formats that have only indices (`.cfg`, LAMMPS).

    Raises
    ------
    FormatError : missing, empty, half-written or unreadable file, or a format that is not safe.
    StructureError : a structure no potential could evaluate, with its number.
    ConfigError : `species` missing where the format needs it.
    """
    return list(iter_structures(path, species))


def iter_structures(path: str | Path, species: Sequence[str] | None = None) -> Iterator[Atoms]:
    """Read one geometry after the other, so that few are held at a time.

    Extended XYZ, `.cfg` and ASE's `.traj` are read as far as is asked for; of other formats the
    text is held, at least while it is checked. Raises what `read_structures` does, where it gets
    to it.
    """
    for atoms, _ in _read(Path(path), species, labelled=False, forces_optional=False):
        yield bare(atoms)


def read_frames(
    path: str | Path,
    species: Sequence[str] | None = None,
    *,
    level: str = "",
    forces_optional: bool = False,
) -> Dataset:
    """Read labelled frames; the stress is kept where the frame is periodic in all directions.

    The origin of each frame is `path#index`. With `forces_optional` frames may have energies alone;
    their forces are NaN.

    Raises
    ------
    LabelError : energy or forces are missing or not finite, with file and frame number.
    FormatError, StructureError, ConfigError : as `read_structures`.
    """
    path = Path(path)
    frames = []
    found = _read(path, species, labelled=True, forces_optional=forces_optional)
    for index, (atoms, labels) in enumerate(found):
        if labels is None:
            missing = "the energy is" if forces_optional else "energy or forces are"
            raise LabelError(f"{path}, frame {index}: {missing} missing; label it or leave it out")
        frames.append(Frame(bare(atoms), labels, level=level, origin=f"{path}#{index}"))
    with np.errstate(all="ignore"):
        return Dataset.of(frames, where=str(path), forces_optional=forces_optional)


@dataclass(frozen=True, slots=True)
class Record:
    """A frame with all that its file says of it.

    Attributes
    ----------
    atoms : geometry only.
    labels : None where energy or forces are missing.
    info : what stands beside the frame: words of a comment line, Feature lines of a `.cfg`.
    source : prefix of the names that the labels stand under ("REF_"), empty for plain names.
    """

    atoms: Atoms
    labels: Labels | None
    info: Mapping[str, Any]
    source: str = ""


def iter_records(
    path: str | Path,
    species: Sequence[str] | None = None,
    *,
    forces_optional: bool = False,
    names: Mapping[str, str] | None = None,
) -> Iterator[Record]:
    """Read one frame after the other, labelled or not, with what stands beside it.

    `names` says under which names (of extended XYZ) `energy`, `forces`, `stress` and `virial` are
    found, where those are not the usual ones; then no others are looked for. Raises what
    `read_frames` does, but for labels that are not there.
    """
    path = Path(path)
    if path.suffix == ".cfg" and path.is_file():
        for record in iter_cfg(path, species, forces_optional=forces_optional):
            yield Record(record.atoms, record.labels, dict(record.features))
        return
    found = _read(path, species, labelled=False, forces_optional=forces_optional)
    for index, (atoms, _) in enumerate(found):
        where = f"{path}, frame {index}"
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            labelled = atoms if names is None else renamed(atoms, names)
            labels = labels_of(labelled, where=where, forces_optional=forces_optional)
        source = "" if labels is None else source_of(labelled)
        yield Record(bare(atoms), labels, dict(atoms.info), source)


def _read(
    path: Path, species: Sequence[str] | None, *, labelled: bool, forces_optional: bool
) -> Iterator[tuple[Atoms, Labels | None]]:
    """Read structures, each with its labels when they are asked for; all structures checked."""
    if path.is_dir():
        raise FormatError(path, None, "found a folder, expected a file with structures")
    if path.suffix == ".cfg":
        for record in iter_cfg(path, species, forces_optional=forces_optional):
            yield record.atoms, record.labels
        return
    try:
        if path.stat().st_size == 0:
            raise FormatError(path, None, "the file is empty, expected structures")
    except OSError as error:
        raise FormatError(path, None, f"cannot be read ({error.strerror})") from None
    source = _ase(path, species)
    for index in count():
        # warnings are off while a structure is read, not while the caller works with it
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            atoms = next(source, None)
            if atoms is None:
                break
            where = f"{path}, frame {index}"
            _check(atoms, where=where)
            labels = None
            if labelled:
                labels = labels_of(atoms, where=where, forces_optional=forces_optional)
        yield atoms, labels
    if index == 0:
        raise FormatError(path, None, "found no structure, expected at least one")


def _check(atoms: Atoms, *, where: str) -> None:
    wrong = (atoms.numbers < 1) | (atoms.numbers >= len(chemical_symbols))
    if wrong.any():
        raise InputError(
            f"{where}: atom {int(wrong.argmax())} is no chemical element "
            f"(atomic number {atoms.numbers[wrong][0]}); mend the file"
        )
    check_structure(atoms, where=where)


def _ase(path: Path, species: Sequence[str] | None) -> Iterator[Atoms]:
    """Read through ASE; whatever it raises becomes one sentence."""
    try:
        kind = filetype(str(path))
        if kind not in SAFE:
            raise FormatError(
                path,
                None,
                f"found the format {kind!r}, which is not read; convert it to extended XYZ "
                f"(or one of {', '.join(sorted(SAFE))})",
            )
        if kind in XYZ:
            with open_with_compression(str(path), "rb") as file:
                lines = lines_of(path, file, expected="structures")
                yield from extxyz.frames(path, lines)
            return
        if kind != "traj":
            check_whole(path, kind, _text(path))
        yield from ase.io.iread(
            str(path),
            index=slice(None),
            format=kind,
            do_not_split_by_at_sign=True,
            **_options(path, kind, species),
        )
    except InputError:
        raise
    except (Exception, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FormatError(
            path, None, f"cannot be read as structures ({reason}); is it whole?"
        ) from None


def _text(path: Path) -> str:
    with open_with_compression(str(path), "rb") as file:
        return bytes(file.read()).decode("utf-8")


def _options(path: Path, kind: str, species: Sequence[str] | None) -> dict[str, Any]:
    """What a reader of type numbers needs, so that type 1 is never taken for hydrogen."""
    if kind not in NUMBERED:
        return {}
    if species is None:
        if kind == "lammps-data" and "\nMasses" in _text(path):
            return {}
        if kind == "lammps-dump-text" and " element" in _text(path):
            return {}
        raise ConfigError(
            f"{path}: it has only type numbers; name the species in order, e.g. species Al,Ni"
        )
    names = check_species(species, where=str(path))
    if kind == "lammps-dump-text":
        return {"specorder": list(names)}
    return {
        "Z_of_type": {
            number: chemical_symbols.index(symbol) for number, symbol in enumerate(names, start=1)
        }
    }


def write_structures(
    path: str | Path,
    structures: Sequence[Atoms],
    *,
    labels: Sequence[Labels] | None = None,
    info: Sequence[Mapping[str, Any]] | None = None,
    species: Sequence[str] | None = None,
) -> None:
    """Write structures; the suffix says the format, and an existing file is never touched.

    `.extxyz`, `.xyz` and `.cfg` hold labels and info and give every bit back; any other suffix
    that ASE writes holds geometry only.

    Parameters
    ----------
    labels, info : one per structure; info keys become extended XYZ keys or Feature lines.
    species : symbols by index, for `.cfg`; may be left out when there is one element.

    Raises
    ------
    FolderError : the file exists, or cannot be written.
    ConfigError : the suffix is not known or cannot hold what is asked, or lengths differ.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        raise FolderError(f"{path} exists already; remove it or give another name")
    _check_given(path, len(structures), labels=labels, info=info)
    if path.suffix in (".extxyz", ".xyz"):
        text = extxyz.text_of(structures, labels=labels, info=info, path=path)
        write_file(path, text.encode())
    elif path.suffix == ".cfg":
        _write_cfg(path, structures, labels=labels, info=info, species=species)
    elif labels is not None or any(info or ()):
        raise ConfigError(
            f"{path}: labels and info can be written only to .extxyz, .xyz or .cfg; "
            "give the file such a suffix"
        )
    else:
        _write_ase(path, structures)


def _check_given(
    path: Path,
    count: int,
    *,
    labels: Sequence[Labels] | None,
    info: Sequence[Mapping[str, Any]] | None,
) -> None:
    if count == 0:
        raise InputError(f"{path}: there are no structures to write; give at least one")
    for name, given in (("labels", labels), ("info", info)):
        if given is not None and len(given) != count:
            raise ConfigError(
                f"{path}: {count} structures, but {len(given)} {name}; give one for each"
            )


def _write_cfg(
    path: Path,
    structures: Sequence[Atoms],
    *,
    labels: Sequence[Labels] | None,
    info: Sequence[Mapping[str, Any]] | None,
    species: Sequence[str] | None,
) -> None:
    elements = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    if species is None and len(elements) > 1:
        raise ConfigError(
            f"{path}: .cfg files have only species indices; name the order of "
            f"{', '.join(elements)}, e.g. species {','.join(elements)}"
        )
    records = [
        CfgRecord(
            atoms,
            None if labels is None else labels[index],
            {}
            if info is None
            else {key: " ".join(str(value).split()) for key, value in info[index].items()},
        )
        for index, atoms in enumerate(structures)
    ]
    write_cfg(path, records, species=elements if species is None else species)


def _write_ase(path: Path, structures: Sequence[Atoms]) -> None:
    part = path.with_name(f".{os.getpid()}.{path.name}")
    images = [bare(atoms) for atoms in structures]
    with writing(path):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _ase_write(path, part, images)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.rename(path)
            sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)


def _ase_write(path: Path, part: Path, images: list[Atoms]) -> None:
    try:
        kind = filetype(str(path), read=False)
        if kind not in SAFE:
            raise ValueError(f"the format {kind!r} is not written")
        ase.io.write(str(part), images if len(images) > 1 else images[0], format=kind)
    except OSError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{path}: the structures cannot be written in this format "
            f"({' '.join(str(error).split())[:200]}); .extxyz always works"
        ) from None
