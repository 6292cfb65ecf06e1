"""Benchmarks in the quick mode: the structure of their results, never the times."""

import json
import math
import re
from functools import cache
from pathlib import Path

import pytest
import torch

from torchmanifold.benchmarks import (
    BENCHMARKS,
    Contender,
    Row,
    Spread,
    Table,
    Target,
    Work,
    measure,
)
from torchmanifold.benchmarks.peers import has


@cache
def quick(name: str) -> Table:
    return BENCHMARKS[name](quick=True, threads=1, seed=0)


@pytest.fixture(params=BENCHMARKS)
def table(request: pytest.FixtureRequest) -> Table:
    return quick(request.param)


def by_work(table: Table) -> dict[str, list[Row]]:
    works: dict[str, list[Row]] = {}
    for row in table:
        works.setdefault(row.work, []).append(row)
    return works


def test_every_row_has_times_with_spread_a_ratio_and_a_residual(table: Table) -> None:
    assert len(table) > 0
    for row in table:
        assert row.samples >= 1, row
        for spread in (row.milliseconds, row.ratio):
            assert 0 < spread.low <= spread.median <= spread.high < math.inf, row
        assert math.isfinite(row.residual), row
        assert row.products is None or row.products > 0, row
        assert row.megabytes is None or row.megabytes >= 0, row


def test_ours_comes_first_and_is_what_the_others_are_compared_with(table: Table) -> None:
    for rows in by_work(table).values():
        assert rows[0].ours
        assert rows[0].ratio == Spread(1, 1, 1)


def test_our_results_are_right(table: Table) -> None:
    # Sizes are tiny, so weights are on their manifolds to a few units of rounding.
    # The logarithm of a definite matrix from one near by loses the digits that the two share.
    for row in table:
        if row.ours:
            assert row.residual < (1e-3 if row.work.startswith("SPD log") else 1e-5), row


def test_the_unit_of_cost_is_measured_where_there_is_one() -> None:
    assert all(row.products is not None for row in quick("maps"))
    steps = [row for row in quick("optim") if row.work.startswith("step")]
    assert steps and all(row.products is not None for row in steps)


def test_memory_is_measured_beside_the_time() -> None:
    large = [row for row in quick("maps") if any("MB" in v.target for v in row.verdicts)]
    assert large and all(row.megabytes is not None for row in large)


def test_the_peers_take_part() -> None:
    methods = " ".join(row.method for name in BENCHMARKS for row in quick(name))
    wanted = ["torch", "geotorch"]
    wanted += [peer for peer, module in (("geoopt", "geoopt"), ("POGO", "pogo")) if has(module)]
    assert all(peer in methods for peer in wanted)


def test_a_quick_run_judges_nothing(table: Table) -> None:
    assert any(row.verdicts for row in table)
    assert all(verdict.reached is None for row in table for verdict in row.verdicts)
    assert table.missed() == []


def test_it_prints_as_a_table_and_is_written_as_json(table: Table, tmp_path: Path) -> None:
    text = str(table)
    assert len({len(line) for line in text.splitlines()}) == 1  # aligned
    table.write_json(tmp_path / "table.json")
    found = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert found["settings"]["threads"] == 1 and found["settings"]["quick"]
    assert {"torch", "geotorch", "geoopt", "pogo-torch"} <= set(found["environment"])
    assert [row["method"] for row in found["rows"]] == [row.method for row in table]


def test_a_run_leaves_threads_and_random_numbers_as_they_were() -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    table = BENCHMARKS["parametrize"](quick=True, threads=1, only="access*")
    assert {row.work for row in table} == {"access outside the cache, identity map, n = 4"}
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("option", [{"threads": 0}, {"repeats": -1}, {"only": "nothing"}])
def test_options_that_make_no_sense_are_refused(option: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="maps"):
        BENCHMARKS["maps"](**option)  # type: ignore[arg-type]


def test_each_piece_of_work_is_reported_when_it_is_done() -> None:
    seen: list[list[Row]] = []
    table = BENCHMARKS["parametrize"](quick=True, only="cached*", progress=seen.append)
    assert [row for rows in seen for row in rows] == table.rows


# ---- The clock, with contenders that note their calls.


def contender(name: str, log: list[str], **options: object) -> Contender:
    return Contender(name, lambda: log.append(name), lambda: 0.0, number=1, **options)  # type: ignore[arg-type]


def test_contenders_take_turns_after_a_warm_up() -> None:
    log: list[str] = []
    work = Work(
        "work",
        [contender("ours", log, ours=True), contender("peer", log)],
        product=lambda: log.append("product"),
    )
    rows = measure(work, repeats=3, budget=60)
    rounds = [name for name, before in zip(log, ["", *log], strict=False) if name != before]
    forth = ["ours", "peer", "product"]
    # Two warm-up calls each, then the order alternates; repeated calls of one contender count once.
    assert rounds == [*forth, *forth, "peer", "ours", "peer", "product"]
    assert [row.method for row in rows] == ["ours", "peer"]
    assert all(row.samples == 3 for row in rows)


def test_a_slow_contender_takes_part_in_fewer_rounds() -> None:
    log: list[str] = []
    work = Work("work", [contender("ours", log, ours=True), contender("peer", log)])
    rows = measure(work, repeats=5, budget=1e-12)
    assert [row.samples for row in rows] == [1, 1]


def test_what_comes_before_a_sample_runs_within_its_context() -> None:
    log: list[str] = []
    work = Work(
        "work",
        [
            contender(
                "ours",
                log,
                ours=True,
                before=lambda: log.append("grad" if torch.is_grad_enabled() else "no grad"),
                context=torch.no_grad,
            )
        ],
    )
    measure(work, repeats=2, budget=60)
    # Two warm-up calls and two rounds; an untimed call comes before each except the first.
    assert log == ["no grad", "ours"] * 7


def test_ours_must_come_first() -> None:
    with pytest.raises(ValueError, match="ours"):
        Work("work", [contender("peer", [])])


def test_the_best_of_a_kind_gets_the_target_of_the_best() -> None:
    log: list[str] = []
    peers = [contender("torch a", log), contender("torch b", log), contender("other", log)]
    target = Target.faster(1e9)
    work = Work("work", [contender("ours", log, ours=True), *peers], best={"torch": target})
    rows = measure(work, repeats=2, budget=60)
    judged = [row for row in rows if row.verdicts]
    assert len(judged) == 1 and judged[0].method.startswith("torch")
    assert judged[0].verdicts[0].reached is False


@pytest.mark.parametrize(
    ("target", "figure", "value", "reached"),
    [
        (Target.faster(2), "ratio", 2.0, True),
        (Target.faster(2), "ratio", 1.9, False),
        (Target.at_most_times(1.25), "ratio", 0.8, True),
        (Target.at_most_times(1.25), "ratio", 0.79, False),
        (Target("products", 8), "products", 8.0, True),
        (Target("megabytes", 200), "megabytes", None, False),
    ],
)
def test_targets(target: Target, figure: str, value: float | None, reached: bool) -> None:
    assert target.reached({figure: value}) is reached


def test_a_target_names_a_figure() -> None:
    with pytest.raises(ValueError, match="figure"):
        Target("speed", 1)


def test_spread_is_the_median_and_the_quartiles() -> None:
    assert Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)


def test_solvers_reach_one_value_and_say_what_it_took() -> None:
    for row in quick("solvers"):
        assert row.residual < 1e-8, row
        if not row.work.startswith("argmin"):
            assert re.fullmatch(r"\d+(/\d+){1,2}", row.note), row
