"""Deliveries to an object store, over the wire to one that is a process of its own."""

import hashlib
import json
import ssl
import time
from dataclasses import replace
from functools import partial
from importlib.resources import files

import gevent
import pytest
import trustme
from gevent.event import Event
from hypothesis import assume, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kazoo_rec.delivery import bucket, client, s3
from kazoo_rec.delivery.connections import Connections
from kazoo_rec.delivery.http import Failure, Proof
from kazoo_rec.delivery.s3 import PART_BYTES, Content, Object
from kazoo_rec.delivery.settings import DeliverySettings, S3Settings
from kazoo_rec.documents.schema import check
from kazoo_rec.errors import ConfigError, TargetError
from kazoo_rec.media import sealed
from tests.objects import KEYS, REGION

from .fakes import RECORDING_ID, Customer, refusing_url
from .test_worker import Site

BODY = bytes(range(256)) * 2000
LARGE = PART_BYTES + PART_BYTES // 2
IN_CLEAR = partial(open, mode="rb")
NAME = f"call_recording_{RECORDING_ID}.mp3"
SAID = json.loads((files("kazoo_rec.schemas") / "call_recording.parameters.json").read_bytes())["$defs"]["s3_url"]
TENANT = f"s3://AKTENANT:{KEYS['AKTENANT'].replace('/', '%2F')}@calls/rec"


@pytest.fixture
def content(tmp_path):
    """The content of a file, which has these bytes."""

    def content(body=BODY, opened=IN_CLEAR):
        path = tmp_path / "file.mp3"
        path.write_bytes(body)
        return Content(path, opened, len(body), hashlib.sha256(body).hexdigest(), "audio/mpeg", RECORDING_ID)

    return content


@pytest.fixture
def put(objects, content):
    """Puts a file where a tenant's URL says."""

    def put(body=BODY, url=TENANT, timeout_s=(5, 5), change=lambda path: None):
        there, what = objects.delivered(url, "acme", NAME), content(body)
        change(what.path)
        return objects.put(there, what, time.time(), timeout_s)

    return put


def proof(outcome, body):
    assert isinstance(outcome, Proof), outcome
    assert (outcome.status, outcome.sha256) == (200, hashlib.sha256(body).hexdigest())
    return outcome


class TestAFile:
    def test_it_is_an_object_with_its_type_and_digest_and_is_looked_at(self, stored, put):
        assert proof(put(), BODY).etag == f'"{hashlib.md5(BODY).hexdigest()}"'
        [(key, there)] = stored.ask("objects", bucket="calls").items()
        assert key == f"rec/{NAME}"
        assert (there["sha256"], there["type"]) == (hashlib.sha256(BODY).hexdigest(), "audio/mpeg")
        assert there["metadata"]["x-amz-meta-recording-id"] == RECORDING_ID
        assert stored.ask("requests") == [f"PUT /calls/rec/{NAME}?", f"HEAD /calls/rec/{NAME}?"]

    def test_once_more_is_as_good_as_once(self, stored, put):
        assert proof(put(), BODY) == proof(put(), BODY)
        assert len(stored.ask("objects", bucket="calls")) == 1

    def test_what_was_encrypted_arrives_as_it_was(self, stored, objects, content, tmp_path):
        key = bytes(32)
        what = content(BODY, partial(sealed.opened, key=key, finished=True))
        sealed.seal(what.path, key)
        proof(objects.put(objects.delivered(TENANT, "acme", NAME), what, time.time()), BODY)
        [there] = stored.ask("objects", bucket="calls").values()
        assert there["sha256"] == what.sha256

    @pytest.mark.parametrize("size", [1000, LARGE])
    def test_a_file_that_is_another_than_it_was_is_not_sent(self, stored, put, size):
        outcome = put(bytes(size), change=lambda path: path.write_bytes(b"x" * size))
        assert outcome.ours or outcome.text.startswith("answered 400 XAmzContentSHA256Mismatch")
        assert not stored.ask("objects", bucket="calls") and not stored.ask("uploads", bucket="calls")

    @pytest.mark.parametrize("change", [lambda path: path.write_bytes(BODY + b"x"), lambda path: path.unlink()])
    def test_a_file_that_cannot_be_read_is_no_fault_of_the_stores(self, stored, put, change):
        assert put(change=change).ours and not stored.ask("requests")


