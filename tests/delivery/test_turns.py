from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.delivery.turns import Turns

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 20), min_size=1)


def give(turns, waiting, places, at_work=()):
    """Which account had each place; `waiting` is how many recordings each has."""
    left, had = dict(waiting), []

    def take(queue):
        if len(had) == places or not left[queue[0]]:
            return False
        left[queue[0]] -= 1
        had.append(queue[0])
        return True

    turns.give([(account,) for account in waiting], Counter(at_work), take)
    return had


def test_each_account_has_a_turn_before_any_has_two():
    assert give(Turns(), {"flood": 10_000, "b": 1, "c": 2}, 6) == ["b", "c", "flood", "c", "flood", "flood"]


def test_who_had_the_last_turn_waits_for_the_others():
    turns = Turns()
    assert [give(turns, {"a": 9, "b": 9, "c": 9}, 1) for _ in range(6)] == [["a"], ["b"], ["c"], ["a"], ["b"], ["c"]]


def test_who_has_much_at_work_waits_for_who_has_little():
    assert give(Turns(), {"a": 9, "b": 9}, 4, {"a": 3}) == ["b", "b", "b", "a"]


@given(st.integers(5, 12), st.integers(1, 4), st.integers(1, 7), st.integers(1, 9))
def test_who_comes_back_from_a_rest_does_not_go_before_who_has_waited(accounts, places, hangs, rests):
    """As dead servers do: each keeps its place for some rounds, then rests for some."""
    names = [f"a{number:02}" for number in range(accounts)]
    turns, had, busy_until, back_at = Turns(), Counter(), {}, dict.fromkeys(names, 0)
    for now in range(40 * (hangs + rests)):
        for name in [name for name, until in busy_until.items() if until <= now]:
            del busy_until[name]
            back_at[name] = now + rests

        waiting = [name for name in names if name not in busy_until and back_at[name] <= now]
        for name in give(turns, dict.fromkeys(waiting, 1), places - len(busy_until)):
            had[name] += 1
            busy_until[name] = now + hangs
    assert max(had.values()) <= min(had[name] for name in names) + 2


def test_an_accounts_queues_have_their_turns_in_the_order_in_which_they_are_given():
    left, had = Counter({("a", "old"): 2, ("a", "new"): 1}), []

    def take(queue):
        left[queue] -= 1
        return left[queue] >= 0 and had.append(queue[1]) is None

    Turns().give(list(left), Counter(), take)
    assert had == ["old", "old", "new"]


@given(COUNTS, st.integers(0, 40))
def test_no_place_stays_empty_and_nobody_has_two_more_than_another_who_waits(waiting, places):
    had = Counter(give(Turns(), waiting, places))
    assert had.total() == min(places, sum(waiting.values()))
    unserved = [account for account in waiting if had[account] < waiting[account]]
    for account in unserved:
        assert max(had.values(), default=0) <= had[account] + 1


@given(COUNTS, st.integers(1, 5))
def test_whoever_waits_has_a_turn_within_as_many_places_as_there_are_accounts(waiting, places):
    turns, had = Turns(), []
    while len(had) < len(waiting):
        had += give(turns, dict.fromkeys(waiting, 100), places)
    assert set(had[:len(waiting) + places]) == set(waiting)
