"""The verdict: each rule that the page states."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.errors import FormatError
from encash.report import Extras, assess, judge, read_comparisons, read_run


@pytest.fixture
def run(write_run):
    return read_run(write_run())


def draws(run, below, above):
    """Random filters of which some ended below the run and some above."""
    final = run.equity.net[-1]
    return [final * 0.9] * below + [final * 1.1] * above


def criterion(run, extras, name):
    """One row of the page."""
    (found,) = (one for one in assess(run, extras) if one.name == name)
    return found


def state(run, extras, name):
    """The state of one criterion."""
    return criterion(run, extras, name).state


@pytest.mark.parametrize(
    ("below", "above", "finding", "tone"),
    [
        (199, 1, "better than chance", "good"),
        (191, 9, "better than chance", "good"),
        (190, 10, "no better than chance", "neutral"),
        (100, 100, "no better than chance", "neutral"),
        (10, 190, "no better than chance", "neutral"),
        (9, 191, "worse than chance", "bad"),
    ],
)
def test_the_rank_among_random_filters_decides(run, below, above, finding, tone):
    """p ≤ 0.05 on either side is a finding; anything between is chance."""
    verdict = judge(run, Extras(random_filters=draws(run, below, above)))
    assert (verdict.finding, verdict.tone) == (finding, tone)


def test_few_draws_allow_no_verdict(run):
    """Eighteen random filters cannot tell a filter from chance, however it ranks."""
    verdict = judge(run, Extras(random_filters=draws(run, 18, 0)))
    assert "too few draws" in verdict.finding
    assert verdict.tone == "unknown"
    assert judge(run, Extras(random_filters=draws(run, 19, 0))).finding == "better than chance"


def test_an_interval_around_zero_is_chance(run):
    """A rare rank whose daily excess may be zero is not called better than chance."""
    extras = Extras(random_filters=draws(run, 199, 1), excess_interval=(-0.01, 0.2))
    assert judge(run, extras).finding == "no better than chance"
    extras = Extras(random_filters=draws(run, 199, 1), excess_interval=(0.01, 0.2))
    assert judge(run, extras).finding == "better than chance"


def test_better_than_chance_but_worse_than_no_filter_is_stated(run):
    """Beating random filters is no praise where no filter at all did better."""
    extras = Extras(random_filters=draws(run, 200, 0), no_filter=run.equity.net[-1] * 1.2)
    verdict = judge(run, extras)
    assert verdict.finding == "better than chance, yet no filter at all did better"
    assert verdict.tone == "neutral"
    assert "16.7% behind the same strategy without a filter" in verdict.statement


def test_the_statement_names_the_numbers(run):
    """Lead, percentile and number of draws stand in the first line."""
    extras = Extras(random_filters=draws(run, 73, 27), no_filter=run.equity.net[-1] / 1.1)
    headline = judge(run, extras).headline
    assert headline == (
        "After costs, the filter ended 10.0% ahead of the same strategy without a filter, at the 73rd percentile of "
        "100 random filters with the same keep-rate: no better than chance."
    )


def test_without_comparisons_chance_is_not_known(run):
    """A run without comparisons is compared with its benchmark; the rest is unknown."""
    verdict = judge(run, Extras())
    assert "all candidates in equal weights" in verdict.statement
    assert "not ruled out" in verdict.finding
    assert verdict.tone == "unknown"
    assert state(run, Extras(), "Better than chance") == "unknown"
    assert state(run, Extras(), "Better than no filter") == "unknown"


def test_a_run_without_a_filter_is_not_asked_about_one(write_run):
    """Without a filter there is no question of chance, only of the benchmark."""
    run = read_run(write_run(filter="none", keep_rate=1.0))
    assert "strategy without a filter ended" in judge(run, Extras()).statement
    assert not [one for one in assess(run, Extras()) if "chance" in one.name]


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
    verdict = judge(run, Extras(random_filters=draws(run, 200, 0)))
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
    """The best of a hundred is doubtful unless its deflated Sharpe ratio says otherwise."""
    assert state(run, Extras(trials=100), "Corrected for multiple testing") == "doubt"
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
def test_the_rank_is_a_permutation_test(ends):
    """p-values of both sides overlap only in the ties, are never 0, and the percentile lies between 0 and 100."""
    rank = Extras(random_filters=ends).rank(2.0)
    assert rank is not None
    assert 0 < rank.p_better <= 1
    assert 0 < rank.p_worse <= 1
    assert (rank.p_better + rank.p_worse) * (len(ends) + 1) == pytest.approx(len(ends) + 2 + ends.count(2.0))
    assert 0 <= rank.percentile <= 100
