"""What the event socket does wrong while calls go on: no recording is lost, doubled or called whole where it is not."""

import pytest

from tests.faults.site import Site

#: Sentences of kazoo_rec/simulator/faults.py; times are seconds after the first of the calls began.
WRONGS = {
    "sockets cut": ("event sockets reset at 0.5", "listening sockets end at 1.2", "commanding sockets reset at 1.6"),
    "switch hangs": ("event sockets hang from 0.2 to 2.0",),
    "commands late": ("uuid_setvar_multi waits 0.4", "uuid_record start answers 0.3 late", "uuid_setvar waits 0.4"),
    "commands refused": ("the next uuid_setvar_multi fails", "the next uuid_setvar fails",
                         "the next uuid_record fails"),
    "events doubled": ("CHANNEL_CREATE comes twice", "CHANNEL_ANSWER comes twice", "RECORD_START comes twice",
                       "RECORD_STOP comes twice", "CHANNEL_HANGUP_COMPLETE comes twice"),
    "events late": ("the next CHANNEL_CREATE comes 0.3 late", "the next CHANNEL_ANSWER comes 0.6 late",
                    "the next RECORD_START comes 0.9 late", "the next RECORD_STOP comes 1.0 late",
                    "the next CHANNEL_HANGUP_COMPLETE comes 1.0 late"),
    "answer lost": ("the next CHANNEL_ANSWER is lost",),
    "beginning lost": ("the next CHANNEL_CREATE is lost", "the next CHANNEL_CREATE is lost"),
    "recording events lost": ("RECORD_START is lost", "RECORD_STOP is lost"),
    "media leaves the switch": ("media of 1000 leaves the switch at 1", "media of 2001 leaves the switch at 1"),
    "files cut": ("files of 1000 are cut to 8044 bytes at 1.5", "files of 2001 are cut to 44 bytes at 1.5"),
}

#: Of these a part of a talk is lost, and told.
COSTLY = ("commands late", "commands refused", "events late", "media leaves the switch", "files cut")

CALLS = 4


@pytest.mark.parametrize("wrong", WRONGS)
def test_what_the_event_socket_does_wrong_breaks_nothing(tmp_path, table, wrong):
    with Site(tmp_path) as site:
        site.call(talk_s=3.0, faults=WRONGS[wrong])
        for _ in range(CALLS - 1):
            site.call(talk_s=3.0)
        site.wait_quiet()
        account = site.account(may_lose=wrong in COSTLY)
    table.add(wrong, account)
    assert account.broken == [] and account.wanted == 2 * CALLS
