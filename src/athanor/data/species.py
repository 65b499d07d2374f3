"""Species lists: what the indices of a file mean, as the user names them."""

from __future__ import annotations

from collections.abc import Sequence

from ase.data import chemical_symbols

from athanor.errors import ConfigError


def check_species(species: Sequence[str], *, where: str) -> tuple[str, ...]:
    """Return the species as a tuple; ConfigError unless they are different chemical symbols."""
    names = (species,) if isinstance(species, str) else tuple(species)
    for name in names:
        if name not in chemical_symbols[1:]:
            raise ConfigError(
                f"{where}: species {name!r} is not a chemical symbol; write e.g. Al,Ni"
            )
    if len(set(names)) != len(names):
        raise ConfigError(
            f"{where}: species {', '.join(names)} names an element twice; give each once"
        )
    return names
