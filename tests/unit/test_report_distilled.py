"""The report of a distillation: what it shows at every stage, and that it is safe."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distilled_cases import campaign_text, write_pool

from athanor.campaign.events import CampaignFinished, Event, TaskFailed, TaskFinished
from athanor.campaign.journal import NAME, read_journal
from athanor.campaign.state import fold
from athanor.distil import DistilConfig, Distillation, run
from athanor.distil.verdict import sentence
from athanor.report import report_of
from athanor.report.distilled.clustered import scan_of
from athanor.report.distilled.content import Content, Convergence
from athanor.report.distilled.fit_figures import fields
from athanor.report.distilled.gather import content_of
from athanor.report.distilled.page import render
from athanor.report.distilled.pool_figures import convergence, maps, trajectory
from athanor.report.page import milli, number
from athanor.search.dimension import Dimension

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distillation that was run to its end."""
    home = tmp_path_factory.mktemp("distilled")
    text = campaign_text(write_pool(home / "pool.extxyz"))
    run(DistilConfig.of(tomllib.loads(text), source=text), home / "small")
    return home / "small"


@pytest.fixture(scope="module")
def found(folder: Path) -> Distillation:
    return Distillation(folder)


@pytest.fixture(scope="module")
def content(found: Distillation) -> Content:
    return content_of(found)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return report_of(folder)


