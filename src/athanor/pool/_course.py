"""The course of a melt-quench: stages one after the other, each with its temperatures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """A number of steps from one temperature to another.

    Attributes
    ----------
    name : the group of its frames ("plateau 3000 K", "ramp 4000-3000 K").
    steps : how many.
    begin_K, end_K : target temperature before the first and after the last step.
    silent : how many of the first steps give no frames.
    """

    name: str
    steps: int
    begin_K: float
    end_K: float
    silent: int = 0

    def target(self, step: int) -> float:
        """Temperature of the thermostat in K for the step of this number, from 0."""
        return self.begin_K + (self.end_K - self.begin_K) * (step + 1) / self.steps


@dataclass(frozen=True, slots=True)
class Course:
    """Stages in order; steps are counted from 1 through all of them, frames every `interval`."""

    stages: tuple[Stage, ...]
    interval: int

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def at(self, step: int) -> tuple[Stage, int]:
        """The stage that a step (from 1) belongs to, and its number there, from 0."""
        before = 0
        for stage in self.stages:
            if step <= before + stage.steps:
                return stage, step - before - 1
            before += stage.steps
        raise IndexError(step)

    def keeps(self, step: int) -> bool:
        """Whether the frame after this step is one of the pool."""
        stage, number = self.at(step)
        return step % self.interval == 0 and number + 1 > stage.silent

    @property
    def frames(self) -> int:
        """How many frames come out."""
        return sum(self.keeps(step) for step in range(self.interval, self.steps + 1, self.interval))
