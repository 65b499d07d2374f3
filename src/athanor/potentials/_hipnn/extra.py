"""The door to torch and hippynn: opened by a fit or a prediction, not by an import of athanor."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from athanor.component import require_libraries
from athanor.errors import MissingExtraError

_EXTRA = "hipnn"
_LIBRARIES = ("torch", "hippynn")


@contextlib.contextmanager
def extra() -> Iterator[None]:
    """Around imports of the parts that need torch and hippynn.

    Raises MissingExtraError for a library that is absent, or that misses one of its own needs.
    """
    with warnings.catch_warnings():
        # hippynn 0.1 uses torch.jit and distutils, which are deprecated, and tells at its import
        # that optional kernels are absent; none of this concerns whoever fits a potential
        warnings.simplefilter("ignore")
        try:
            yield
        except ImportError as error:
            if isinstance(error, MissingExtraError):
                raise
            raise MissingExtraError(error.name or "hippynn", _EXTRA) from error


def require_extra() -> None:
    """Raise MissingExtraError unless torch and hippynn are there; imports neither."""
    require_libraries(dict.fromkeys(_LIBRARIES, _EXTRA))
