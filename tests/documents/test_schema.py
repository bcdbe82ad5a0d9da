"""Documents are checked whole, and corrected where the meaning is plain."""

import math

import pytest

from kazoo_rec.documents.schema import check, quoted


def settings(**said):
    return {"call_recording": {"any": {"any": said}}}


def faults(kind, document):
    return check(kind, document)[1]


def message(**said):
    (fault,) = faults("user", settings(**said))
    assert fault["path"] == f"call_recording.any.any.{next(iter(said))}"
    return fault["message"]


def test_a_document_that_is_right_has_no_faults_and_stays_as_it_is():
    documents = {
        "account": {
            "id": "4711-a_B",
            "name": "Muster & Söhne",
            "realm": "muster.example",
            "numbers": ["+49 30 1234567", "0049301234568"],
            "country": "DE",
            "call_recording": {
                "account": {"inbound": {"offnet": {"enabled": True, "url": "https://files.example:8443/a?b=c|d"}}},
                "endpoint": {},
            },
        },
        "user": settings(
            enabled=True,
            format="wav",
            time_limit=5,
            record_min_sec=0,
            record_sample_rate=48000,
            record_on_answer=True,
            record_on_bridge=False,
            method="post",
            channels="dual",
            track="inbound",
            announce={"file": "ivr/8000/consent-en.v2.wav", "to": "both", "required": True, "opt_out_digit": "*",
                      "beep_every_s": 15},
            status_callback="https://files.example/told",
        ),
        "device": {"id": "d1", "owner_id": "u1", "sip": {"username": "desk", "realm": "muster.example", "method": "x"}},
        "call_recording": {"outbound": {"any": {"enabled": False}}},
    }
    for kind, document in documents.items():
        assert check(kind, document) == (document, [])


def test_all_faults_are_told_at_once_each_with_its_path_and_what_is_allowed():
    document = {
        "id": "no blanks",
        "call_recording": {
            "inbund": {},
            "any": {"any": {"format": "ogg", "time_limit": 4, "frmat": "wav"}, "onnet": 7},
        },
        "sip": {"username": ""},
    }
    assert faults("device", document) == [
        {"path": "call_recording.inbund", "message": "is an unknown key; allowed are any, inbound, outbound"},
        {
            "path": "call_recording.any.any.frmat",
            "message": "is an unknown key; allowed are enabled, format, time_limit, record_min_sec, record_on_answer, "
            "record_on_bridge, record_sample_rate, url, method, channels, track, announce, status_callback",
        },
        {"path": "call_recording.any.any.format", "message": "must be one of mp3, wav, not 'ogg'"},
        {"path": "call_recording.any.any.time_limit", "message": "must be an integer from 5 to 10800, not 4"},
        {"path": "call_recording.any.onnet", "message": "must be an object of recording settings, not 7"},
        {"path": "id", "message": "must be 1 to 64 letters, digits, - and _, not 'no blanks'"},
        {"path": "sip.username", "message": "must be a string of 1 to 255 characters, not ''"},
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"enabled": "yes"},
        {"enabled": 1},
        {"format": "MP3"},
        {"time_limit": 10801},
        {"time_limit": True},
        {"time_limit": 30.5},
        {"time_limit": "3e1"},
        {"time_limit": "٣٠"},
        {"time_limit": math.inf},
        {"time_limit": math.nan},
        {"time_limit": [30]},
        {"record_min_sec": -1},
        {"record_min_sec": 10801},
        {"record_sample_rate": 44100},
        {"record_on_answer": 0},
        {"method": "get"},
        {"channels": "stereo"},
        {"track": "left"},
    ],
    ids=repr,
)
def test_a_setting_outside_its_values_is_a_fault(wrong):
    assert message(**wrong).startswith("must be ")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "files.example",
        "ftp://files.example/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://:80/",
        "https://files.example/a b",
        "https://files.example/\n",
        "https://files.example/\r\nX: y",
        "https://files.example/\x7f",
        "https://files.example\\@evil.example/",
        "https://files.example:99999/",
        "https://files.example:0/",
        "https://[::1/",
        "https://bücher.example/",
        "https://files.example/\u202e",
        "https://ann:12/34@files.example/x",
        "https://files.example/?to=ops@files.example",
        "https://files.example/" + "a" * 2048,
        5,
    ],
    ids=ascii,
)
def test_a_url_that_nothing_can_be_sent_to_is_a_fault(url):
    assert message(url=url).startswith("must be an http or https URL with a host")


