import pytest
from structlog.testing import capture_logs

from kazoo_rec.delivery.meter import Meter
from kazoo_rec.delivery.quotas import Quotas


class Recordings:
    """What is undelivered, as told."""

    def __init__(self):
        self.kept = {}

    def undelivered(self, node):
        assert node == "fs1"
        return self.kept


@pytest.fixture
def recordings():
    return Recordings()


def over(meter):
    return meter.registry.get_sample_value("kazoo_rec_accounts_over_quota")


def test_an_account_over_its_quota_is_told_of_once_and_again_when_it_no_longer_is(recordings):
    meter = Meter()
    quotas = Quotas(recordings, "fs1", 1000, meter)
    seen = []
    for kept_bytes in (1000, 1001, 5000, 1000):
        recordings.kept = {"acme": (3, kept_bytes), "globex": (1, 10)}
        with capture_logs() as logs:
            quotas.look()
        seen.append(([(line["event"], line["account_id"]) for line in logs], over(meter)))
    assert seen == [([], 0), ([("an account is over its quota", "acme")], 1), ([], 1),
                    ([("an account is below its quota again", "acme")], 0)]


def test_without_a_quota_nothing_is_looked_at(recordings):
    recordings.undelivered = None
    meter = Meter()
    Quotas(recordings, "fs1", None, meter).look()
    assert over(meter) == 0
