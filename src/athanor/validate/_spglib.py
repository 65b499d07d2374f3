"""Asking spglib, whose ways of saying that it found nothing differ by version."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from athanor.errors import AthanorError, MeasurementError
from athanor.validate._extra import extra


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Around the import of spglib and what it is asked.

    Raises MissingExtraError where it is absent, MeasurementError where it fails.
    """
    try:
        with extra("spglib"):
            yield
    except AthanorError:
        raise
    except Exception as error:
        # one version returns None, another raises errors of its own
        raise MeasurementError(f"the crystal's symmetry cannot be found ({error})") from error