@pytest.mark.parametrize("url", ["http://a", "HTTPS://user:p@w%2F@a.example/x%40y?y=%20#z", "http://[::1]:8080/", "http://10.0.0.1/"])
def test_a_url_may_have_credentials_a_port_and_a_query(url):
    assert faults("user", settings(url=url)) == []


@pytest.mark.parametrize(
    "announce",
    [
        *({"file": name} for name in (
            "", "/etc/passwd.wav", "../x.wav", "a/../x.wav", "a..wav", "a//b.wav", ".a.wav", "a/.wav", "x.lua", "x",
            "x.WAV", "x.wav\n", "x.wav\nstop", "a b.wav", "a.wav;b.wav", "a&b.wav", "{a=b}x.wav", "${x}.wav",
            "shout://h/x.mp3", "playback::x.wav", "x!.wav",
            "tone_stream://%(1,0,1).wav", "%2e%2e/x.wav", "a\x00.wav", "ü.wav", "a" * 125 + ".wav")),
        *({"tone": tone} for tone in (
            "", "%(200,0,1400)", "tone_stream://", "tone_stream://%(200,0)", "tone_stream://%(200,0,1400);loops=-1",
            "tone_stream://%(200,0,1400)\n", "tone_stream://%(200, 0,1400)", "tone_stream://path=/etc/passwd",
            "tone_stream://%(99999,0,1)", "tone_stream://" + "%(1,0,9)" * 9)),
        {"file": "a.wav", "tone": "tone_stream://%(200,0,1400)"},
        {"required": True},
        {"opt_out_digit": "10"},
        {"opt_out_digit": 9},
        {"opt_out_digit": "w"},
        {"beep_every_s": 4},
        {"beep_every_s": 301},
        {"to": "all"},
        {"required": 1, "file": "a.wav"},
        "a.wav",
    ],
    ids=ascii,
)
def test_an_announcement_that_the_switch_must_not_be_told_to_play_is_a_fault(announce):
    for document in (settings(announce=announce), {"record_call": {"record_call": True, "announce": announce}}):
        (fault,) = faults("user", document)
        assert "announce" in fault["path"] and fault["message"].startswith("must be ")


@pytest.mark.parametrize("announce", [{}, {"tone": "tone_stream://%(500,100,440,480)%(200,0,620)"}, {"beep_every_s": 5},
                                      {"opt_out_digit": "0"}, {"required": False}], ids=ascii)
def test_an_announcement_may_have_any_part_alone_but_required(announce):
    assert faults("user", settings(announce=announce)) == []


@pytest.mark.parametrize(
    ("key", "written", "meant"),
    [
        ("time_limit", "30", 30),
        ("time_limit", 30.0, 30),
        ("record_min_sec", "0", 0),
        ("record_sample_rate", "8000", 8000),
        ("enabled", "true", True),
        ("enabled", "false", False),
    ],
)
def test_a_value_of_a_false_type_with_one_plain_meaning_is_corrected(key, written, meant):
    original = settings(**{key: written})
    document, found = check("user", original)
    assert found == []
    corrected = document["call_recording"]["any"]["any"][key]
    assert (type(corrected), corrected) == (type(meant), meant)
    assert original == settings(**{key: written})


def test_a_corrected_value_is_checked_as_well():
    assert message(time_limit="4") == "must be an integer from 5 to 10800, not 4"


def test_null_says_nothing_and_is_dropped():
    document, found = check("user", {**settings(enabled=None, url="http://a"), "record_call": None, "owner": None})
    assert (document, found) == (settings(url="http://a"), [])


@pytest.mark.parametrize("flat", ["any", "inbound", "outbound"])
@pytest.mark.parametrize("level", ["account", "endpoint"])
def test_an_account_is_flat_or_nested_and_not_both(level, flat):
    assert faults("account", {"call_recording": {flat: {}}}) == faults("account", {"call_recording": {level: {}}}) == []
    (fault,) = faults("account", {"call_recording": {level: {}, flat: {}}})
    assert fault == {"path": f"call_recording.{flat}", "message": "must be absent beside account and endpoint, not {}"}


@pytest.mark.parametrize("kind", ["user", "device"])
def test_only_an_account_has_levels(kind):
    assert [fault["path"] for fault in faults(kind, {"call_recording": {"account": {}}})] == ["call_recording.account"]


