"""From a document with a password to a file at its server: what of it is where, with engine, delivery and a switch."""

import gevent
import pytest

from kazoo_rec.media import sealed
from tests.test_whole_way import ALICE, ALICE_HZ, BOB, BOB_HZ, Site, every, heard, phone

PASSWORD = "hunter2-%40x"
LOOPBACK = ["127.0.0.0/8"]


@pytest.fixture
def site(tmp_path):
    installed = Site(tmp_path)
    yield installed
    installed.stop()


def begun(site: Site, **delivery):
    url = site.receiver.url.replace("//", f"//ann:{PASSWORD}@")
    site.run = lambda: Site.run(site, delivery=delivery)
    return site.start(account=every(site, url=url, status_callback=url))


def test_a_password_is_in_no_file_of_ours_and_no_line_and_the_audio_in_none_in_clear(site, capfd):
    begun(site, allow_networks=LOOPBACK, encrypt=True)
    row, = site.play(phone(ALICE, hangs_up=1.0), phone(BOB, answers=0.2))
    assert heard(site.arrived(row)) == [{ALICE_HZ}, {BOB_HZ}]
    recordings = [path for path in (site.place / "recordings").rglob("*") if path.is_file()]
    ours = [path for path in site.place.rglob("*") if path.is_file() and "documents" not in path.parts
            and "received" not in path.parts]
    assert not any(b"hunter2" in path.read_bytes() for path in ours) and "hunter2" not in str(row)
    assert [path.suffix for path in recordings if sealed.is_sealed(path)] == [".wav"]
    assert [path.name for path in recordings if not sealed.is_sealed(path)] == [".kazoo_rec.lock"]
    told = capfd.readouterr()
    assert "recording planned" in told.out + told.err and "hunter2" not in told.out + told.err
    assert site.store.secrets.open(row["settings"]["url"]).startswith(f"http://ann:{PASSWORD}@127.0.0.1:")


def test_without_the_operators_word_nothing_goes_to_this_host_and_the_row_says_so(site):
    begun(site)
    row, = site.play(phone(ALICE, hangs_up=1.0), phone(BOB, answers=0.2))
    with gevent.Timeout(20):
        while not (found := [one for one in site.store.deliveries.of(row["id"]) if one["attempts"]]):
            gevent.idle()
    assert not site.receiver.files
    assert all(one["state"] == "due" and one["last_error"] == "the operator does not allow connections to this host's "
               "address: 127.0.0.1" for one in found)
