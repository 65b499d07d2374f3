"""Settings of LAMMPS tried in a process of their own, which a crash of its parsers may take along.

Run as a module it reads settings from stdin, and writes what LAMMPS has against them to stdout.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms

from athanor.errors import AthanorError
from athanor.oracle._lammps import Engine, Settings

APART = 3.0
"""Å between the atoms of the structure that settings are tried with."""


def refusal(settings: Settings) -> str:
    """What LAMMPS has against settings, in a sentence; empty where it takes them."""
    ended = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(asdict(settings)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if ended.returncode == 0:
        return str(json.loads(ended.stdout))
    files = ", ".join(word for word, _ in settings.files)
    hint = f"; is {files} a file for this style?" if files else ""
    return f"LAMMPS ended with {_end(ended)} on pair_style {settings.pair_style}{hint}"


def _end(ended: subprocess.CompletedProcess[str]) -> str:
    if ended.returncode < 0:
        with contextlib.suppress(ValueError):
            return f"the signal {signal.Signals(-ended.returncode).name}"
    last = " ".join(ended.stderr.split("\n")[-2:]).strip()
    return f"exit code {ended.returncode} ({last[:200] or 'no message'})"


def tried(settings: Settings) -> str:
    """What LAMMPS has against settings, tried in this process."""
    count = len(settings.species)
    places = np.full((count, 3), APART * count / 2)
    places[:, 0] = APART * np.arange(count)
    atoms = Atoms(settings.species, places, cell=[APART * count] * 3, pbc=True)
    try:
        Engine(settings, atoms).close()
    except AthanorError as error:
        return str(error)
    return ""


def _from(told: Mapping[str, Any]) -> Settings:
    return Settings(
        pair_style=told["pair_style"],
        pair_coeff=tuple(told["pair_coeff"]),
        species=tuple(told["species"]),
        charges=tuple(told["charges"]),
        kspace_style=told["kspace_style"],
        files=tuple((word, path) for word, path in told["files"]),
    )


if __name__ == "__main__":
    print(json.dumps(tried(_from(json.load(sys.stdin)))))
