"""`athanor init --pool`: look through a trajectory and write a campaign file for it."""

from __future__ import annotations

import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from athanor.cli.files import refuse_existing
from athanor.cli.pool_starter import expected, pool_starter
from athanor.cli.pool_survey import Survey
from athanor.data.durable import write_file
from athanor.distil import DistilConfig
from athanor.errors import LabelError
from athanor.oracle import Oracle
from athanor.oracle.ase import AseOracleConfig
from athanor.pool.file import FilePool


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for.

    Attributes
    ----------
    paths : files, or patterns of them. name : of the campaign, by default the first file's.
    order : species by index, for files that have only indices.
    level : of a moment tensor potential. oracle : an ASE calculator, for labels that are lacking.
    """

    paths: tuple[str, ...]
    name: str | None
    order: tuple[str, ...] | None
    potential: str
    level: int | None
    oracle: str | None
    seed: int


def init_pool(path: Path, asked: Asked) -> None:
    """Write a campaign file to `path` and say what was found.

    Raises what the pool raises for files that a run would refuse, and ConfigError, FolderError.
    """
    if path.parent.is_dir():
        refuse_existing(path)
    survey = _look(asked)
    text = pool_starter(
        survey,
        name=asked.name or Path(asked.paths[0]).stem,
        paths=asked.paths,
        order=asked.order,
        potential=asked.potential,
        level=asked.level,
        # of no use where every structure has labels
        oracle=asked.oracle if survey.labelled < survey.n else None,
        seed=asked.seed,
    )
    made = DistilConfig.of(tomllib.loads(text), where="the options given")
    if survey.labelled and not survey.forces and made.example.needs_forces:
        raise LabelError(
            f"{survey.name}: it has energies and no forces, which a potential of kind "
            f"{asked.potential!r} is not fitted to; give --potential gap or ani, or a file with "
            "forces"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(refuse_existing(path), text.encode())
    print("\n".join([*survey.lines(), expected(survey)]))
    print(f"written to {path}; look through it, then start it with  athanor run {path}")


def _look(asked: Asked) -> Survey:
    """Read the pool as a run will."""
    oracle: Oracle | None = None
    if asked.oracle is not None:
        oracle = AseOracleConfig(calculator=asked.oracle).build()
    table = {"kind": "file", "path": asked.paths} | (
        {"species": asked.order} if asked.order else {}
    )
    config = FilePool.parse(table, where="--pool")
    with tempfile.TemporaryDirectory() as scratch:
        pool = config.frames(oracle=oracle, seed=asked.seed, workdir=Path(scratch))
    first = Path(asked.paths[0])
    return Survey.of(
        pool, name=first.name if len(asked.paths) == 1 else f"{len(asked.paths)} files"
    )
