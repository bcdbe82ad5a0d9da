from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.delivery.target import build, host, object_name, without_credentials
from kazoo_rec.errors import TargetError

from .fakes import RECORDING_ID, stopped_row

FILE = f"call_recording_{RECORDING_ID}.mp3"


def recording(**columns):
    return stopped_row(**{"file": f"acme/20261121/{RECORDING_ID}.mp3", "duration_ms": 1980, **columns})


@pytest.mark.parametrize(("url", "expected"), [
    ("http://a.example/rec", f"http://a.example/rec/{FILE}"),
    ("http://a.example/rec///", f"http://a.example/rec/{FILE}"),
    ("http://a.example", f"http://a.example/{FILE}"),
    ("http://a.example/rec?", f"http://a.example/rec/{FILE}"),
    ("http://a.example/rec#part", f"http://a.example/rec/{FILE}"),
    ("https://a.example:8443/up.php?k=1&name=", f"https://a.example:8443/up.php?k=1&name={FILE}"),
    ("http://a.example/up.php?k=1&name", f"http://a.example/up.php?k=1&name={FILE}"),
    ("http://a.example/up.php?k=1", f"http://a.example/up.php?k=1&recording={FILE}"),
    ("http://ann:secret@a.example/rec", f"http://ann:secret@a.example/rec/{FILE}"),
])
def test_the_file_name_goes_where_kazoo_puts_it(url, expected):
    assert build(url, recording(), query="none") == expected


def test_the_query_has_kazoos_fields_in_kazoos_order():
    asked = urlsplit(build("http://a.example/rec", recording())).query
    assert [field.split("=")[0] for field in asked.split("&")] == [
        "from", "to", "caller_id_name", "caller_id_number", "call_id", "cdr_id", "interaction_id", "owner_id",
        "account_id", "start", "duration_ms", "recording_id"]
    values = parse_qs(asked)
    assert values["cdr_id"] == [f"202611-leg-{RECORDING_ID}"]
    assert values["start"] == [str(1_700_000_000 + 62_167_219_200)]
    assert values["from"] == ["1001@acme.example"]
    assert values["duration_ms"] == ["1980"]


def test_a_query_that_is_there_goes_on_with_kazoos_fields():
    assert build("http://a.example/up.php?k=1", recording()).startswith(
        f"http://a.example/up.php?k=1&recording={FILE}&from=1001%40acme.example&to=")


def test_what_is_not_known_is_an_empty_field():
    url = build("http://a.example/rec", recording(user_id=None, started_ms=None))
    assert "&owner_id=&" in url
    assert "&start=&" in url


@pytest.mark.parametrize(("columns", "file_name", "expected"), [
    ({}, "recording_id", FILE), ({"call_id": "a.b"}, "call_id", f"call_recording_a.b_{RECORDING_ID}.mp3"),
    ({"settings": {"media_name": "sale"}}, "recording_id", f"sale_{RECORDING_ID}.mp3"),
    ({"settings": {"media_name": f"../{RECORDING_ID}0.mp3"}}, "recording_id", f"___{RECORDING_ID}0.mp3")])
def test_no_two_recordings_are_one_object(columns, file_name, expected):
    assert object_name(recording(**columns), file_name) == expected


def test_kazoos_own_name_is_that_of_the_call():
    url = build("http://a.example/rec", recording(call_id="../x y"), file_name="call_id", query="none")
    assert url == "http://a.example/rec/call_recording_..%2Fx%20y.mp3"


@pytest.mark.parametrize(("media_name", "expected"), [
    ("monday", "monday.mp3"),
    ("monday.mp3", "monday.mp3"),
    ("monday.wav", "monday.wav.mp3"),
    ("../../etc/x?y#z", "___.._etc_x_y_z.mp3"),
    ("..", "__.mp3"),
    (".mp3", "_mp3.mp3"),
    ("/etc/passwd\0", "_etc_passwd_.mp3"),
    ("%2e%2e%2fx", "_2e_2e_2fx.mp3"),
    ("\N{TELEPHONE RECEIVER}", "_.mp3"),
    ("a\r\nHost: b", "a__Host__b.mp3"),
    ("x" * 500, "x" * 128 + ".mp3"),
])
def test_a_media_name_of_the_settings_is_a_plain_name(media_name, expected):
    row = recording(settings={"media_name": media_name})
    assert build("http://a.example/rec", row, query="none") == f"http://a.example/rec/{expected}"


