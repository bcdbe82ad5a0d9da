"""The engine's end on its own host: a socket that its user alone may use."""

import os


def test_an_engine_of_another_user_than_its_directory_says_that_the_api_may_not_reach_it(site, said, monkeypatch):
    site.engine("fs1", "leg", here=True)
    assert not said.those("reach this engine")
    monkeypatch.setattr(os, "geteuid", lambda: site.place.stat().st_uid + 1)
    site.engine("fs2", "leg", here=True)
    line = said.wait("reach this engine")
    assert line["owner"] == site.place.stat().st_uid and line["user"] == line["owner"] + 1
    assert line["socket"].endswith("fs2.control") and "--uid" in line["hint"]
