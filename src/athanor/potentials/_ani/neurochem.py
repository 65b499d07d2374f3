"""Published ANI potentials: the folder that NeuroChem writes.

An `.info` file has four lines: the file of symmetry-function parameters (`.params`), the file of
atomic energies, the beginning of the members' folders (`model/train` for `model/train0`,
`model/train1`, ...), and the number of members. Each member has `networks/ANN-Al.nnf` and so on,
one for each element. Lengths are in Å, energies in Hartree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from athanor.data.species import check_species
from athanor.data.text import read_text
from athanor.errors import ConfigError, FormatError
from athanor.potentials._ani.model import AevSpec, AniModel, Network, spec_fault
from athanor.potentials._ani.nnf import Perceptron, read_network

INFO = ".info"
HARTREE = 27.211386024367243
"""eV; CODATA 2014, as the published numbers have it."""
_MOST_MEMBERS = 1000
_SCALARS = ("Rcr", "Rca", "EtaR", "EtaA", "Zeta")
_LISTS = ("ShfR", "ShfA", "ShfZ")


@dataclass(frozen=True, slots=True)
class _Info:
    """What an `.info` file names."""

    params: Path
    energies: Path
    members: tuple[Path, ...]


def info_of(path: Path) -> Path | None:
    """The `.info` file meant by a path; None where it is not one of NeuroChem's.

    It is the file itself, the one in the folder, or the one of the folder's name beside it. Raises
    FormatError for a folder of NeuroChem's without one, or with several.
    """
    if not path.is_dir():
        return path if path.suffix == INFO else None
    inside = sorted(path.glob(f"*{INFO}"))
    if len(inside) == 1:
        return inside[0]
    folder = path.absolute() if path.name not in ("", "..") else path.resolve()
    beside = folder.with_name(folder.name + INFO)
    if not inside and beside.is_file():
        return beside
    if inside or any(path.glob("*.params")):
        raise FormatError(
            path,
            None,
            f"found {len(inside)} {INFO} files in this NeuroChem folder and none of its name "
            f"beside it; give the {INFO} file itself",
        )
    return None


def files_of(path: Path) -> list[Path]:
    """Every file that the potential of an `.info` file is read from; FormatError."""
    info = _read_info(path)
    inside = [folder / "networks" for folder in info.members]
    weights = [file for folder in inside for file in folder.glob("*") if file.is_file()]
    return [path, info.params, info.energies, *sorted(weights)]


def read_neurochem(path: Path) -> AniModel:
    """Read the potential that an `.info` file describes.

    Raises FormatError, one sentence that names the file at fault; files outside the folder of the
    `.info` file are not looked at.
    """
    info = _read_info(path)
    spec = read_params(info.params)
    energies = _read_energies(info.energies, spec.species)
    perceptrons = [_read_member(info, folder, spec) for folder in info.members]
    networks = tuple(
        _stacked([member[k] for member in perceptrons], info.members, symbol)
        for k, symbol in enumerate(spec.species)
    )
    offsets = HARTREE * np.tile(energies, (len(info.members), 1))
    return AniModel(spec, networks, offsets, HARTREE)


def _read_info(path: Path) -> _Info:
    lines = read_text(path, expected="four lines").split("\n")
    lines = [line.strip() for line in lines]
    if len(lines) < 4 or not all(lines[:4]):
        raise FormatError(
            path,
            None,
            "expected four lines: the .params file, the file of atomic energies, the beginning of "
            "the members' folders, and the number of members",
        )
    if not re.fullmatch(r"\d{1,9}", lines[3]) or not 1 <= int(lines[3]) <= _MOST_MEMBERS:
        raise FormatError(
            path, 4, f"found {lines[3]!r}, expected the number of members, 1 to {_MOST_MEMBERS}"
        )
    params, energies, beginning = (_inside(path, line, k + 1) for k, line in enumerate(lines[:3]))
    members = tuple(
        beginning.with_name(f"{beginning.name}{number}") for number in range(int(lines[3]))
    )
    return _Info(params, energies, members)


def _inside(path: Path, named: str, line: int) -> Path:
    """A path relative to the folder of the `.info` file, which it must not leave."""
    folder = path.parent
    if "\0" not in named and not Path(named).is_absolute():
        found = (folder / named).resolve()
        if found.is_relative_to(folder.resolve()) and found != folder.resolve():
            return folder / named
    raise FormatError(
        path, line, f"names {named!r}, which is not inside the folder of this file; put it there"
    )


def read_params(path: Path) -> AevSpec:
    """Read a `.params` file; FormatError where this is no environment vector of ours."""
    settings: dict[str, str] = {}
    for number, line in enumerate(read_text(path, expected="KEY = VALUE").splitlines(), start=1):
        key, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals:
            raise FormatError(path, number, f"found {line.strip()[:40]!r}, expected KEY = VALUE")
        settings[key.strip()] = value.strip()
    if settings.get("TM", "1") != "1":
        raise FormatError(path, None, f"TM = {settings['TM']}; only TM = 1 can be evaluated")
    one = {key: _scalar(path, settings, key) for key in _SCALARS}
    many = {key: _numbers(path, settings, key) for key in _LISTS}
    spec = AevSpec(
        species=_species(path, settings),
        radial_cutoff=one["Rcr"],
        angular_cutoff=one["Rca"],
        eta_r=one["EtaR"],
        shf_r=many["ShfR"],
        eta_a=one["EtaA"],
        zeta=one["Zeta"],
        shf_a=many["ShfA"],
        shf_z=many["ShfZ"],
    )
    fault = spec_fault(spec)
    if fault is not None:
        raise FormatError(path, None, fault)
    return spec


def _entries(path: Path, settings: dict[str, str], key: str) -> list[str]:
    """The entries of a list in brackets, or of a single value."""
    text = settings.get(key)
    if text is None:
        raise FormatError(path, None, f"gives no {key}; it is no complete .params file")
    if text.startswith("[") != text.endswith("]"):
        raise FormatError(path, None, f"{key} = {text[:40]!r} lacks a bracket")
    return [part.strip() for part in text.removeprefix("[").removesuffix("]").split(",")]


def _numbers(path: Path, settings: dict[str, str], key: str) -> tuple[float, ...]:
    entries = _entries(path, settings, key)
    try:
        return tuple(float(entry) for entry in entries)
    except ValueError:
        raise FormatError(path, None, f"{key} = {settings[key][:40]!r} is not numbers") from None


def _scalar(path: Path, settings: dict[str, str], key: str) -> float:
    values = _numbers(path, settings, key)
    if len(values) != 1:
        raise FormatError(
            path, None, f"gives {len(values)} values of {key}; only one of each can be evaluated"
        )
    return values[0]


def _species(path: Path, settings: dict[str, str]) -> tuple[str, ...]:
    try:
        return check_species(_entries(path, settings, "Atyp"), where="Atyp")
    except ConfigError as error:
        raise FormatError(path, None, str(error)) from None


def _read_energies(path: Path, species: Sequence[str]) -> list[float]:
    """Atomic energies in Hartree, in the order of the species; lines are `Al,0=-2.7`."""
    found: dict[str, float] = {}
    for number, line in enumerate(read_text(path, expected="atomic energies").splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"\s*([A-Z][a-z]?)\s*(?:,\s*\d+)?\s*=\s*(\S+)\s*", line)
        value = _energy(match[2]) if match else None
        if match is None or value is None:
            raise FormatError(path, number, f"found {line.strip()[:40]!r}, expected e.g. Al,0=-2.7")
        found[match[1]] = value
    missing = [symbol for symbol in species if symbol not in found]
    if missing:
        raise FormatError(
            path, None, f"gives no atomic energy of {', '.join(missing)}; add one to the file"
        )
    return [found[symbol] for symbol in species]


def _energy(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _read_member(info: _Info, folder: Path, spec: AevSpec) -> list[Perceptron]:
    own = folder / info.params.name
    if own.is_file() and read_params(own) != spec:
        raise FormatError(
            own, None, f"differs from {info.params}, but all members share one environment vector"
        )
    return [
        read_network(folder / "networks" / f"ANN-{symbol}.nnf", element=symbol, inputs=spec.length)
        for symbol in spec.species
    ]


def _stacked(members: list[Perceptron], folders: Sequence[Path], symbol: str) -> Network:
    """The networks of one species side by side; FormatError unless their layers are alike."""
    for member, folder in zip(members, folders, strict=True):
        if member.sizes != members[0].sizes:
            raise FormatError(
                folder / "networks" / f"ANN-{symbol}.nnf",
                None,
                f"its layers are {member.sizes}, those of {folders[0].name} {members[0].sizes}; "
                "all members must have the same",
            )
    layers = range(len(members[0].sizes))
    return Network(
        tuple(np.stack([member.weights[k] for member in members]) for k in layers),
        tuple(np.stack([member.biases[k] for member in members]) for k in layers),
    )
