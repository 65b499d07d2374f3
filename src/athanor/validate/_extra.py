"""The door to the libraries of the extra [physics]: opened where a property is measured."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from athanor.component import PACKAGES
from athanor.errors import MissingExtraError

_EXTRA = "physics"


@contextlib.contextmanager
def extra(library: str) -> Iterator[None]:
    """Around imports from a library (phonopy, dynasor, freud, ...).

    Raises MissingExtraError for one that is absent, or that misses one of its own needs.
    """
    with warnings.catch_warnings():
        # what these libraries deprecate in each other does not concern whoever measures
        warnings.simplefilter("ignore")
        try:
            yield
        except ImportError as error:
            name = (error.name or library).partition(".")[0]
            raise MissingExtraError(PACKAGES.get(name, name), _EXTRA) from error
