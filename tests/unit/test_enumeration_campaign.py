"""Starts gone through in parts: several runs of a sampler as one, and a campaign over a pool."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from ase import Atoms

from athanor.campaign import Campaign, CampaignConfig, run
from athanor.errors import StructureError
from athanor.potentials import Potential
from athanor.potentials.lj import LennardJones
from athanor.query import Grade, Query
from athanor.sample import Harvest, SamplerConfig, Stop
from athanor.sample._batch import joined, run_each
from athanor.sample.enumeration import EnumerationStart
from athanor.suite.config import SuiteConfig
from athanor.validate.hull import ConvexHull

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "silver_palladium.toml"
POTENTIAL = LennardJones(frozenset({"Ar"}), cutoff=5.0, epsilon=0.01, sigma=3.4)


class Picky(SamplerConfig):
    """Ends as the number of atoms says: 1 completes, 2 completes early, 3 halts, 4 is refused."""

    kind: Literal["picky"] = "picky"

    def run(
        self, start: Atoms, potential: Potential, query: Query, *, seed: int, workdir: Path
    ) -> Harvest:
        n = len(start)
        if n == 4:
            raise StructureError("four are too many")
        stop: Stop = "grade" if n == 3 else "completed"
        return Harvest(
            structures=(start,) * (n - 1),
            grades=tuple(Grade(float(n + k), None, "save") for k in range(n - 1)),
            reasons=("why not",) * (n - 1),
            steps=10 if n == 1 else n,
            planned=10,
            stopped_by=stop,
            trace={"grade": np.array([0.5, 0.25]) if n < 3 else np.zeros(0), "seed": [seed]},
        )


def harvest(*sizes: int) -> Harvest:
    starts = [Atoms(f"Ar{n}") for n in sizes]
    rng = np.random.default_rng(1)
    query: Query = None  # type: ignore[assignment]  # the sampler here asks for none
    return run_each(Picky(), starts, POTENTIAL, query, rng=rng, workdir=Path("."))


def test_a_single_start_is_run_as_ever() -> None:
    alone = harvest(3)
    assert (alone.steps, alone.planned, alone.stopped_by) == (3, 10, "grade")
    assert alone.reasons == ("why not", "why not")
    rng = np.random.default_rng(1)
    assert alone.trace["seed"] == [int(rng.integers(2**31))]
    with pytest.raises(StructureError, match="four are too many"):
        harvest(4)


def test_several_starts_are_one_run() -> None:
    good = harvest(1, 2, 2, 1)
    assert (good.steps, good.planned, good.stopped_by) == (4, 4, "completed")
    assert good.reasons == ("why not, from start 2", "why not, from start 3")
    mixed = harvest(2, 3, 4, 1, 3)
    assert (mixed.steps, mixed.planned, mixed.stopped_by) == (2, 5, "grade")
    assert [len(atoms) for atoms in mixed.structures] == [2, 3, 3, 3, 3]
    assert len(mixed.grades) == len(mixed.reasons) == 5
    assert mixed.trace["start"].tolist() == [0, 1, 3, 4], "the third was refused"
    assert mixed.trace["grade"].tolist() == [2.0, 4.0, 0.5, 4.0]
    refused = harvest(1, 4)
    assert (refused.steps, refused.planned, refused.stopped_by) == (1, 2, "distance")
    with pytest.raises(StructureError, match="four are too many"):
        harvest(4, 4)
    assert joined([], starts=0).structures == ()


def test_a_campaign_goes_through_all_candidates(tmp_path: Path) -> None:
    """Two trajectories of each cycle hold every candidate once; it ends where none is halted."""
    start = {"species": ["Cu", "Au"], "lattices": ["fcc"], "max_atoms": 3, "batch": 5}
    tables = {
        "campaign": {"seed": 3, "workers": 1},
        "potential": {"kind": "mtp", "level": 4, "species": ["Cu", "Au"], "starts": 1, "steps": 3},
        "query": {"kind": "doptimality", "by": "structure", "save": 1.5, "halt": 3.0},
        "start": {"kind": "enumeration", **start, "rattle": 0.03},
        "sample": {"kind": "relax", "cell": True, "fmax": 0.05, "steps": 30, "max_saved": 1},
        "oracle": {"kind": "ase", "calculator": "emt"},
        "cycle": {"initial": 6, "trajectories": 2, "labels": 10, "valid_fraction": 0.0},
        "stop": {"untriggered_cycles": 1, "max_cycles": 15},
    }
    config = CampaignConfig.of(tables)
    assert isinstance(config.start, EnumerationStart)
    expected = collections.Counter(atoms.get_chemical_formula() for atoms in config.start.listed())
    state = run(config, tmp_path / "folder")
    campaign = Campaign(tmp_path / "folder")
    assert state.ended is not None
    cycles = [cycle for cycle in campaign.cycles if cycle.trajectories]
    assert cycles
    for cycle in cycles:
        assert [one.planned for one in cycle.trajectories] == [5, 5]
        assert sum(len(campaign.trace(one.task)["start"]) for one in cycle.trajectories) == 10
    assert sum(expected.values()) == 10
    assert state.stopped_by == "untriggered"
    assert all(one.stopped_by == "completed" for one in cycles[-1].trajectories)
    assert all(one.survival == 1 for one in cycles[-1].trajectories)
    assert len(campaign.purchases) >= 4
    assert campaign.load_potential().elements == {"Cu", "Au"}


def test_the_example_covers_its_pool() -> None:
    config = CampaignConfig.read(EXAMPLE)
    assert isinstance(config.start, EnumerationStart)
    config.start.check()
    assert config.oracle.build().level.startswith("lammps:eam:")
    candidates = config.start.listed()
    assert len(candidates) >= 5000
    assert max(map(len, candidates)) == config.start.max_atoms == 8
    assert config.cycle.trajectories * config.start.batch >= len(candidates)
    assert (config.cycle.trajectories - 1) * config.start.batch < len(candidates)
    suite = SuiteConfig.read(EXAMPLE.with_name("silver_palladium_suite.toml"))
    (hull,) = suite.properties
    assert isinstance(hull, ConvexHull)
    assert hull.enumeration is not None
    assert hull.enumeration.model_copy(update={"batch": config.start.batch}) == config.start
