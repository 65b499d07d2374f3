"""A place for what a measurement of one potential keeps until it is whole."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ase.calculators.calculator import Calculator

from athanor.calculator import PotentialCalculator
from athanor.data.durable import make_folder


@contextmanager
def part_of(workdir: Path, calculator: Calculator) -> Iterator[Path]:
    """Yield a folder in `workdir` that is this calculator's own, and remove it afterwards.

    A potential is known by what it saves, so a kill leaves its folder to the same potential's next
    measurement; any other calculator begins anew.
    """
    make_folder(workdir)
    if not isinstance(calculator, PotentialCalculator):
        with TemporaryDirectory(dir=workdir) as place:
            yield Path(place)
        return
    own = workdir / f"potential-{_fingerprint(calculator)}"
    make_folder(own)
    yield own
    shutil.rmtree(own, ignore_errors=True)


def _fingerprint(calculator: PotentialCalculator) -> str:
    found = hashlib.sha256()
    with TemporaryDirectory() as place:
        saved = Path(place) / "potential"
        calculator.potential.save(saved)
        for file in sorted(path for path in saved.rglob("*") if path.is_file()):
            found.update(file.relative_to(saved).as_posix().encode() + b"\0")
            found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:16]
