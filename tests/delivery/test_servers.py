import pytest

from kazoo_rec.delivery.http import Failure, Proof
from kazoo_rec.delivery.servers import FAILING, NEW, PROVEN, REST_ASKED_MS, REST_LAST_MS, Servers

from .fakes import FailingServers

QUEUE, OTHER = ("acme", "http://a:80"), ("globex", "http://a:80")
PROOF, REFUSED = Proof(200, None, ""), Failure("ConnectionRefusedError: Connection refused")


@pytest.fixture
def rows():
    return FailingServers()


@pytest.fixture
def servers(rows):
    servers = Servers(rows, "fs1")
    servers.look([QUEUE, OTHER])
    return servers


def test_a_server_is_new_then_what_came_of_the_last_upload(servers):
    seen = [servers.standing(QUEUE)]
    for outcome in (PROOF, REFUSED, PROOF):
        servers.told(QUEUE, outcome, 0)
        seen.append(servers.standing(QUEUE))
    assert seen == [NEW, PROVEN, FAILING, PROVEN] and servers.standing(OTHER) == NEW


def test_it_rests_longer_with_each_failure_up_to_a_minute(servers):
    rests_s = []
    for _ in range(10):
        servers.told(QUEUE, REFUSED, 0)
        rests_s.append(next(ms for ms in range(0, 10**6, 1000) if not servers.rests(QUEUE, ms)) // 1000)
    assert rests_s == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("asked_s", "rests_ms"), [(90, 90_000), (10**9, REST_ASKED_MS), (float("inf"), REST_ASKED_MS)])
def test_it_rests_as_long_as_it_asks_for_but_no_longer_than_an_hour(servers, asked_s, rests_ms):
    servers.told(QUEUE, Failure("answered 503", 503, asked_s), 0)
    assert servers.rests(QUEUE, rests_ms - 1) and not servers.rests(QUEUE, rests_ms)


def test_a_clock_that_is_put_back_lets_nothing_rest_for_longer(servers):
    servers.told(QUEUE, Failure("answered 503", 503, 10**9), 5 * REST_ASKED_MS)
    assert servers.rests(QUEUE, 5 * REST_ASKED_MS) and not servers.rests(QUEUE, 4 * REST_ASKED_MS - 1)


@pytest.mark.parametrize("status", [400, 404, 409, 410, 411, 413, 414, 415, 422])
def test_an_answer_to_the_one_file_says_nothing_of_the_server(servers, status):
    servers.told(QUEUE, PROOF, 0)
    servers.told(QUEUE, Failure("", status), 0)
    assert servers.standing(QUEUE) == PROVEN


@pytest.mark.parametrize("status", [None, 200, 302, 401, 403, 429, 500, 502, 503, 504])
def test_any_other_is_of_the_server(servers, status):
    servers.told(QUEUE, Failure("", status), 0)
    assert servers.standing(QUEUE) == FAILING


def test_what_is_wrong_here_is_no_servers_fault(servers):
    servers.told(QUEUE, Failure("FileNotFoundError", ours=True), 0)
    assert servers.standing(QUEUE) == NEW


def test_who_fails_is_known_after_a_restart_until_nothing_waits_for_it(servers, rows):
    for queue in (QUEUE, OTHER):
        for _ in range(7):
            servers.told(queue, REFUSED, 0)
    again = Servers(rows, "fs1")
    again.look([QUEUE])
    assert (again.standing(QUEUE), again.standing(OTHER), again.failing) == (FAILING, NEW, 1)
    assert again.rests(QUEUE, 31_999) and again.fail("acme") and not again.fail("globex")
    again.told(QUEUE, PROOF, 0)
    assert not again.fail("acme") and rows.rows == {}


def test_what_a_failing_server_keeps_waiting_is_not_late_nor_is_what_waited_for_its_return(servers):
    def late_ms(now_ms):
        return servers.late_ms([(*QUEUE, 1000), (*OTHER, 90_000)], now_ms)

    assert late_ms(100_000) == 99_000
    servers.told(QUEUE, REFUSED, 50_000)
    assert late_ms(100_000) == 10_000
    servers.told(QUEUE, PROOF, 100_000)
    assert late_ms(100_000) == 10_000 and late_ms(120_000) == 30_000
    assert servers.late_ms([], 0) == 0


def test_a_minute_at_most_goes_by_before_a_server_is_asked_again():
    assert REST_LAST_MS == 60_000
