"""The verdict: each rule that the page states."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.backtest.evaluation.groups import GroupBets
from encash.backtest.evaluation.random_filter_test import FilterTest, Performance, percentile_among, permutation_p
from encash.errors import FormatError
from encash.report import Extras, Spread, assess, judge, read_comparisons, read_run
from encash.report.verdict import TOO_GOOD
from tests.report.conftest import make_test


@pytest.fixture
def run(write_run):
    return read_run(write_run())


def criterion(run, extras, name):
    """One row of the page."""
    (found,) = (one for one in assess(run, extras) if one.name == name)
    return found


def state(run, extras, name):
    """The state of one criterion."""
    return criterion(run, extras, name).state


@pytest.mark.parametrize(
    ("better", "worse", "finding", "tone"),
    [
        (0.005, 1.0, "better than chance", "neutral"),
        (0.05, 0.96, "better than chance", "neutral"),
        (0.055, 0.95, "no better than chance", "neutral"),
        (0.5, 0.5, "no better than chance", "neutral"),
        (0.96, 0.05, "worse than chance", "bad"),
        (0.04, 0.03, "no better than chance", "neutral"),
    ],
)
def test_the_p_of_the_test_decides(run, better, worse, finding, tone):
    """p ≤ 0.05 on one side is a finding; anything between, or on both sides, is chance."""
    other = Performance(cagr=1.0, sharpe=9.0, max_drawdown=-0.1)
    test = make_test(p_better=better, p_worse=worse)
    behind = replace(test, performance={**test.performance, "no filter": other})
    assert judge(run, Extras(test=behind)).finding.startswith(finding)
    assert judge(run, Extras(test=behind)).tone == tone
    ahead = judge(run, Extras(test=test))
    assert ahead.tone == ("good" if finding == "better than chance" else tone)


def test_few_draws_allow_no_verdict(run):
    """Eighteen random filters cannot tell a filter from chance, however it ranks."""
    verdict = judge(run, Extras(test=make_test(draws=18, p_better=1 / 19)))
    assert "too few draws" in verdict.finding
    assert verdict.tone == "unknown"
    assert judge(run, Extras(test=make_test(draws=19, p_better=1 / 20))).finding.startswith("better than chance")


def test_better_than_chance_but_worse_than_no_filter_is_stated(run):
    """Beating random filters is no praise where no filter at all did better."""
    test = make_test(p_better=0.01)
    other = Performance(cagr=0.2, sharpe=1.0, max_drawdown=-0.2)
    verdict = judge(run, Extras(test=replace(test, performance={**test.performance, "no filter": other})))
    assert verdict.finding == "better than chance, yet no filter at all did better"
    assert verdict.tone == "neutral"


def test_the_headline_is_one_short_sentence_of_what_else_there_was(run):
    """Return and Sharpe ratio of all candidates stand before those of the run, then the finding; the rest follows."""
    verdict = judge(run, Extras(test=make_test(p_better=0.3)))
    own = run.performance
    assert verdict.headline.startswith("Holding all candidates returned ")
    assert (
        f"; the filter, after costs, +{100 * own.cagr:.1f}% a year (Sharpe ratio {own.sharpe:.2f}" in verdict.headline
    )
    assert verdict.headline.endswith(": no better than chance.")
    assert len(verdict.headline.split()) <= 30
    assert "The same strategy without a filter returned +5.0% a year (Sharpe ratio 0.60)." in verdict.details
    assert "−30.0% without a filter" in verdict.details
    assert f"−{-100 * own.max_drawdown:.1f}% of this run" in verdict.details


def test_each_sentence_of_the_verdict_is_short(run):
    """On the command line too: the lead names what else there was, and no sentence has more than 30 words."""
    bets = GroupBets(count=8, excess=0.05, explained=0.045, rest_alpha_t=0.3)
    for test in (
        make_test(p_better=0.3),
        make_test(draws=5),
        make_test(lookahead="for a demo"),
        make_test(groups=bets),
    ):
        sentences = re.split(r"(?<=[.]) (?=[A-Z])", test.sentence)
        assert sentences[0].startswith("Holding all candidates returned ")
        assert max(len(one.split()) for one in sentences) <= 30


def test_the_spread_over_seeds_leads(run):
    """With several seeds, their mean and deviation are in the headline, and the figures of one seed after it."""
    spreads = {
        "cagr": Spread(mean=0.1, deviation=0.02),
        "sharpe": Spread(mean=0.5, deviation=0.1),
        "max_drawdown": Spread(mean=-0.3, deviation=0.05),
    }
    verdict = judge(run, Extras(seeds=[1.0, 2.0], seed_spreads=spreads))
    assert "over 2 seeds, after costs, +10.0% ± 2.0% a year (Sharpe ratio 0.50 ± 0.10)" in verdict.statement
    assert "−30.0% ± 5.0% over the seeds" in verdict.details
    assert "one seed, which returned" in verdict.details
    compared = judge(run, Extras(seeds=[1.0, 2.0], seed_spreads=spreads, test=make_test(p_better=0.001)))
    assert compared.finding == "the seed of this page is better than chance"
    assert compared.tone == "good"


def test_percentiles_by_return_sharpe_and_drawdown_stand_together(run):
    """A run that ranks high by return and low by Sharpe ratio shows both; no percentile is the 100th."""
    text = criterion(run, Extras(test=make_test()), "Better than chance").explanation
    assert "72nd by return, 34th by Sharpe ratio, 99th by drawdown" in text


def test_alpha_is_weighed_and_not_beta(write_run):
    """A significant alpha speaks for a run, a beta does not; an older run has neither."""
    for name, t, expected in (("high", 2.5, "good"), ("low", -2.5, "bad"), ("none", 1.0, "doubt")):
        run = read_run(write_run(name, alpha=0.03, beta=1.4, alpha_t=t))
        assert state(run, Extras(), "Alpha, not beta") == expected
    assert not [one for one in assess(read_run(write_run("older")), Extras()) if "Alpha" in one.name]


def test_bets_on_groups_are_stated(run):
    """A run whose return is explained by groups is doubtful."""
    bets = GroupBets(count=8, excess=0.05, explained=0.045, rest_alpha_t=0.3)
    found = criterion(run, Extras(test=make_test(groups=bets)), "Beyond bets on groups")
    assert found.state == "doubt"
    assert "bets on 8 groups explain +4.5% of it" in found.explanation


def test_without_comparisons_chance_is_not_known(run):
    """A run without comparisons is compared with its benchmark; the rest is unknown."""
    verdict = judge(run, Extras())
    assert verdict.statement.startswith("Holding all candidates returned")
    assert "not ruled out" in verdict.finding
    assert verdict.tone == "unknown"
    assert state(run, Extras(), "Better than chance") == "unknown"
    assert state(run, Extras(), "Better than no filter") == "unknown"


def test_the_verdict_on_a_run_without_a_filter_is_about_its_forecasts(write_run):
    """Without a filter the forecasts are compared with random ones."""
    run = read_run(write_run(filter="none", keep_rate=1.0))
    assert "the strategy without a filter" in judge(run, Extras()).statement
    test = make_test(subject="forecasts", p_better=0.02)
    test = replace(test, performance={name: one for name, one in test.performance.items() if name != "no filter"})
    assert judge(run, Extras(test=test)).headline.endswith(": better than chance.")
    assert state(run, Extras(test=test), "Forecasts better than chance") == "good"
    assert state(run, Extras(), "Forecasts better than chance") == "unknown"
    assert not [one for one in assess(run, Extras()) if one.name in ("Better than chance", "Better than no filter")]


@pytest.mark.parametrize(
    ("lookahead", "reason"),
    [
        ("for a demo (ranked up to 2020)", "for a demo (ranked up to 2020)"),
        (True, "no reason was recorded"),
        ("", "no reason was recorded"),
        (None, "the result does not say"),
    ],
)
def test_look_ahead_overrules_everything(write_run, lookahead, reason):
    """A run that may have known its future proves nothing, however well it ranks."""
    run = read_run(write_run(lookahead=lookahead))
    verdict = judge(run, Extras(test=make_test(p_better=0.005)))
    assert verdict.warning is not None
    assert reason in verdict.warning
    assert verdict.tone == "bad"
    assert "proves nothing" in verdict.headline
    assert state(run, Extras(), "Look-ahead") == "bad"


@pytest.mark.parametrize(
    ("period", "expected"),
    [("2010-12-31", "good"), ("2016-02-01", "bad"), ("training period unknown", "unknown"), (None, "unknown")],
)
def test_the_training_period_is_compared(write_run, period, expected):
    """Trained before the first session is good, within the run is bad, unknown is stated."""
    assert state(read_run(write_run(training_period=period)), Extras(), "Training period of the encoder") == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "good"),
        ({"missing_share": 0.002}, "good"),
        ({"missing_share": 0.03}, "doubt"),
        ({"missing_share": None}, "unknown"),
        ({"verified": False}, "doubt"),
        ({"unchecked": 7}, "doubt"),
    ],
)
def test_holes_in_the_data_are_weighed(write_run, changes, expected):
    """More than 1% of missing candidates, or entries of unknown origin, are a doubt."""
    assert state(read_run(write_run(**changes)), Extras(), "Data coverage") == expected


def test_delisting_policies_are_compared(write_run):
    """A run whose end depends on the price of a dead ticker is doubtful, and all policies are shown."""
    policies = {"last": 100_000.0, "-30%": 90_000.0, "zero": 70_000.0, "flat": 110_000.0}
    run = read_run(write_run(delistings=3, final_capital_by_delisting=policies))
    found = criterion(run, Extras(), "Sensitivity to delistings")
    assert found.state == "doubt"
    assert "70,000 (zero)" in found.explanation
    assert state(read_run(write_run("second")), Extras(), "Sensitivity to delistings") == "good"


def test_a_count_of_one_has_a_singular_noun(write_run):
    """One delisted position, one rebalance: the page speaks as people do."""
    policies = {"last": 100_000.0, "zero": 70_000.0}
    run = read_run(write_run(delistings=1, rebalances=1, final_capital_by_delisting=policies))
    text = " ".join(one.explanation for one in assess(run, Extras()))
    assert "1 position was held" in text
    assert "Too short for a conclusion: 1 rebalance." in text


def test_what_is_not_known_names_the_flag_that_finds_out(run):
    """Chance, no filter, one session later, other first days: a run that tried none of them says how to."""
    unknown = [one for one in assess(run, Extras()) if one.explanation.endswith("; use --compare.")]
    assert len(unknown) == 4
    assert {one.state for one in unknown} == {"unknown"}


def test_different_start_days_are_shown(run):
    """The spread over phases is shown, with the place of this run in it."""
    final = run.equity.net[-1]
    extras = Extras(phases={0: final, 1: final * 0.5, 2: final * 1.2})
    found = criterion(run, extras, "Sensitivity to the start day")
    assert found.state == "doubt"
    assert "this one is the 2nd best" in found.explanation
    for better, place in ((0, "this one is the best"), (20, "this one is the 21st best")):
        extras = Extras(phases={0: final, 1: final * 0.5} | {phase: final * 1.2 for phase in range(2, 2 + better)})
        assert place in criterion(run, extras, "Sensitivity to the start day").explanation


def test_a_fill_one_session_later_is_weighed(run):
    """A run that loses what it earned when filled a session later needs an unreal close."""
    final = run.equity.net[-1]
    assert final > run.capital
    assert state(run, Extras(later=run.capital * 0.99), "Robust to a one-session delay") == "doubt"
    assert state(run, Extras(later=final), "Robust to a one-session delay") == "good"
    assert state(run, Extras(), "Robust to a one-session delay") == "unknown"


def test_many_trials_are_held_against_it(run):
    """The best of a hundred is doubtful unless its deflated Sharpe ratio says otherwise; none is not tested."""
    assert state(run, Extras(trials=100), "Corrected for multiple testing") == "unknown"
    assert state(run, Extras(trials=100, deflated_sharpe=0.6), "Corrected for multiple testing") == "doubt"
    assert state(run, Extras(trials=100, deflated_sharpe=0.99), "Corrected for multiple testing") == "good"


def test_the_trials_of_a_sweep_are_read_from_the_run_folder(write_run):
    """The trials of a sweep are asked about on the page of its best run, in the words of the deflated Sharpe ratio."""
    folder = write_run()
    judged = {"deflated_sharpe": 0.6, "expected_best_sharpe": 1.25, "probability_of_overfitting": 0.4}
    (folder / "chosen.json").write_text(json.dumps({"trials": 40, **judged, "note": ""}))
    run, extras = read_run(folder), read_comparisons(folder)
    found = criterion(run, extras, "Corrected for multiple testing")
    assert found.state == "doubt"
    assert "Chosen among 40 configurations; its true Sharpe ratio exceeds the best of 40 runs" in found.explanation
    assert "without skill (1.25) with probability 60%" in found.explanation
    assert "in the other half with probability 40%" in found.explanation
    (folder / "chosen.json").write_text('{"trials": 40}')
    with pytest.raises(FormatError, match="run the sweep again"):
        read_comparisons(folder)


def test_a_short_run_is_never_clearly_above_zero(write_run):
    """Fewer than a year of sessions is too short, whatever the interval says."""
    run = read_run(write_run(sessions=60, drift=0.01))
    assert run.sharpe_interval[0] > 0
    assert state(run, Extras(), "Significantly positive return") == "doubt"


@given(st.lists(st.sampled_from([1.8, 2.0, 2.2]), min_size=1, max_size=60))
def test_the_p_is_that_of_a_permutation_test(others):
    """p of both sides overlap only in the ties, are never 0, and the percentile lies between 0 and 100."""
    better, worse = permutation_p(np.array([2.0, *others])[:, None])
    assert 0 < better <= 1
    assert 0 < worse <= 1
    assert (better + worse) * (len(others) + 1) == pytest.approx(len(others) + 2 + others.count(2.0))
    assert 0 <= percentile_among(np.array(others), 2.0) <= 100


@given(seed=st.integers(0, 1000), hole=st.booleans(), groups=st.booleans())
def test_a_verdict_is_read_back_as_it_was_written(seed, hole, groups):
    """JSON and back changes nothing, undefined figures included."""
    value = float("nan") if hole else np.random.default_rng(seed).normal()
    bets = GroupBets(count=3, excess=0.1, explained=0.2, rest_alpha_t=value) if groups else None
    test = make_test(p_better=0.1, groups=bets, percentiles={"total_return": value})
    text = json.dumps(test.to_json(), allow_nan=False)
    again = FilterTest.from_json(json.loads(text))
    assert again is not None
    assert json.dumps(again.to_json(), allow_nan=False) == text
    assert FilterTest.from_json({"p_value": 0.1, "excess_interval": [0.0, 1.0]}) is None


def test_a_result_that_is_too_good_is_a_finding(write_run):
    """A Sharpe ratio that no honest strategy keeps up is not praised, whatever the test says: the page asks for the
    leak."""
    perfect = read_run(write_run(drift=0.01, sessions=600))
    extras = Extras(test=make_test(p_better=0.001, p_worse=0.999))
    assert state(perfect, extras, "Plausible figures") == "bad"
    assert "Sharpe ratio" in criterion(perfect, extras, "Plausible figures").explanation
    assert judge(perfect, extras).finding == TOO_GOOD
    assert judge(perfect, extras).tone == "bad"
