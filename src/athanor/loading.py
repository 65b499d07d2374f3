"""Opening a potential from a folder of ours or from a published file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from athanor.errors import ConfigError, FormatError
from athanor.potentials import HEADER, Potential, load_folder

STATES = (".almtp", ".als", ".mvs")
"""Suffixes of MLIP's potentials with an active-learning state (MLIP-3, MLIP-2, early MLIP-2)."""
PUBLISHED = (".mtp", *STATES)
NEUROCHEM = ".info"
"""Suffix of the file that names the parts of a published ANI potential."""


def load(path: str | Path, species: Sequence[str] | None = None) -> Potential:
    """Load a fitted potential.

    Parameters
    ----------
    path : a folder that athanor saved; a published ANI potential (NeuroChem's `.info` file or its
        folder); or an MLIP file (`.mtp`; `.almtp` and `.als`, whose active-learning state is not
        looked at).
    species : chemical symbols in the order of the file's species indices; needed for MLIP's files,
        which have only indices, and refused for the others, which know their elements.

    Raises
    ------
    FormatError : the file or folder is not a potential (names file, line, what was expected).
    ConfigError : species missing, superfluous or of the wrong number.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == NEUROCHEM:
        return _load_whole(path, species)
    if not path.exists():
        raise FormatError(path, None, "there is no such file or folder")
    if path.suffix not in PUBLISHED:
        raise FormatError(
            path,
            None,
            "a potential is a folder saved by athanor or a file "
            f"{', '.join((*PUBLISHED[:3], NEUROCHEM))}",
        )
    if species is None:
        raise ConfigError(
            f"{path}: {path.suffix} files have only indices; name the species in their order, "
            "e.g. Al,Ni"
        )
    from athanor.potentials.mtp import MomentTensorPotential

    return MomentTensorPotential.from_mlip(path, species)


def files_of(path: Path) -> list[Path]:
    """Every file of a potential: all there are in a folder, or what an `.info` file names."""
    info = _neurochem_info(path)
    if info is not None:
        from athanor.potentials._ani import neurochem

        return neurochem.files_of(info)
    return [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())


def _load_whole(path: Path, species: Sequence[str] | None) -> Potential:
    """A potential that knows its elements: a folder of ours, or one that NeuroChem wrote."""
    if species is not None:
        raise ConfigError(f"{path}: this potential knows its elements; leave species out")
    info = _neurochem_info(path)
    if info is None:
        return load_folder(path)
    from athanor.potentials.ani import AniPotential

    return AniPotential.from_neurochem(info)


def _neurochem_info(path: Path) -> Path | None:
    """The `.info` file of a published ANI potential; None for anything else."""
    if (path / HEADER).exists() or not (path.is_dir() or path.suffix == NEUROCHEM):
        return None
    from athanor.potentials._ani.neurochem import info_of

    return info_of(path)
