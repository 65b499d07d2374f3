"""Opening a potential from a folder of ours or from a published file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from athanor.errors import ConfigError, FormatError
from athanor.potentials import Potential, load_folder

STATES = (".almtp", ".als", ".mvs")
"""Suffixes of MLIP's potentials with an active-learning state (MLIP-3, MLIP-2, early MLIP-2)."""
PUBLISHED = (".mtp", *STATES)


def load(path: str | Path, species: Sequence[str] | None = None) -> Potential:
    """Load a fitted potential.

    Parameters
    ----------
    path : a folder that athanor saved, or an MLIP file (`.mtp`; `.almtp` and `.als`, whose
        active-learning state is not looked at).
    species : chemical symbols in the order of the file's species indices; needed for MLIP's files,
        which have only indices, and refused for our folders, which know their elements.

    Raises
    ------
    FormatError : the file or folder is not a potential (names file, line, what was expected).
    ConfigError : species missing, superfluous or of the wrong number.
    """
    path = Path(path)
    if path.is_dir():
        if species is not None:
            raise ConfigError(f"{path}: this potential knows its elements; leave species out")
        return load_folder(path)
    if not path.exists():
        raise FormatError(path, None, "there is no such file or folder")
    if path.suffix not in PUBLISHED:
        raise FormatError(
            path,
            None,
            f"a potential is a folder saved by athanor or a file {', '.join(PUBLISHED[:3])}",
        )
    if species is None:
        raise ConfigError(
            f"{path}: {path.suffix} files have only indices; name the species in their order, "
            "e.g. Al,Ni"
        )
    from athanor.potentials.mtp import MomentTensorPotential

    return MomentTensorPotential.from_mlip(path, species)