def test_what_kazoo_4_wrote_is_checked_where_it_counts():
    old = {"action": "start", "url": "", "time_limit": "600"}
    assert faults("device", {"record_call": old}) == faults("device", {"record_call": True}) == []
    document, found = check("device", {"record_call": {**old, "record_call": "true"}})
    assert document["record_call"]["time_limit"] == 600
    assert [fault["path"] for fault in found] == ["record_call.url"]
    assert faults("device", {"record_call": 1})[0]["message"] == "must be true, false or an object, not 1"


def test_a_number_without_quotes_is_a_fault_for_it_has_lost_its_zeros():
    (fault,) = faults("account", {"numbers": ["+49301", 49301]})
    assert fault == {"path": "numbers.1", "message": "must be a string of 1 to 64 characters, not 49301"}


@pytest.mark.parametrize("country", ["UK", "de", "DEU", "DE\n", 49])
def test_a_country_is_one_that_has_telephone_numbers(country):
    assert [fault["path"] for fault in faults("account", {"country": country})] == ["country"]


@pytest.mark.parametrize("identity", ["", "a" * 65, "a/b", "..", "a\n", "ä", 7])
def test_an_id_can_be_part_of_a_path(identity):
    for kind in ("account", "user", "device"):
        assert [fault["path"] for fault in faults(kind, {"id": identity})] == ["id"]


@pytest.mark.parametrize("document", [[], "text", 5, True])
def test_a_document_is_an_object(document):
    assert faults("account", document) == [{"path": "", "message": f"must be an object, not {document!r}"}]


def test_foreign_text_is_quoted_and_cut_in_paths_and_messages():
    hostile = "\x1b[2J\r\n" * 1000
    found = faults("user", {"call_recording": {hostile: 1, "any": {"any": {"format": hostile}}, 5: {}}})
    assert len(found) == 3
    for fault in found:
        text = fault["path"] + fault["message"]
        assert text.isprintable()
        assert len(text) < 300


def test_what_is_missing_is_named_where_it_should_be():
    config = {"node": "a", "recordings_dir": "/r", "database": "sqlite:////d", "switches": [{"host": ""}]}
    assert faults("config", config) == [
        {"path": "switches.0.password", "message": "is missing"},
        {"path": "switches.0.host", "message": "must be a string of at least 1 character(s), not ''"},
    ]


@pytest.mark.parametrize("depth", [50, 5000])
def test_depth_is_no_way_to_break_the_check(depth):
    deep = []
    for _ in range(depth):
        deep = [deep]
    for document in (deep, {"call_recording": {"any": deep}}, {"other": {"key": deep}}):
        found = faults("user", document)
        assert all(len(fault["message"]) < 100 for fault in found)
        assert found or depth == 50
    assert quoted(deep) == "[[[...]]]"


def test_items_of_many_types_are_not_compared_each_with_each():
    compared = []

    class Text(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            compared.append(other)
            return str.__eq__(self, other)

    numbers = [item for number in range(200) for item in (Text(number), number)]
    assert len(faults("callflow", {"numbers": numbers, "flow": {"module": "user"}})) == 200
    assert len(compared) < 10 * len(numbers)


@pytest.mark.parametrize(("numbers", "path"), [(["1", "1"], "numbers"), (["1", "2"], None)])
def test_a_number_is_in_a_callflow_once(numbers, path):
    found = faults("callflow", {"numbers": numbers, "flow": {"module": "user"}})
    assert [(fault["path"], fault["message"]) for fault in found] == (
        [(path, "must be a list of at most 10000 items, each once, not ['1', '1']")] if path else [])


@pytest.mark.parametrize("said", [{"announce": "x"}, {"announce": {"file": "/x.wav"}}, {"status_callback": ["x"]}])
def test_what_is_said_of_a_conference_s_recording_is_checked_as_elsewhere(said):
    assert faults("callflow", {"flow": {"module": "conference", "data": {"id": "x", "record": "participant", **said}}})


@pytest.mark.parametrize(("said", "places"), [
    ("continue", []), ("alarm", []), ("hangup", []), ("never", ["on_no_recording"]), (True, ["on_no_recording"])])
def test_what_is_done_for_a_leg_that_is_not_recorded_is_one_of_three_words(said, places):
    assert [fault["path"] for fault in faults("account", {"on_no_recording": said})] == places
