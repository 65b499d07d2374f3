"""What the page of a suite tells: the summary a suite writes as JSON, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from athanor.errors import FormatError
from athanor.validate import Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyStory:
    """One property of all subjects.

    Attributes
    ----------
    quantities, notes, failed, seconds : by subject; a subject that was not measured is in `failed`
        with the reasons, or nowhere.
    panels : as `panels_of` gives them, all subjects in each.
    curves : of a property that compares two by itself: by subject, in that property's own form.
    settings : what the suite file says of it.
    """

    kind: str
    title: str
    quantities: Mapping[str, tuple[Quantity, ...]]
    panels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            kind=str(data["kind"]),
            title=str(data["title"]),
            quantities={
                subject: tuple(Quantity(**one) for one in some)
                for subject, some in data["quantities"].items()
            },
            panels=dict(data.get("panels", {})),
            curves=dict(data.get("curves", {})),
            notes=_sentences(data.get("notes", {})),
            failed=_sentences(data.get("failed", {})),
            seconds={name: float(one) for name, one in data.get("seconds", {}).items()},
            settings=dict(data.get("settings", {})),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteStory:
    """Everything on the page.

    Attributes
    ----------
    subjects : what was measured, the reference included, in the order of the columns.
    reference : which of them the others are compared with.
    regressions : subject -> what got worse than in the baseline, a sentence each.
    machine : what it was measured with, name -> text.
    """

    name: str
    subjects: tuple[str, ...]
    reference: str | None
    properties: tuple[PropertyStory, ...]
    regressions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Mapping[str, Any], *, where: str | Path = "suite.json") -> Self:
        """Read the summary of a suite; FormatError names what it lacks."""
        try:
            subjects = tuple(_name(one) for one in data["subjects"])
            reference = data["reference"]
            if reference is not None and reference not in subjects:
                raise ValueError(f"its reference {reference!r} is none of its subjects")
            return cls(
                name=str(data["name"]),
                subjects=subjects,
                reference=reference,
                properties=tuple(PropertyStory.read(one) for one in data["properties"]),
                regressions=_sentences(data.get("regressions", {})),
                machine=dict(data.get("machine", {})),
            )
        except KeyError as error:
            told = f"this is no summary of a suite: {error} is missing"
            raise FormatError(where, None, told) from None
        except (AttributeError, TypeError, ValueError) as error:
            raise FormatError(where, None, f"this is no summary of a suite: {error}") from None

    @property
    def potentials(self) -> tuple[str, ...]:
        """The subjects that are compared."""
        return tuple(one for one in self.subjects if one != self.reference)

    @property
    def verdicts(self) -> tuple[bool, ...]:
        """Of everything that has a tolerance."""
        return tuple(
            one.passed
            for story in self.properties
            for some in story.quantities.values()
            for one in some
            if one.passed is not None
        )

    @property
    def failures(self) -> tuple[tuple[str, str, str], ...]:
        """(property, subject, why) of everything that could not be measured."""
        return tuple(
            (story.title, subject, reason)
            for story in self.properties
            for subject in self.subjects
            for reason in story.failed.get(subject, ())
        )

    @property
    def seconds(self) -> float:
        """Of work, all processes together."""
        return sum(sum(story.seconds.values()) for story in self.properties)


def _name(subject: Any) -> str:
    """A subject is its name, or a table with one."""
    return str(subject["name"] if isinstance(subject, Mapping) else subject)


def _sentences(data: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Sentences by subject, without those of whom nothing is said."""
    return {name: tuple(str(one) for one in some) for name, some in data.items() if some}
