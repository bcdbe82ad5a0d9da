import pytest

from kazoo_rec.delivery.http import Failure, Proof
from kazoo_rec.delivery.places import FINISHING, LONG_S, SENT, FinishingPlaces, Place, UploadPlaces
from kazoo_rec.delivery.servers import PROVEN, Servers
from kazoo_rec.delivery.settings import DeliverySettings

from .fakes import FailingServers


class Uploads:
    """Sixteen places, four of a host, and what is in them."""

    def __init__(self):
        self.servers = Servers(FailingServers(), "fs1")
        self.servers.look([])
        self.places = UploadPlaces(DeliverySettings(), self.servers)
        self.taken = []

    def proven(self, *queues):
        for queue in queues:
            self.servers.told(queue, Proof(200, None, ""), 0)
        return list(queues)

    def failing(self, *queues):
        for queue in queues:
            self.servers.told(queue, Failure(""), 0)
        return list(queues)

    def give(self, queues):
        given = self.places.give(queues, self.taken)
        self.taken += [Place(queue, self.servers.standing(queue)) for queue in given.elements()]
        return given


@pytest.fixture
def uploads():
    return Uploads()


def test_a_server_that_took_something_has_several_a_new_one_has_one(uploads):
    uploads.proven(("a", "h1"))
    assert uploads.give([("a", "h1"), ("b", "h2")]) == {("a", "h1"): 4, ("b", "h2"): 1}


def test_twenty_dead_servers_take_no_place_of_others(uploads):
    dead = uploads.failing(*((f"a{number}", f"dead{number}") for number in range(20)))
    alive = uploads.proven(*((f"b{number}", f"h{number}") for number in range(4)))
    assert uploads.give(dead).total() == 4
    assert uploads.give(dead + alive) == dict.fromkeys(alive, 4)


def test_a_thousand_dead_servers_of_one_account_have_two_places(uploads):
    dead = uploads.failing(*(("a", f"dead{number}") for number in range(500)))
    new = [("a", f"new{number}") for number in range(500)]
    assert sorted(uploads.give(dead + new).items()) == [(("a", "dead0"), 1), (("a", "new0"), 1)]


def test_a_dead_server_of_many_accounts_has_one_place(uploads):
    assert uploads.give([(f"a{number}", "shared") for number in range(100)]).total() == 1
    uploads.taken = []
    assert uploads.give(uploads.failing(*((f"a{number}", "shared") for number in range(100)))).total() == 1


def test_one_tenants_failures_at_a_host_are_no_other_tenants(uploads):
    uploads.proven(("b", "shared"))
    uploads.failing(("a", "shared"))
    assert uploads.give([("a", "shared"), ("b", "shared")]) == {("a", "shared"): 1, ("b", "shared"): 3}


def test_what_hangs_keeps_no_more_than_its_accounts_share(uploads):
    flood = uploads.proven(*(("flood", f"h{number}") for number in range(9)))
    assert uploads.give(flood).total() == 16
    uploads.taken = uploads.taken[:12]  # four of the flood's end
    other = uploads.proven(("b", "other"))
    assert uploads.give(flood + other) == {("b", "other"): 4}


def test_what_hangs_leaves_its_place_after_a_second_up_to_three_times_as_many_as_there_are(uploads):
    queues = uploads.proven(*((f"a{number}", f"h{number}") for number in range(99)))
    others = uploads.proven(*((f"b{number}", f"g{number}") for number in range(9)))

    def room(hanging, for_s):
        hang = [Place(queue, PROVEN, since_s=100) for queue in queues[:hanging]]
        return uploads.places.give(others, hang, now_s=100 + for_s).total()

    assert [room(16, LONG_S), room(16, LONG_S + 0.1), room(52, 60), room(64, 60)] == [0, 16, 12, 0]


def test_what_was_sent_makes_room_unless_its_row_takes_long(uploads):
    queues = uploads.proven(*((f"a{number}", f"h{number}") for number in range(9)))
    sent = [Place(queues[number % 9], SENT) for number in range(16)]
    assert [uploads.places.give(queues, sent[:count]).total() for count in (0, 10, 15, 16)] == [16, 6, 1, 0]


def test_encoders_are_for_all_accounts_and_an_upload_is_no_encoding():
    places, flood = FinishingPlaces(2), [Place(("flood",), FINISHING)]
    assert places.give([("flood",), ("b",)], flood) == {("b",): 1}
    assert places.give([("flood",), ("b",)], [*flood, Place(("b",), FINISHING)]) == {}
    assert places.give([("flood",)], [Place(("flood", "h"), SENT)]) == {("flood",): 2}