def words(text: str) -> str:
    """What a reader sees, without figures and styles."""
    bare = re.sub(r"<svg.*?</svg>|<style>.*?</style>", "", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", bare))


def until(found: Distillation, wanted: str, count: int = 1) -> Distillation:
    """The same folder as it was when so many tasks of a kind were done."""
    events: list[Event] = []
    for event in read_journal(found.folder / NAME):
        if isinstance(event, CampaignFinished):
            break
        events.append(event)
        count -= isinstance(event, TaskFinished) and event.kind == wanted
        if not count:
            break
    return Distillation(found.folder, config=found.config, state=fold(events))


def ended(found: Distillation, stopped_by: str, **stop: Any) -> Distillation:
    """The same, had it been stopped by another rule."""
    over = found.state.ended
    assert over is not None
    state = dataclasses.replace(found.state, ended=dataclasses.replace(over, stopped_by=stopped_by))
    section = found.config.stop.model_copy(update=stop)
    return Distillation(
        found.folder, config=dataclasses.replace(found.config, stop=section), state=state
    )


def rows(text: str, section: str) -> Iterator[list[str]]:
    """The cells of the rows of all tables of a section."""
    part = text.split(f'<section id="{section}">')[1].split("</section>")[0]
    for row in re.findall(r"<tr>(.*?)</tr>", part, flags=re.DOTALL):
        yield [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", row)]


def test_every_section_and_figure_is_there(page: str) -> None:
    for name in (
        "learning",
        "clusters",
        "scan",
        "comparison",
        "search",
        "accuracy",
        "certificate",
        "failures",
        "use",
        "made",
    ):
        assert f'<section id="{name}">' in page
        assert f'<a href="#{name}">' in page
    # learning curve, trajectory, maps, scan, convergence, arms, search, fields, parity, time
    assert page.count("<figure><svg") == 10


def test_numbers_are_those_of_the_certificate(page: str, folder: Path) -> None:
    told = json.loads((folder / "certificate.json").read_text())
    seen = words(page)
    held_out = told["errors"]["held_out"]
    assert f"{milli(held_out['energy_rmse'])} energy RMSE, meV/atom" in seen
    assert f"{number(held_out['forces_rmse'])} force RMSE, eV/Å" in seen
    used = told["chosen"]["train"] + told["chosen"]["test"]
    assert f"{used}/{told['pool']['n']} structures used" in seen
    assert f"{told['clusters']['n_clusters']} clusters at δ = {told['clusters']['delta']:g}" in seen
    curve = [row for row in rows(page, "learning") if row]
    assert [(int(row[0]), int(row[1]), row[6]) for row in curve] == [
        (one["cycle"], one["train"], milli(one["errors"]["held_out"]["energy_rmse"]))
        for one in told["learning_curve"]
    ]
    chosen = [row for row in rows(page, "certificate") if len(row) == 7]
    assert [int(row[0]) for row in chosen] == [one["index"] for one in told["structures"]]
    assert [row[6] for row in chosen] == [one["reason"] for one in told["structures"]]
    assert {row[4] for row in chosen} == {"train", "test"}
    assert f"{told['similarity']['slope']:.4g}, from the data" in seen
    assert f"{told['similarity']['zeta']:.4g}, from the data" in seen
    for value in told["hyperparameters"].values():
        assert f" {json.dumps(value)} " in seen


def test_the_scan_is_that_of_the_affinity_drawn_from(found: Distillation) -> None:
    parts, other = found.partitions, found.other_best
    assert [(point.delta, point.n_clusters, point.spread) for point in scan_of(found)] == [
        (part["delta"], part["n_clusters"], part["energy_spread"]) for part in parts
    ]
    assert other["affinity"] != found.best["affinity"], "the other one's are there too"


def test_the_comparison_is_told_as_it_is(page: str, found: Distillation) -> None:
    seen = words(page)
    assert sentence(found.comparison) in seen
    assert sentence(found.comparison, "forces_rmse") in seen
    table = {row[0]: row for row in rows(page, "comparison") if row}
    assert {row[1] for row in table.values()} == {"MLIP(0)", "MLIP(1)", "MLIP(2)", "–"}
    energies = [one.errors["energy_rmse"] for one in found.comparison if one.arm == "random"]
    mean = 1000 * np.mean([energy for energy in energies if energy is not None])
    assert float(table["random"][4].split(" ± ")[0]) == pytest.approx(mean, rel=1e-3)
    assert table["random"][5] == "–"
    assert table["the whole pool"][2:4] == ["29", "1"]


def test_the_page_opens_offline_and_escapes_names(page: str) -> None:
    assert "<b>pool</b>" not in page
    assert "small &lt;b&gt;pool&lt;/b&gt;" in page
    assert "plateau 300 &lt;b&gt;" in page
    for tag in ("<script", "<link", "<iframe", "<object", "@import", "url(http"):
        assert tag not in page
    for value in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert value.startswith(("#", "data:image/png;base64,"))
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_equal_folders_give_equal_bytes(page: str, folder: Path) -> None:
    assert report_of(folder) == page


def test_text_of_every_origin_is_escaped(content: Content) -> None:
    pool, clusters, last = content.pool, content.clusters, content.rounds[-1]
    assert pool is not None
    assert clusters is not None
    lost = dataclasses.replace(last.trials[0], score=None, errors=None, reason=EVIL)
    evil = dataclasses.replace(
        content,
        name=EVIL,
        folder=EVIL,
        sentence=EVIL,
        config=EVIL,
        comparison=(EVIL,),
        pool=dataclasses.replace(pool, notes=(EVIL,), facts=((EVIL, EVIL),)),
        rounds=(*content.rounds, dataclasses.replace(last, trials=(lost,), best=None)),
        choices=(dataclasses.replace(content.choices[0], origin=EVIL, group=EVIL, reason=EVIL),),
        point={EVIL: EVIL},
        arms=(
            dataclasses.replace(
                content.arms[0],
                energy=dataclasses.replace(content.arms[0].energy, reasons=(EVIL,)),
            ),
        ),
    )
    text = render(evil)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 14


@pytest.mark.parametrize(
    ("kind", "count", "shown", "absent"),
    [
        (
            "",
            1,
            ["not ended", "at reading or making the pool.", "nothing is certified"],
            ["learning"],
        ),
        ("pool", 1, ["The pool", "at describing structures"], ["learning", "scan", "search"]),
        ("partition", 3, ["3 of 22 tasks done", "How the clusters were found"], ["search"]),
        ("map", 1, ["Clusters along the trajectory", "in cycle 1"], ["learning", "search"]),
        ("trial", 2, ["searching hyperparameters in cycle 1", "2 trials"], ["learning"]),
        ("test", 1, ["So far, with", "in cycle 2", "both written at the end"], []),
        ("trial", 6, ["The comparison goes on"], []),
    ],
)
def test_what_is_not_there_yet(
    found: Distillation, kind: str, count: int, shown: list[str], absent: list[str]
) -> None:
    early = until(found, kind, count) if kind else _fresh(found)
    text = render(content_of(early))
    seen = words(text)
    assert "unfinished" in seen
    assert "Run the same line again to carry on." in seen
    for part in shown:
        assert part in seen, seen[:600]
    for section in absent:
        assert f'<section id="{section}">' not in text


def _fresh(found: Distillation) -> Distillation:
    first = next(iter(read_journal(found.folder / NAME)))
    return Distillation(found.folder, config=found.config, state=fold([first]))


def test_a_failed_trial_of_a_search_that_goes_on(found: Distillation) -> None:
    early = until(found, "trial", 2)
    point = {"cutoff": 4.25, "force_weight": 0.1}
    failures = {
        "a": TaskFailed(0.0, "a", "trial", 1, json.dumps(point), "it did not converge"),
        "b": TaskFailed(0.0, "b", "trial", 1, "the fit", "it is singular"),
        "c": TaskFailed(0.0, "c", "label", 1, "a label", "no energy came"),
    }
    state = dataclasses.replace(early.state, failed_tasks=failures)
    content = content_of(Distillation(found.folder, config=found.config, state=state))
    assert [trial.point for trial in content.rounds[0].trials[2:]] == [point, {}]
    text = render(content)
    lost = [row for row in rows(text, "search") if row]
    assert lost == [
        ["1", "cutoff = 4.25, force_weight = 0.1", "it did not converge"],
        ["1", "as written", "it is singular"],
    ]
    assert "4 trials 2 failed" in words(text)
    assert ["1", "labels: a label", "no energy came"] in list(rows(text, "failures"))


@pytest.mark.parametrize(
    ("stopped_by", "said", "badge"),
    [
        ("tolerance", "The tolerance is met: with ", "tolerance met"),
        ("whole_pool", "All of the pool that may be chosen was used, before", "stopped by a limit"),
        ("max_fraction", "its limit of 40\u00a0% of the pool, before", "stopped by a limit"),
        ("max_cycles", "its limit of 2 cycles, before", "stopped by a limit"),
        ("max_hours", "its limit of 3.0 hours, before", "stopped by a limit"),
        ("fatigue", "its limit fatigue, before", "stopped by a limit"),
    ],
)
def test_how_it_ended(found: Distillation, stopped_by: str, said: str, badge: str) -> None:
    story = content_of(ended(found, stopped_by, max_fraction=0.4, max_hours=3.0))
    assert said in story.sentence
    assert "against a tolerance of 0.001" in story.sentence
    assert badge in words(render(dataclasses.replace(story, cycles=(), rounds=(), arms=())))


def test_a_tolerance_met_on_test_structures_alone_says_so(found: Distillation) -> None:
    story = content_of(ended(found, "tolerance", judged_on="test"))
    assert story.sentence.startswith("The tolerance is met on test structures: ")
    last = found.cycles[-1]
    assert last.held_out is not None
    energy = last.held_out["energy_rmse"]
    assert energy is not None
    assert f"{1000 * energy:.3g} meV/atom on held-out structures" in story.sentence


def test_an_end_without_the_steps_before_it_is_none(found: Distillation) -> None:
    young = dataclasses.replace(until(found, "pool").state, ended=found.state.ended)
    story = content_of(Distillation(found.folder, config=found.config, state=young))
    assert story.state == "unfinished"
    assert "has not ended" in story.sentence


def test_why_there_is_no_comparison(found: Distillation) -> None:
    plain = dataclasses.replace(found.config, compare=None)
    without = Distillation(found.folder, config=plain, state=found.state)
    assert "no comparison was asked for" in " ".join(content_of(without).comparison).lower()
    early = until(found, "map")
    assert content_of(early).comparison == ("The comparison comes after the last cycle.",)
    assert early.ground is not None
    early.passed.ground = dataclasses.replace(
        early.ground, found={**early.ground.found, "unlabelled": [3]}
    )
    assert "needs labels of the whole pool" in content_of(early).comparison[0]


def test_without_groups_or_energies_or_held_out_structures(content: Content) -> None:
    pool, last = content.pool, content.last
    assert pool is not None
    assert last is not None
    bare = dataclasses.replace(
        content,
        pool=dataclasses.replace(pool, groups=None, energies=np.full(pool.n, np.nan)),
        scan=tuple(
            dataclasses.replace(one, spread=None, spread_by_structure=None, ari=None)
            for one in content.scan
        ),
        cycles=tuple(dataclasses.replace(one, held_out=None) for one in content.cycles),
        arms=(),
        dimensions=(),
    )
    text = render(bare)
    assert "Shaded: the groups" not in text
    assert "No field of [potential] has a range" in text
    assert f"{milli(last.test['energy_rmse'])} energy RMSE, meV/atom test structures" in words(text)
    assert bare.clusters is not None
    assert bare.pool is not None
    by_energy = maps(dataclasses.replace(pool, groups=None), bare.clusters)
    assert len({by_energy, maps(bare.pool, bare.clusters), maps(pool, bare.clusters)}) == 3


def test_errors_that_are_not_finite(content: Content) -> None:
    nothing = dict.fromkeys(("energy_rmse", "forces_rmse"))
    lost = [dataclasses.replace(one, test=nothing, held_out=nothing) for one in content.cycles]
    seen = words(render(dataclasses.replace(content, cycles=tuple(lost), parity=None, arms=())))
    assert "– energy RMSE, meV/atom held out; tolerance 0.001 missed" in seen


def test_a_large_pool_stays_a_small_page(content: Content) -> None:
    pool, clusters = content.pool, content.clusters
    assert pool is not None
    assert clusters is not None
    rng = np.random.default_rng(2)
    n, m = 10_000, 8_000
    large = dataclasses.replace(
        content,
        pool=dataclasses.replace(
            pool,
            n=n,
            energies=rng.normal(size=n),
            groups=tuple(f"plateau {k // 1000}" for k in range(n)),
        ),
        clusters=dataclasses.replace(
            clusters,
            n_clusters=60,
            indices=np.sort(rng.permutation(n)[:m]),
            clusters=rng.integers(1, 61, m),
            points=rng.normal(size=(m, 2)),
            chosen=rng.random(m) < 0.3,
        ),
        choices=tuple(dataclasses.replace(content.choices[0], index=k) for k in range(3000)),
    )
    text = render(large)
    assert len(text) < 3e6
    assert "The first 2000 of 3000;" in words(text)
    assert "<summary>All 3000 structures</summary>" in text


def test_mixed_groups_are_not_shaded(content: Content) -> None:
    assert content.pool is not None
    mixed = tuple(f"group {k % 2}" for k in range(content.pool.n))
    many = dataclasses.replace(content.pool, groups=mixed * 2, n=2 * content.pool.n)
    many = dataclasses.replace(many, energies=np.zeros(many.n))
    shaded = dataclasses.replace(many, groups=tuple(sorted(mixed * 2)))
    assert len(trajectory(many, None)) < len(trajectory(shaded, None))


def test_few_clusters_and_searched_fields_of_every_sort(content: Content) -> None:
    few = Convergence(
        numbers=(2, 3),
        means=(0.5, 0.6),
        uncertainty=0.0,
        range=(2, 3),
        d_tol=1e-3,
        patience=3,
        chosen=3,
        converged=False,
    )
    assert "<svg" in convergence(few)
    logarithmic = Dimension(("cutoff",), 0.01, 10.0, log=True)
    integers = Dimension(("force_weight",), 0, 4, integer=True)
    nested = Dimension(("soap", "a" * 60), 0, 1, integer=True, choices=("$\\frac$" * 9, {"k": 1}))
    for dimensions in ((logarithmic,), (logarithmic, integers, nested, nested)):
        assert "<svg" in fields(content.rounds, dimensions)
