"""What a measurement has found so far; one part that fails does not take the others with it."""

from __future__ import annotations

from collections.abc import Callable

from athanor.errors import AthanorError
from athanor.validate import Measured, Panel, Value


class Findings:
    """Values, panels, notes and failures as they come."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.panels: dict[str, Panel] = {}
        self.notes: list[str] = []
        self.failures: list[str] = []

    def attempt(self, part: Callable[[], None]) -> None:
        """Do a part; what stops it becomes a failure."""
        try:
            part()
        except AthanorError as error:
            self.failures.append(str(error))

    def measured(self) -> Measured:
        """All of it."""
        return Measured(
            tuple(self.values), dict(self.panels), tuple(self.notes), tuple(self.failures)
        )
