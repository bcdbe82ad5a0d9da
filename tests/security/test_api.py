"""Hostile text in every part of a request, and in what tenants keep."""

from urllib.parse import quote

import pytest

from .hostile import TEXTS

#: What a path can have: a test client sends no lone surrogates.
SENT = [text for text in TEXTS if text and (text.isascii() or text.isprintable())]

PATHS = ("/v2/accounts/{}", "/v2/accounts/{account}/users/{}", "/v2/accounts/{account}/devices/{}",
         "/v2/accounts/{account}/callflows/{}", "/v2/accounts/{account}/recordings/{}",
         "/v2/accounts/{account}/recordings/{}/audio", "/v2/accounts/{account}/channels/{}", "/v2/{}", "/{}")

QUERIES = ("page_size", "start_key", "q", "state", "user_id", "created_from", "filter_owner_id", "{}")


def segment(text):
    return quote(text[:4_000].encode("utf-8", "surrogatepass"), safe="")


def harmless(answer):
    assert answer.status_code < 500, (answer.status_code, answer.text)
    for name, value in answer.headers.items():
        assert "evil" not in name.lower()
        assert "\n" not in value and "\r" not in value


@pytest.mark.parametrize("path", PATHS)
def test_no_id_leads_anywhere_else(root, acme, path):
    for text in SENT:
        for method in ("GET", "DELETE") if path.count("/") > 3 else ("GET",):
            answer = root(method, path.format(segment(text), account=acme))
            harmless(answer)
            assert answer.status_code in (400, 401, 403, 404, 405), (method, text)
    assert root("GET", f"/v2/accounts/{acme}").status_code == 200


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_asks_for_more(root, acme, recording, name):
    row = recording("other")
    for text in SENT:
        for where in ("recordings", "users", "channels"):
            asked = quote(text[:2_000], safe="") if name == "{}" else name
            answer = root("GET", f"/v2/accounts/{acme}/{where}?{asked}={segment(text)}")
            harmless(answer)
            assert row["id"] not in answer.text


def test_what_a_tenant_writes_is_kept_as_text_or_refused(root, acme):
    for number, text in enumerate(TEXTS):
        if text == "\ud800" or "\udcff" in text:
            continue
        for body in ({"username": text}, {"first_name": text, "username": f"user{number}"}):
            answer = root("PUT", f"/v2/accounts/{acme}/users", body)
            harmless(answer)
            if answer.status_code == 201:
                kept = root("GET", f"/v2/accounts/{acme}/users/{answer.json['data']['id']}").json["data"]
                assert {key: kept[key] for key in body} == body
            else:
                assert answer.status_code == 400


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.1:11211/_x", "ftp://x/", "javascript:alert(1)",
                                 "http://a.example/\r\nX-Evil: 1", "http://a.example/\n", "http://a b/", "http:///x",
                                 "//a.example/", "http://a.example\\@b.example/", "http://[::1/", "http://a:b:c/",
                                 "http://a.example:0x50/", "http://a.example:99999/", "http://\u202e/"])
def test_a_url_that_is_none_is_refused_when_it_is_written(root, acme, url):
    answer = root("PATCH", f"/v2/accounts/{acme}", {"call_recording": {"any": {"any": {"enabled": True, "url": url}}}})
    assert answer.status_code == 400
    assert "url" in answer.text
