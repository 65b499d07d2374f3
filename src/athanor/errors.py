"""Typed errors: each message says what was found, what is allowed and what to do."""

from __future__ import annotations

from pathlib import Path


class AthanorError(Exception):
    """Base of what athanor raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(AthanorError):
    """Something the user gave cannot be used."""


class ConfigError(InputError):
    """A campaign, recipe or option is misspelt, out of range or does not fit the others."""


class StructureError(InputError):
    """A structure no potential could evaluate: NaN, singular cell, coincident atoms."""


class UnknownElementError(InputError):
    """A structure holds an element that the potential was not fitted to."""


class LabelError(InputError):
    """Labels that must not be trained on: NaN, wrong shape, missing forces."""


class FormatError(InputError):
    """A file that is not what it should be.

    Parameters
    ----------
    path : the file.
    line : 1-based line number, or None where the whole file is meant.
    message : what was found and what was expected.
    """

    def __init__(self, path: str | Path, line: int | None, message: str) -> None:
        self.path = Path(path)
        self.line = line
        self.message = message
        where = f"{path}" if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {message}")

    def __reduce__(self) -> tuple[type[FormatError], tuple[Path, int | None, str]]:
        return type(self), (self.path, self.line, self.message)


class FolderError(InputError):
    """A folder that is in use, not writable, full, or holds something else."""


class MissingExtraError(AthanorError, ImportError):
    """An optional dependency is absent; the message gives the exact pip line."""

    def __init__(self, library: str, extra: str) -> None:
        self.library = library
        self.extra = extra
        super().__init__(
            f"{library} is not installed: run  pip install 'athanor[{extra}]'  to get it"
        )

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.library, self.extra)


class FitError(AthanorError):
    """A fit that cannot give a potential (too few data, singular system, non-finite loss)."""


class OracleError(AthanorError):
    """The oracle gave no usable label for one structure.

    Parameters
    ----------
    reason : one sentence for the table of failures.
    retry : whether the same call may succeed when it is made again.
    """

    def __init__(self, reason: str, retry: bool = False) -> None:
        self.reason = reason
        self.retry = retry
        super().__init__(reason)

    def __reduce__(self) -> tuple[type[OracleError], tuple[str, bool]]:
        return type(self), (self.reason, self.retry)


class MeasurementError(AthanorError):
    """A property that could not be measured, with the reason; the rest of a suite goes on."""


class LimitReached(AthanorError):
    """A campaign stopped by a limit (labels, cycles, time) before it converged."""

    exit_code = 2


class ValidationFailed(AthanorError):
    """Properties were measured, and some failed or are not within their tolerances."""

    exit_code = 2
