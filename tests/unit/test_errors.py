"""Errors say where, and survive the way home from a worker process."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import pytest

from athanor import errors

SAMPLES = [
    errors.AthanorError("a sentence"),
    errors.InputError("a sentence"),
    errors.ConfigError("a sentence"),
    errors.StructureError("a sentence"),
    errors.UnknownElementError("a sentence"),
    errors.LabelError("a sentence"),
    errors.FormatError("folder/file.cfg", 12, "expected a number, found 'x'"),
    errors.FormatError(Path("file.cfg"), None, "it is empty"),
    errors.FolderError("a sentence"),
    errors.MissingExtraError("torch", "ani"),
    errors.FitError("a sentence"),
    errors.OracleError("not converged", retry=True),
    errors.LimitReached("a sentence"),
    errors.MeasurementError("a sentence"),
    errors.ValidationFailed("a sentence"),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_pickles_with_all_it_knows(error: errors.AthanorError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_every_error_is_sampled_and_is_ours() -> None:
    defined = {
        thing
        for _, thing in inspect.getmembers(errors, inspect.isclass)
        if thing.__module__ == errors.__name__
    }
    assert defined == {type(error) for error in SAMPLES}
    assert all(issubclass(error, errors.AthanorError) for error in defined)


def test_a_format_error_names_file_and_line() -> None:
    assert str(SAMPLES[6]) == "folder/file.cfg, line 12: expected a number, found 'x'"
    assert str(SAMPLES[7]) == "file.cfg: it is empty"
    assert errors.FormatError("a", 1, "b").path == Path("a")


def test_a_missing_extra_gives_the_line_that_helps() -> None:
    error = errors.MissingExtraError("torch", "ani")
    assert "pip install 'athanor[ani]'" in str(error)
    assert isinstance(error, ImportError)


def test_an_oracle_error_says_whether_to_try_again() -> None:
    assert errors.OracleError("node lost", retry=True).retry
    assert not errors.OracleError("no such structure").retry


def test_exit_codes() -> None:
    assert {type(error).__name__: error.exit_code for error in SAMPLES if error.exit_code != 1} == {
        "LimitReached": 2,
        "ValidationFailed": 2,
    }