class TestALargeFile:
    BODY = bytes(range(256)) * (LARGE // 256)

    def test_it_goes_in_parts(self, stored, put):
        proof(put(self.BODY), self.BODY)
        [there] = stored.ask("objects", bucket="calls").values()
        assert (there["bytes"], there["sha256"]) == (LARGE, hashlib.sha256(self.BODY).hexdigest())
        assert there["type"] == "audio/mpeg"
        assert not stored.ask("uploads", bucket="calls")
        assert [line.partition(" ")[0] for line in stored.ask("requests")] == [
            "GET", "POST", "PUT", "PUT", "POST", "HEAD"]

    def test_what_is_there_already_is_known_by_what_was_written_with_it(self, put, objects, content, tmp_path):
        put(self.BODY)
        there, what = objects.delivered(TENANT, "acme", NAME), content(self.BODY)
        what.path.unlink()
        assert proof(objects.look(there, what, time.time()), self.BODY)
        for other in (replace(what, sha256="00" * 32), replace(what, size_bytes=LARGE + 1)):
            assert isinstance(objects.look(there, other, time.time()), Failure)

    def test_parts_of_a_killed_attempt_are_removed_by_the_next(self, stored, put):
        for key in (f"rec/{NAME}", f"rec/{NAME}", f"rec/{NAME}.other"):
            stored.ask("begin_upload", bucket="calls", key=key)
        proof(put(self.BODY), self.BODY)
        assert stored.ask("uploads", bucket="calls") == {f"rec/{NAME}.other": [1]}

    def test_a_kill_between_two_parts_leaves_them_to_the_next_attempt(self, stored, put):
        stored.ask("hold", part=2)
        attempt = gevent.spawn(put, self.BODY)
        until(lambda: stored.ask("waiting"))
        attempt.kill()  # as a worker that stops; a process that is killed says as little
        assert stored.ask("uploads", bucket="calls") == {f"rec/{NAME}": [1]}
        stored.ask("hold", part=0)
        proof(put(self.BODY), self.BODY)
        assert not stored.ask("uploads", bucket="calls")

    def test_an_attempt_that_fails_leaves_no_parts(self, stored, put):
        stored.ask("fail", part=2)
        assert put(self.BODY) == Failure("answered 500 InternalError: said so of ********", 500)
        assert not stored.ask("uploads", bucket="calls")

    def test_keys_that_may_not_look_for_parts_are_no_reason_not_to_deliver(self, stored, put):
        stored.ask("fail", part=-1)
        proof(put(self.BODY), self.BODY)


class TestKeys:
    def test_they_are_in_no_text_of_what_has_them(self, objects):
        there = objects.delivered(TENANT, "acme", NAME)
        asked = client._Asked(None, there.keys, (1, 1), None, None, None)
        assert "tenant" not in f"{there} {asked}"


class TestALie:
    @pytest.mark.parametrize(("mode", "text"), [
        ("absent", "took it, and does not have it"), ("cut", f"took {len(BODY)} bytes, and has {len(BODY) // 2}"),
        ("other", "took it, and has other bytes")])
    def test_a_write_that_the_store_says_it_did_is_looked_at(self, stored, put, mode, text):
        stored.ask("mode", mode=mode)
        outcome = put()
        assert outcome == Failure(text) and outcome.of_server and not outcome.final
        stored.ask("mode", mode="ok")
        proof(put(), BODY)

    @pytest.mark.parametrize("mode", ["absent", "cut", "other"])
    def test_of_a_large_file_too(self, stored, put, mode):
        stored.ask("mode", mode=mode)
        assert isinstance(put(bytes(LARGE) + b"x"), Failure)
        stored.ask("mode", mode="ok")
        assert not stored.ask("uploads", bucket="calls")


class TestAStoreThatIsNotWell:
    def test_one_that_is_down(self, stored, put):
        stored.ask("down")
        outcome = put()
        stored.ask("up")
        assert outcome.text.startswith("ConnectionRefusedError") and outcome.of_server
        proof(put(), BODY)

    def test_one_that_hangs(self, stored, put):
        stored.ask("mode", mode="hang")
        outcome = put(timeout_s=(0.3, 0.3))
        assert isinstance(outcome, Failure) and outcome.of_server

    def test_one_that_is_slow_is_waited_for_as_long_as_a_slow_line_may_take(self, stored, put, monkeypatch):
        monkeypatch.setattr("kazoo_rec.delivery.http.SLOWEST_BYTES_S", 1_000_000)
        stored.ask("mode", mode="slow")
        assert put(bytes(4_000_000), timeout_s=(0.3, 0.3)).of_server

    @pytest.mark.parametrize(("mode", "text", "status"), [
        ("moved", f"answered 301 PermanentRedirect: the bucket's region is us-west-2, and not {REGION}", None),
        ("503", "answered 503 InternalError: said so of ********", 503),
        ("skewed", "answered 403 RequestTimeTooSkewed: said so of ********", 403)])
    def test_what_it_says_is_the_reason_and_has_no_key_in_it(self, stored, put, mode, text, status):
        stored.ask("mode", mode=mode)
        outcome = put()
        assert outcome == Failure(text, status) and outcome.of_server
        assert len(stored.ask("requests")) == 1  # neither again nor elsewhere

    @pytest.mark.parametrize("size", [1000, LARGE])
    def test_what_is_no_answer_of_s3_is_a_reason_without_its_text(self, stored, put, size):
        stored.ask("mode", mode="garbled")
        outcome = put(bytes(size))
        assert "does not answer" in outcome.text and outcome.of_server and "AKTENANT" not in outcome.text

    def test_each_of_many_at_once_has_its_own_keys(self, objects, content):
        what, wrong = content(), TENANT.replace("@calls", "x@calls")
        asked = [gevent.spawn(objects.put, objects.delivered(url, "acme", NAME), what, time.time())
                 for url in (TENANT, wrong) * 8]
        for one in asked[::2]:
            proof(one.get(), BODY)
        assert {one.get().text for one in asked[1::2]} == {"answered 403 SignatureDoesNotMatch: said so of ********"}

    @pytest.mark.parametrize(("url", "code"), [
        ("s3://AKTENANT:wrong@calls/rec", "403 SignatureDoesNotMatch"),
        ("s3://AKNOBODY:wrong@calls/rec", "403 InvalidAccessKeyId"),
        (TENANT.replace("@calls", "@nocalls"), "404 NoSuchBucket")])
    def test_wrong_keys_and_no_bucket_are_of_all_its_objects(self, put, url, code):
        outcome = put(url=url)
        assert outcome.text.startswith(f"answered {code}") and outcome.of_server and "wrong" not in outcome.text


class TestARemoval:
    @pytest.fixture
    def remove(self, objects):
        def remove(size_bytes=1000, url=TENANT):
            return objects.remove(objects.delivered(url, "acme", NAME), size_bytes, time.time())

        return remove

    def test_what_was_there_is_not_and_what_was_not_is_as_good(self, stored, put, remove):
        proof(put(), BODY)
        assert remove() is None and not stored.ask("objects", bucket="calls")
        assert remove() is None and remove(LARGE) is None

    def test_one_that_no_row_knows_the_length_of_may_have_left_parts(self, stored, remove):
        stored.ask("begin_upload", bucket="calls", key=f"rec/{NAME}")
        assert remove(None) is None and not stored.ask("uploads", bucket="calls")

    @pytest.fixture
    def answered(self, pool):
        """What a removal comes to that is answered so."""
        def answered(status, said):
            with Customer([(status, {"Content-Length": str(len(said))}, said)]) as store:
                asked = s3.opened(DeliverySettings(s3=S3Settings(store.url)), pool)
                return asked.remove(Object("calls", "key", ("AK", "secret")), 1000, 0.0)

        return answered

    def test_an_object_that_is_said_not_to_be_there_is_removed(self, answered):
        assert answered("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>") is None

    @pytest.mark.parametrize(("status", "said"), [
        ("404 Not Found", b"<Error><Code>NoSuchBucket</Code></Error>"), ("404 Not Found", b"<html>404</html>"),
        ("404 Not Found", b""), ("202 Accepted", b"")])
    def test_what_says_something_else_has_not_removed_it(self, answered, status, said):
        assert answered(status, said).text.startswith(f"answered {status[:3]}")


    @pytest.mark.parametrize("said", [
        b"<Error><Code><x>1</x></Code></Error>", b"<Error><Code>a</Code><Code>b</Code></Error>",
        b"<Error><Message>a</Message><Message><x/></Message></Error>",
        b"<ErrorResponse><Error>a</Error></ErrorResponse>",
        b"<Error><Code>a</Code></Error><Error/>", b"<a><Error/><Error/></a>", b"<a>" * 10_000, b"\xff\0"])
    @pytest.mark.parametrize("status", ["500 No", "404 No"])
    def test_an_error_that_is_said_strangely_is_one(self, answered, status, said):
        assert answered(status, said).of_server


class TestWhoseKeys:
    def test_a_url_without_keys_has_the_operators_below_what_is_open(self, stored, put):
        proof(put(url="s3://calls/of/acme/2026"), BODY)
        assert list(stored.ask("objects", bucket="calls")) == [f"of/acme/2026/{NAME}"]

    @pytest.mark.parametrize("url", [
        "s3://calls", "s3://calls/of", "s3://calls/of/globex", "s3://calls/of/acme2", "s3://calls/rec/of/acme",
        "s3://other/of/acme", "s3://calls/OF/acme"])
    def test_it_is_refused_elsewhere(self, stored, objects, url):
        with pytest.raises(TargetError, match=r"s3\.deliver_to"):
            objects.delivered(url, "acme", NAME)

    def test_nothing_is_open_to_an_account_whose_id_makes_no_place(self, objects):
        with pytest.raises(TargetError):
            objects.delivered("s3://calls/of/acme", "..", NAME)

    def test_amazon_has_a_host_for_each_bucket_and_a_region(self, pool, monkeypatch):
        asked = []
        monkeypatch.setattr(Connections, "take", lambda _self, origin: asked.append(origin) or 1 / 0)
        amazon = s3.opened(DeliverySettings(s3=S3Settings(region="eu-west-1")), pool)
        for name in ("calls", "calls.example"):
            with pytest.raises(ZeroDivisionError):
                amazon.remove(Object(name, "key", ("a", "b")), 0, 0.0)
        assert asked == ["https://calls.s3.eu-west-1.amazonaws.com:443", "https://s3.eu-west-1.amazonaws.com:443"]

    @pytest.mark.parametrize("said", [S3Settings("http://a..b"), S3Settings(region="-x")])
    def test_an_endpoint_or_a_region_that_cannot_be_is_said_at_the_start(self, pool, said):
        with pytest.raises(ConfigError, match=r"s3\.endpoint or s3\.region"):
            s3.opened(DeliverySettings(s3=said), pool)

    def test_an_endpoint_is_reached_at_any_address_and_amazon_is_not(self, put, pool, content, monkeypatch):
        proof(put(), BODY)  # 127.0.0.1, and no network is allowed
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 443))])
        amazon = s3.opened(DeliverySettings(s3=S3Settings()), pool)
        outcome = amazon.put(Object("calls", "key", ("a", "b")), content(), 0.0)
        assert "does not allow" in outcome.text

    def test_its_certificate_is_of_an_authority_that_is_trusted(self, pool, tmp_path):
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        with Customer([("204 No Content", {})] * 2, ssl_context=context) as store:
            said = S3Settings(store.url.replace("http:", "https:"))
            own, usual = (s3.opened(DeliverySettings(s3=said, ca_file=file), pool)
                          for file in (tmp_path / "ca.pem", None))
            assert own.remove(Object("calls", "key", ("a", "b")), 0, 0.0) is None
            refused = usual.remove(Object("calls", "key", ("a", "b")), 0, 0.0)
            assert refused.text.startswith("SSLCertVerificationError")
            assert [request[:2] for request in store.requests] == [("DELETE", "/calls/key")]

    def test_nothing_of_the_environment_is_asked(self, s3_settings, pool, content, monkeypatch, tmp_path):
        (tmp_path / "credentials").write_text("[default]\naws_access_key_id=AKNOBODY\naws_secret_access_key=x\n")
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKNOBODY")
        monkeypatch.setenv("AWS_ENDPOINT_URL", refusing_url())
        monkeypatch.setenv("http_proxy", refusing_url())
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        monkeypatch.setenv("AWS_REGION", "us-west-2")
        elsewhere = s3_settings.endpoint.replace("127.0.0.1", "localhost")  # no client has been there before
        objects = s3.opened(DeliverySettings(s3=replace(s3_settings, endpoint=elsewhere)), pool)
        proof(objects.put(objects.delivered(TENANT, "acme", NAME), content(), time.time()), BODY)


    def test_what_is_said_of_the_operators_keys_is_for_the_operator_alone(self, stored, put):
        """Amazon names whose they are, and their account."""
        stored.ask("mode", mode="skewed")
        with capture_logs() as logs:
            outcome = put(url="s3://calls/of/acme")
        assert outcome.text == "answered 403 RequestTimeTooSkewed"
        assert [(line["code"], line["said"]) for line in logs] == [("RequestTimeTooSkewed", "said so of AKTENANT")]
        with capture_logs() as logs:
            assert put().text == "answered 403 RequestTimeTooSkewed: said so of ********"
        assert not logs

    def test_nor_are_the_operators_keys_in_the_log(self, pool, content):
        said = f"<Error><Code>Denied</Code><Message>AKOPERATOR {KEYS['AKOPERATOR']}\n\x7f</Message></Error>".encode()
        with Customer([("403 No", {"Content-Length": str(len(said))}, said)]) as store, capture_logs() as logs:
            asked = s3.opened(DeliverySettings(s3=S3Settings(
                store.url, REGION, "AKOPERATOR", KEYS["AKOPERATOR"], ("s3://calls",))), pool)
            outcome = asked.put(asked.delivered("s3://calls", "acme", NAME), content(), 0.0)
        assert outcome.text == "answered 403 Denied"
        assert [line["said"] for line in logs] == ["******** ********\\n\\x7f"]


