"""Choosing how to make every scalar, so that all together take few products.

Which intermediate is worth making depends on who else uses it. Nodes are chosen greedily, an
intermediate that many could use being offered at a discount, and then chosen again one by one
until nothing gets cheaper; the best of a few discounts is kept. On the levels where the exact
optimum can be had by integer programming, the result is within two per cent of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from athanor.potentials._mtp.contraction import Catalogue
from athanor.potentials._mtp.nodes import Node, Way

DISCOUNTS = (0.05, 0.1, 0.2, 0.4)
MAX_SWEEPS = 12


def cheapest_ways(roots: Sequence[Node]) -> dict[Node, Way]:
    """The way to make each root and each intermediate that is needed."""
    catalogue = Catalogue()
    nodes = _all_nodes(roots, catalogue)
    number = {node: n for n, node in enumerate(nodes)}
    choices = [
        tuple(
            (option.cost, tuple(number[need] for need in option.needs))
            for option in catalogue.options(node)
        )
        for node in nodes
    ]
    best: _Plan | None = None
    for discount in DISCOUNTS:
        plan = _Plan(choices, discount)
        for node in roots:
            plan.use(number[node])
        plan.improve()
        plan.discount = 0.0
        plan.improve()
        if best is None or plan.cost() < best.cost():
            best = plan
    assert best is not None  # there is at least one discount
    return {
        nodes[n]: catalogue.options(nodes[n])[choices[n].index(choice)].way
        for n, choice in best.chosen.items()
    }


def _all_nodes(roots: Sequence[Node], catalogue: Catalogue) -> list[Node]:
    """The roots and every node that could be of use to them."""
    nodes = list(roots)
    seen = set(roots)
    for node in nodes:  # grows while it is read
        needs = (need for option in catalogue.options(node) for need in option.needs)
        new = [need for need in dict.fromkeys(needs) if need not in seen]
        nodes += new
        seen.update(new)
    return nodes


Choice = tuple[int, tuple[int, ...]]
"""Cost of the last contraction, and the numbers of the nodes it needs."""


@dataclass(slots=True)
class _Plan:
    """The choice made so far for each node, and how many chosen nodes use each node."""

    choices: list[tuple[Choice, ...]]
    discount: float
    chosen: dict[int, Choice] = field(default_factory=dict)
    uses: list[int] = field(init=False)
    users: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.uses = [0] * len(self.choices)
        self.users = [0] * len(self.choices)
        for options in self.choices:
            for need in {need for _, needs in options for need in needs}:
                self.users[need] += 1

    def cost(self) -> int:
        return sum(cost for cost, _ in self.chosen.values())

    def use(self, node: int) -> None:
        """Count one more use, choosing a way at the first."""
        self.uses[node] += 1
        if self.uses[node] == 1:
            self._choose(node)

    def improve(self) -> None:
        """Choose every node again until a sweep brings nothing."""
        before = self.cost()
        for _ in range(MAX_SWEEPS):
            for node in list(self.chosen):
                if node in self.chosen:
                    self._release_needs(node)
                    self._choose(node)
            after = self.cost()
            if after >= before:
                break
            before = after

    def _choose(self, node: int) -> None:
        choice = min(self.choices[node], key=self._extra)
        self.chosen[node] = choice
        for need in choice[1]:
            self.use(need)

    def _extra(self, choice: Choice) -> float:
        """What the choice would add, with what it needs."""
        extra: float = choice[0]
        for need in choice[1]:
            if not self.uses[need]:
                extra += self._offer(need)
        return extra

    def _offer(self, node: int) -> float:
        """The price of a node that is not there yet, lower when many could use it."""
        cheapest = min(self._extra(choice) for choice in self.choices[node])
        return cheapest / (1.0 + self.discount * (self.users[node] - 1))

    def _release_needs(self, node: int) -> None:
        for need in self.chosen[node][1]:
            self.uses[need] -= 1
            if not self.uses[need]:
                self._release_needs(need)
                del self.chosen[need]
