"""Many relaxations on all cores, each kept as soon as it has ended, so that they can be resumed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ase import Atoms
from threadpoolctl import threadpool_limits

from athanor.campaign._ended import Ended, packed, unpacked
from athanor.campaign.lock import NAME as LOCK
from athanor.campaign.pools import WorkerLost, performed
from athanor.data.durable import make_folder, write_file
from athanor.data.packing import npz_bytes, read_npz
from athanor.errors import FolderError, FormatError
from athanor.potentials import Potential
from athanor.query import Query
from athanor.sample.relax import RelaxOptions, relax

HEADER = "relax.json"
AT_ONCE = 16
"""Structures that are kept in one file at most, and lost together when a run is killed."""
ATOMS_AT_ONCE = 1000
HELD = 64
"""Files that are held while results are read in order."""

Batch = tuple[tuple[int, Atoms], ...]
"""Numbers of structures in their file, and the structures."""


@dataclass(frozen=True)
class Relaxer:
    """Relaxes a batch and keeps it in a file; travels to a worker by pickle."""

    potential: Potential
    query: Query | None
    options: RelaxOptions
    folder: Path

    def __call__(self, batch: Batch) -> None:
        """Raises FolderError where the file cannot be written, nothing for a bad structure."""
        with threadpool_limits(limits=1):
            keep(self.folder, [self._relaxed(index, atoms) for index, atoms in batch])

    def _relaxed(self, index: int, atoms: Atoms) -> Ended:
        try:
            result = relax(atoms, self.potential, self.query, options=self.options)
            return Ended.of(index, result, options=self.options)
        except Exception as error:  # whatever it is, the other structures are none the worse
            said = " ".join(str(error).split()) or type(error).__name__
            return Ended.failed(index, atoms, said)


def keep(folder: Path, ended: Sequence[Ended]) -> None:
    """Write relaxations that have ended into one file. Raises FolderError."""
    name = f"{ended[0].index:09d}-{len(ended)}.npz"
    write_file(folder / name, npz_bytes(packed(ended)))


class Relaxations:
    """The folder of one job: what has ended is there, and is not done again.

    Parameters
    ----------
    folder : made when it is not there.
    line : name -> what decides the results: options, hashes of files.

    Raises FolderError where the folder belongs to another job.
    """

    def __init__(self, folder: Path, line: Mapping[str, str]) -> None:
        self.folder = folder
        self._where: dict[int, Path] = {}
        _claim(folder, dict(line))
        for path in sorted(folder.glob("*-*.npz")):
            try:
                self._where.update((one.index, path) for one in _read(path))
            except FormatError:
                # done again; the file stays, since what cannot be read now may be read next time
                continue
        self._read = lru_cache(maxsize=HELD)(_read)

    def __len__(self) -> int:
        """How many have ended."""
        return len(self._where)

    def __getitem__(self, index: int) -> Ended:
        return next(one for one in self._read(self._where[index]) if one.index == index)

    def run(
        self,
        structures: Sequence[Atoms],
        potential: Potential,
        query: Query | None,
        *,
        options: RelaxOptions,
        workers: int,
    ) -> Iterator[Ended]:
        """Relax what has not ended yet; yields each as it ends, in any order.

        The results do not depend on `workers`. A structure with which a worker dies twice is given
        up, as one that failed.
        """
        left = [index for index in range(len(structures)) if index not in self._where]
        share = math.ceil(len(left) / (4 * workers))
        batches = list(_batches(left, structures, most=min(AT_ONCE, max(1, share))))
        relaxer = Relaxer(potential, query, options, self.folder)
        lost: list[Batch] = []
        for batch, failure in self._performed(relaxer, batches, min(workers, len(batches))):
            if isinstance(failure, WorkerLost):
                lost += [(one,) for one in batch]
            else:
                yield from self._kept(batch, failure)
        for batch, failure in self._performed(relaxer, lost, max(2, min(workers, len(lost)))):
            if isinstance(failure, WorkerLost):
                ((index, atoms),) = batch
                keep(self.folder, [Ended.failed(index, atoms, str(failure))])
                failure = None
            yield from self._kept(batch, failure)

    def _performed(
        self, relaxer: Relaxer, batches: Sequence[Batch], workers: int
    ) -> Iterator[tuple[Batch, BaseException | None]]:
        if not batches:
            return iter(())
        return performed(relaxer, batches, workers=workers, log=self.folder / "log")

    def _kept(self, batch: Batch, failure: BaseException | None) -> Iterator[Ended]:
        if failure is not None:
            raise failure
        path = self.folder / f"{batch[0][0]:09d}-{len(batch)}.npz"
        self._where.update((index, path) for index, _ in batch)
        yield from self._read(path)


def _batches(left: Sequence[int], structures: Sequence[Atoms], *, most: int) -> Iterator[Batch]:
    batch: list[tuple[int, Atoms]] = []
    held = 0
    for index in left:
        atoms = structures[index]
        if batch and (len(batch) == most or held + len(atoms) > ATOMS_AT_ONCE):
            yield tuple(batch)
            batch, held = [], 0
        batch.append((index, atoms))
        held += len(atoms)
    if batch:
        yield tuple(batch)


def _read(path: Path) -> list[Ended]:
    return unpacked(read_npz(path), path)


def _claim(folder: Path, line: dict[str, str]) -> None:
    """Make the folder this line's own, or find that it is."""
    header = folder / HEADER
    make_folder(folder)
    # a name with a dot is what a kill leaves of a file that was being written
    if all(one.name == LOCK or one.name.startswith(".") for one in folder.iterdir()):
        write_file(header, json.dumps(line, indent=1).encode())
        return
    try:
        before = json.loads(header.read_text(encoding="utf-8"))
        # a version with fewer options began it, or one with more: an option not given is "none"
        names = [*line, *(name for name in before if name not in line)]
        was = {name: str(before.get(name, "none")) for name in names}
        now = {name: str(line.get(name, "none")) for name in names}
        different = [name for name in names if was[name] != now[name]]
    except (OSError, ValueError, AttributeError):
        raise FolderError(
            f"{folder} is in the way and was not made by athanor relax; move it or give another "
            "--out"
        ) from None
    if different:
        name = different[0]
        told = max(len(was[name]), len(now[name])) < 32
        change = f" (was {was[name]}, is {now[name]})" if told else ""
        raise FolderError(
            f"{folder} holds unfinished relaxations with another {name}{change}; give the line "
            "they were begun with to finish them, or remove the folder, or give another --out"
        )


def fingerprint(path: Path) -> str:
    """Hash of a file, or of all files of a folder with their names. Raises FormatError."""
    digest = hashlib.sha256()
    one = path
    try:
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for one in files:
            digest.update(f"{one.relative_to(path)}\n".encode())
            digest.update(hashlib.sha256(one.read_bytes()).digest())
    except OSError as error:
        said = f"it cannot be read ({error.strerror or error}); make it readable, or give another"
        raise FormatError(one, None, said) from error
    return digest.hexdigest()