class TestPlaces:
    @pytest.mark.parametrize(("url", "name", "prefix", "keys"), [
        ("s3://calls", "calls", (), None), ("s3://calls/", "calls", (), None),
        ("s3://calls/a/b=1/", "calls", ("a", "b=1"), None),
        ("s3://AK:a%2Fb+c%40@my.calls/a", "my.calls", ("a",), ("AK", "a/b+c@")),
        ("s3://a-tenant._2:x@calls", "calls", (), ("a-tenant._2", "x"))])
    def test_they_are_read(self, url, name, prefix, keys):
        assert bucket.place(url) == bucket.Place(name, prefix, keys)

    @pytest.mark.parametrize("url", [
        "s3://", "s3:///a", "s3://ab", "s3://Calls", "s3://calls_", "s3://-calls", "s3://ca..lls", "s3://10.0.0.1",
        "s3://calls/..", "s3://calls/../x", "s3://calls/./x", "s3://calls/a//b", "s3://calls/a\nb", "s3://calls/a b",
        "s3://calls/a%2Fb", "s3://calls?x", "s3://calls#x", "s3://calls:9000/x", "s3://AK@calls", "s3://:x@calls",
        "s3://A%2FK:x@calls", "s3://AK+:x@calls", "s3://%41K:x@calls", "s3://AK:%0A@calls",
        "s3://calls--use1-az4--x-s3/a", "s3://calls--op-s3", "s3://a@b@calls", "s3://calls/a\\b", "https://calls", "s3://calls/é"])
    def test_what_is_none_is_refused_and_its_keys_are_not_told(self, url):
        with pytest.raises(TargetError) as refused:
            bucket.place(url)
        assert "AK" not in str(refused.value).replace("ACCESSKEY", "")

    @given(st.from_regex(SAID["pattern"], fullmatch=True))
    def test_what_the_schema_takes_is_one(self, url):
        assume(not check("recording_settings", {"url": url})[1] and not url.startswith("s3://********@"))
        found = bucket.place(url)
        assert (found.keys is None) == ("@" not in url.split("/")[2])

    @pytest.mark.parametrize("url", ["s3://AK:%0A@calls", "s3://A%20K:x@calls", "s3://calls--x-s3", "s3://calls--op-s3/a"])
    def test_nor_does_the_schema_take_what_is_none(self, url):
        assert check("recording_settings", {"url": url})[1]

    @given(st.text())
    def test_whatever_is_said_a_key_leads_nowhere_else(self, text):
        try:
            found = bucket.place(f"s3://calls/{text}")
        except TargetError:
            return
        assert not {"", ".", ".."} & set(found.key(NAME).split("/")) and found.key(NAME).isascii()

    @pytest.mark.parametrize(("library", "places", "found"), [
        ("s3://a/lib", ["s3://a/of/{account_id}", "s3://b/lib"], None), ("s3://aaa", ["s3://aaa/x"], "s3://aaa/x"),
        ("s3://a/lib", ["s3://a/{account_id}/x"], "s3://a/{account_id}/x"), ("s3://aaa/lib/x", ["s3://aaa/"], "s3://aaa/"),
        ("s3://abc/lib", ["s3://b-{account_id}"], "s3://b-{account_id}")])
    def test_places_that_may_have_objects_together(self, library, places, found):
        assert bucket.overlap(library, places) == found


