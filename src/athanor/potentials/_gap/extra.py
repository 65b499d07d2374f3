"""The door to quippy: opened by a fit or a prediction, not by an import of athanor."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from athanor.errors import MissingExtraError

_EXTRA, _LIBRARY, _PACKAGE = "gap", "quippy", "quippy-ase"


@contextlib.contextmanager
def extra() -> Iterator[None]:
    """Around imports of quippy; MissingExtraError when it, or one of its own needs, is absent."""
    with warnings.catch_warnings():
        # what f90wrap and NumPy have to say to each other concerns nobody who fits a potential
        warnings.simplefilter("ignore")
        try:
            yield
        except ImportError as error:
            raise MissingExtraError(error.name or _PACKAGE, _EXTRA) from error


def require_extra() -> None:
    """Raise MissingExtraError unless quippy is there; does not import it."""
    package_folder()


def package_folder() -> Path:
    """Where quippy is installed."""
    if _LIBRARY in sys.modules:
        found = getattr(sys.modules[_LIBRARY], "__file__", None)
    else:
        spec = importlib.util.find_spec(_LIBRARY)
        found = None if spec is None else spec.origin
    if found is None:
        raise MissingExtraError(_PACKAGE, _EXTRA)
    return Path(found).parent


def gap_fit_program() -> Path:
    """The program gap_fit that comes with quippy; MissingExtraError where the wheel has none."""
    path = package_folder() / "gap_fit"
    if not os.access(path, os.X_OK):
        raise MissingExtraError("gap_fit (of quippy-ase)", _EXTRA)
    return path
