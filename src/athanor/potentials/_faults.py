"""What the kernels refuse, in words that name the structure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ase import Atoms

from athanor import _core
from athanor.errors import StructureError


@contextlib.contextmanager
def checked(atoms: Atoms, *, where: str = "") -> Iterator[None]:
    """Turn what the kernel says of a structure into a StructureError that names it.

    The name is made only when it is needed: counting a large structure's formula takes longer
    than a good part of its evaluation.
    """
    try:
        yield
    except _core.StructureFault as fault:
        name = where or atoms.get_chemical_formula()
        raise StructureError(f"{name}: {fault}; mend this structure or leave it out") from None