class TestAWorker:
    @pytest.fixture
    def site(self, tmp_path, pool, connections, objects):
        site = Site(tmp_path, pool, connections)
        site.objects = objects
        yield site
        site.worker.stop()

    def test_what_stopped_arrives_and_what_the_store_lied_about_is_sent_again(self, stored, site):
        stored.ask("mode", mode="absent")
        site.stopped("s3://calls/of/acme", settings={"media_name": "../x"})
        site.step()
        site.step()
        [upload] = site.store.uploads.values()
        assert (upload["host"], upload["state"], upload["last_error"]) == (
            "s3://calls", "due", "took it, and does not have it")
        assert site.worker.servers.failing == 1
        stored.ask("mode", mode="ok")
        site.step(later_s=3600)
        assert (upload["state"], upload["proof_sha256"]) == ("delivered", site.store.rows[RECORDING_ID]["sha256"])
        [(key, there)] = stored.ask("objects", bucket="calls").items()
        assert (key, there["sha256"]) == (f"of/acme/___x_{RECORDING_ID}.wav", upload["proof_sha256"])

    @pytest.mark.parametrize(("url", "hint"), [
        ("s3://calls/of/globex", "s3.deliver_to"), ("s3://AK@calls", "s3://ACCESSKEY:SECRETKEY@bucket"),
        ("s3://calls/../x", "letters, digits"), ("s3://C", "3 to 63")])
    def test_what_can_never_be_sent_is_given_up_at_once_with_what_to_do(self, site, url, hint):
        site.stopped(url)
        site.step()
        site.step()
        [upload] = site.store.uploads.values()
        assert upload["state"] == "failed" and hint in upload["last_error"] and "AK@" not in upload["last_error"]

    def test_without_an_object_store_too(self, site):
        site.objects = None
        site.stopped(TENANT)
        site.step()
        site.step()
        [upload] = site.store.uploads.values()
        assert upload["state"] == "failed" and "the configuration's `s3`" in upload["last_error"]


def until(condition):
    while not condition():
        Event().wait(0.02)
