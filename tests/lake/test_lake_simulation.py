"""The commit protocol under a seeded scheduler; `LAKE_SEEDS=100000` for a longer look."""

import os

import simulate


def test_no_schedule_breaks_the_protocol(long, record_property):
    seeds = int(os.environ.get("LAKE_SEEDS", "10000" if long else "800"))
    bad, counts = simulate.sweep(range(seeds))
    assert not bad, f"{len(bad)} of {seeds} seeds, e.g. {dict(list(bad.items())[:2])}"
    # the faults did happen
    assert counts["crashed"] > seeds
    assert min(counts[fault] for fault in ("refused", "lost", "repeated", "late")) > seeds / 20
    assert counts["acknowledged"] > 10 * seeds
    record_property("simulated schedules", seeds)
    record_property("simulated writers killed", counts["crashed"])


def test_a_seed_is_one_schedule():
    with simulate.quick():
        assert [simulate.run(seed).counts for seed in range(20)] == [simulate.run(seed).counts for seed in range(20)]


def test_the_checker_bites_on_a_store_that_ignores_conditions(long, record_property):
    seeds = 5000 if long else 100
    bad, _ = simulate.sweep(range(seeds), "ignores-conditions")
    assert len(bad) > 0.9 * seeds
    record_property("schedules on a store that ignores conditions", seeds)
    record_property("schedules there with a violation found", len(bad))
    assert any("acknowledged commit" in text for violations in bad.values() for text in violations)


def test_the_checker_bites_when_inputs_are_read_before_the_base():
    bad, _ = simulate.sweep(range(200), "inputs-before-base")
    assert any("newer data were overwritten" in text for violations in bad.values() for text in violations)


def test_the_checker_bites_without_the_second_look_at_the_log():
    bad, _ = simulate.sweep(range(200), "no-second-look")
    assert any("without any fault" in text for violations in bad.values() for text in violations)
