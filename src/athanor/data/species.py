"""Species lists: what the indices of a file mean, as the user names them."""

from __future__ import annotations

from collections.abc import Sequence

from ase.data import atomic_numbers, chemical_symbols

from athanor.component import nearest
from athanor.errors import ConfigError


def distinct_elements(species: tuple[str, ...]) -> tuple[str, ...]:
    """Return the field of a recipe as it is; ValueError unless it names different elements."""
    for symbol in species:
        if symbol == "X" or symbol not in atomic_numbers:
            raise ValueError(f"there is no element {symbol!r}{nearest(symbol, atomic_numbers)}")
    if len(set(species)) < len(species):
        raise ValueError(f"{', '.join(species)} names an element twice; name each once")
    return species


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
