"""The door to DScribe and scikit-learn: opened where they are used, not by an import of athanor."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from athanor.component import PACKAGES, require_libraries
from athanor.errors import MissingExtraError

_EXTRA = "clustering"
_LIBRARIES = ("dscribe", "sklearn")


@contextlib.contextmanager
def extra(library: str = "dscribe") -> Iterator[None]:
    """Around imports from DScribe or scikit-learn.

    Raises MissingExtraError for a library that is absent, or that misses one of its own needs.
    """
    with warnings.catch_warnings():
        # what these libraries deprecate in each other does not concern whoever clusters structures
        warnings.simplefilter("ignore")
        try:
            yield
        except ImportError as error:
            name = error.name or library
            raise MissingExtraError(PACKAGES.get(name, name), _EXTRA) from error


def require_extra() -> None:
    """Raise MissingExtraError unless DScribe and scikit-learn are there; imports neither."""
    require_libraries(dict.fromkeys(_LIBRARIES, _EXTRA))
