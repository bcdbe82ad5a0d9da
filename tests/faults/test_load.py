"""More calls than the engine can carry, for a minute: it says so, loses nothing unsaid, and recovers by itself."""

import pytest
from gevent.event import Event

from tests.faults.site import Site

#: Calls a second: three times what `random kills` and bench/soak.py have. For so many seconds, and as calm after it.
CALLS_S, LASTS_S, CALM_CALLS = 60, 60, 20

TOO_MUCH, NO_MORE = "commands wait for one another", "commands do not wait any more"


@pytest.mark.long
def test_three_times_the_load_for_a_minute_is_told_and_over_when_it_is_over(tmp_path, table):
    with Site(tmp_path) as site:
        site.traffic(CALLS_S, talk_s=(4.0, 8.0))
        Event().wait(LASTS_S)
        begun = site.switch.ask("hush")
        assert begun > 0.7 * CALLS_S * LASTS_S, "the switch of this test cannot carry it"
        site.wait_quiet(300)
        told = site.log.read_text()
        table.add(f"{CALLS_S} calls/s for {LASTS_S} s", site.account(may_lose=True))
        assert told.count(TOO_MUCH) == told.count(NO_MORE)
        rows = len(site.ledger.recordings())
        for _ in range(CALM_CALLS):
            site.call(talk_s=2.0)
        site.wait_quiet()
        assert all(row["state"] == "recorded" and not row["partial"] for row in site.ledger.recordings()[rows:])