@pytest.mark.parametrize("url", [
    "ftp://a.example/rec", "file:///etc/passwd", "a.example/rec", "", "http://", "http:///rec", "http://a.example:x/",
    "http://a.example:99999/", "http://[::1/", "http://a.example/\r\nHost: b", "http://a.example/a b",
    "http://a.example\\@b.example/", "http://ä.example/", "//a.example/rec", "http://a.example/\x7f",
])
def test_a_url_that_cannot_be_delivered_to_is_refused(url):
    with pytest.raises(TargetError):
        build(url, recording())
    with pytest.raises(TargetError):
        host(url)


def test_no_password_is_in_a_refusal():
    with pytest.raises(TargetError) as refused:
        build("ftp://ann:secret@a.example/rec", recording())
    assert "secret" not in f"{refused.value}"


@pytest.mark.parametrize(("url", "expected"), [
    ("HTTP://Ann:Secret@A.Example/Rec", "http://a.example:80"),
    ("https://a.example/", "https://a.example:443"),
    ("https://a.example:8443", "https://a.example:8443"),
    ("http://[2A00::1]/", "http://[2a00::1]:80"),
])
def test_uploads_are_counted_by_scheme_host_and_port(url, expected):
    assert host(url) == expected


def test_credentials_are_taken_out_decoded():
    found = without_credentials("http://ann:p%40ss@a.example:81/rec?x=")
    assert found == ("http://a.example:81/rec?x=", ("ann", "p@ss"))
    assert without_credentials("http://a.example/rec?mail=a@b") == ("http://a.example/rec?mail=a@b", None)


@given(st.text(min_size=1, max_size=300) | st.text(alphabet="./\\\0%2eEfF \r\n?#\N{TELEPHONE RECEIVER}", min_size=1,
                                                 max_size=300))
def test_whatever_a_media_name_holds_it_is_one_visible_file_of_its_directory(media_name):
    row = recording(settings={"media_name": media_name})
    sent = urlsplit(requests.Request("PUT", build("http://a.example/rec/acme", row, query="none")).prepare().url)
    directory, _, name = unquote(sent.path).rpartition("/")
    assert (directory, sent.query, sent.fragment) == ("/rec/acme", "", "")
    assert name.endswith(".mp3") and not name.startswith(".") and len(name.encode()) <= 132
    assert unquote(name) == name and name.isprintable() and not set(name) & set("/\\\0")


foreign = st.text(max_size=40) | st.sampled_from(
    ["../..", "\r\nX-Evil: 1", "?", "#", "@evil.example", "//evil", "%00", "\udcff"])
bases = st.sampled_from([
    "http://a.example/rec/acme", "https://a.example:8443/rec/acme/", "http://a.example/rec/acme?key=1",
    "http://a.example/rec/acme?file=", "http://a.example/rec/acme?file"])


@given(bases, foreign, foreign, foreign, foreign, st.none() | foreign, st.sampled_from(["recording_id", "call_id"]),
       st.sampled_from(["kazoo", "none"]))
def test_no_field_changes_the_host_the_path_or_the_number_of_lines(
        base, from_uri, name, call_id, interaction_id, media_name, file_name, query):
    row = recording(from_uri=from_uri, caller_id_name=name, call_id=call_id, interaction_id=interaction_id,
                    settings={"media_name": media_name})
    url = build(base, row, file_name, query)
    assert url.isascii()
    assert url.isprintable()
    sent = urlsplit(requests.Request("PUT", url).prepare().url)
    asked = urlsplit(base)
    assert (sent.scheme, sent.netloc) == (asked.scheme, asked.netloc)
    assert sent.path.startswith(asked.path.rstrip("/"))
    assert sent.path.count("/") == asked.path.rstrip("/").count("/") + (not asked.query)
    assert sent.fragment == ""
    if query == "kazoo":
        fields = parse_qs(sent.query, keep_blank_values=True, errors="replace")
        assert fields["from"] == [from_uri.encode(errors="replace").decode()]
        assert fields["recording_id"] == [RECORDING_ID]
