"""What documents say, setting by setting."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.policy.settings import DEFAULTS, DIRECTIONS, NETWORKS, account_policy, endpoint_policy

ON, OFF = {"enabled": True}, {"enabled": False}
ALL_ON = {"any": {"any": ON}}
CELLS = list(product(DIRECTIONS, NETWORKS))

settings = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.none() | st.booleans(),
        "format": st.none() | st.sampled_from(["mp3", "wav"]),
        "time_limit": st.integers(5, 10800),
        "url": st.sampled_from(["https://one.example/", "https://two.example/"]),
    },
)
sources = st.none() | st.dictionaries(st.sampled_from(["any", *NETWORKS]), st.none() | settings)
call_recordings = st.dictionaries(st.sampled_from(["any", *DIRECTIONS]), sources)
endpoint_documents = st.fixed_dictionaries(
    {}, optional={"call_recording": st.none() | call_recordings, "record_call": st.booleans()}
)
accounts = st.fixed_dictionaries(
    {},
    optional={
        "call_recording": call_recordings
        | st.fixed_dictionaries({}, optional={"account": call_recordings, "endpoint": call_recordings})
    },
)


def enabled(grid):
    return {f"{d}.{n}" for d, n in CELLS if grid[d, n].enabled}


def endpoint(account=None, user=None, device=None):
    return endpoint_policy(account or {}, user, device)


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return value


@pytest.mark.parametrize("weaker", range(1, 4))
def test_a_named_network_weighs_more_than_a_named_direction(weaker):
    places = [("inbound", "offnet"), ("any", "offnet"), ("inbound", "any"), ("any", "any")]
    said = {"any": {}, "inbound": {}}
    for rank in (weaker, weaker - 1):
        direction, network = places[rank]
        said[direction][network] = {"format": "wav" if rank == weaker - 1 else "mp3"}
    assert endpoint(user={"call_recording": said})["inbound", "offnet"].settings["format"] == "wav"


def test_any_reaches_the_cells_that_nothing_stronger_names():
    assert enabled(endpoint(user={"call_recording": ALL_ON})) == {f"{d}.{n}" for d, n in CELLS}
    assert enabled(endpoint(user={"call_recording": {"any": {"offnet": ON}}})) == {"inbound.offnet", "outbound.offnet"}
    assert enabled(endpoint(user={"call_recording": {"inbound": {"any": ON}}})) == {"inbound.onnet", "inbound.offnet"}


def test_settings_merge_key_by_key_within_a_document():
    said = {"any": {"any": {"enabled": True, "url": "https://a.example"}}, "inbound": {"offnet": {"format": "wav"}}}
    cell = endpoint(user={"call_recording": said})["inbound", "offnet"]
    assert cell.enabled
    assert (cell.settings["format"], cell.settings["url"]) == ("wav", "https://a.example")


def test_settings_merge_key_by_key_across_documents_and_say_where_each_came_from():
    cell = endpoint(
        account={"call_recording": {"endpoint": {"any": {"any": {"time_limit": 60, "url": "https://account.example"}}}}},
        user={"call_recording": {"any": {"any": {"enabled": True, "url": "https://user.example"}}}},
        device={"call_recording": {"any": {"any": {"format": "wav"}}}},
    )["outbound", "onnet"]
    said = {key: (cell.settings[key], cell.origin[key]) for key in ("enabled", "format", "time_limit", "url", "method")}
    assert said == {
        "enabled": (True, "user"),
        "format": ("wav", "device"),
        "time_limit": (60, "account.endpoint"),
        "url": ("https://user.example", "user"),
        "method": ("put", "default"),
    }


def test_the_device_is_stronger_than_the_user_however_general_its_cell():
    all_off = {"any": {"any": OFF}}
    grid = endpoint(user={"call_recording": {"inbound": {"onnet": ON}}}, device={"call_recording": all_off})
    assert enabled(grid) == set()


def test_a_device_that_names_one_cell_leaves_the_users_others_alone():
    grid = endpoint(user={"call_recording": ALL_ON}, device={"call_recording": {"inbound": {"offnet": OFF}}})
    assert enabled(grid) == {"inbound.onnet", "outbound.onnet", "outbound.offnet"}


@pytest.mark.parametrize("nothing", [{}, {"any": {}}, {"inbound": {"onnet": {}}}, {"any": {"any": {"enabled": None}}}])
def test_a_document_that_says_nothing_of_it_leaves_the_users_word(nothing):
    assert endpoint(user={"call_recording": ALL_ON}, device={"call_recording": nothing})["inbound", "onnet"].enabled


def test_an_announcement_is_one_setting_and_an_empty_one_takes_it_back():
    theirs = {"any": {"any": {"announce": {"file": "a.wav", "required": True}}}}
    for said, found in (({"tone": "tone_stream://%(1,0,9)"}, {"tone": "tone_stream://%(1,0,9)"}), ({}, {}),
                        (None, {"file": "a.wav", "required": True})):
        ours = {"inbound": {"any": {"announce": said}}}
        cell = endpoint(user={"call_recording": theirs}, device={"call_recording": ours})["inbound", "onnet"]
        assert cell.settings["announce"] == found
        assert cell.origin["announce"] == ("user" if said is None else "device")


def test_nothing_said_is_every_default_and_not_recorded():
    for cell in (*endpoint().values(), *account_policy({}).values()):
        assert dict(cell.settings) == dict(DEFAULTS)
        assert not cell.enabled
        assert set(cell.origin.values()) == {"default"}


def test_a_flat_account_is_the_accounts_own_rule_and_none_of_its_endpoints():
    account = {"call_recording": {"inbound": {"offnet": ON}}}
    assert enabled(account_policy(account)) == {"inbound.offnet"}
    assert account_policy(account)["inbound", "offnet"].origin["enabled"] == "account"
    assert enabled(endpoint(account)) == set()


def test_the_two_levels_of_a_nested_account_are_apart():
    account = {"call_recording": {"account": {"inbound": {"any": ON}}, "endpoint": {"outbound": {"any": ON}}}}
    assert enabled(account_policy(account)) == {"inbound.onnet", "inbound.offnet"}
    assert enabled(endpoint(account)) == {"outbound.onnet", "outbound.offnet"}


@pytest.mark.parametrize("legacy", [True, {"record_call": True, "url": "https://old.example", "action": "start"}])
@pytest.mark.parametrize("party", ["user", "device"])
def test_kazoo_4s_record_call_enables_every_cell(party, legacy):
    grid = endpoint(**{party: {"record_call": legacy}})
    assert enabled(grid) == {f"{d}.{n}" for d, n in CELLS}
    for cell in grid.values():
        assert cell.said_in == f"{party} record_call"
        assert set(cell.settings) == set(DEFAULTS)
        assert cell.settings["url"] == (None if legacy is True else "https://old.example")


@pytest.mark.parametrize("legacy", [False, None, {}, {"action": "start"}, {"record_call": False}, "true", [1]])
def test_a_record_call_that_is_not_true_says_nothing(legacy):
    grid = endpoint(user={"call_recording": ALL_ON}, device={"record_call": legacy})
    assert grid["inbound", "onnet"].origin["enabled"] == "user"


def test_record_call_is_deaf_beside_call_recording_and_on_an_account():
    assert enabled(endpoint(user={"call_recording": {}, "record_call": True})) == set()
    assert enabled(endpoint(user={"call_recording": None, "record_call": True})) != set()
    assert enabled(account_policy({"record_call": True})) == enabled(endpoint({"record_call": True})) == set()


def test_a_grid_cannot_be_changed_through_a_cell():
    cell = endpoint()["inbound", "onnet"]
    with pytest.raises(TypeError):
        cell.settings["enabled"] = True


@given(accounts, endpoint_documents, endpoint_documents)
def test_the_order_of_keys_never_matters(account, user, device):
    assert endpoint_policy(account, user, device) == endpoint_policy(*map(reordered, (account, user, device)))
    assert account_policy(account) == account_policy(reordered(account))


@given(accounts, endpoint_documents, endpoint_documents, st.booleans(), st.sampled_from(CELLS), st.data())
def test_a_devices_explicit_enabled_always_wins(account, user, device, said, cell, data):
    direction, network = cell
    device = {**device, "call_recording": {direction: {network: {"enabled": said}}}}
    if data.draw(st.booleans(), "said of any"):
        device["call_recording"] = {"any": {"any": {"enabled": said}}}
    found = endpoint_policy(account, user, device)[cell]
    assert (found.enabled, found.origin["enabled"]) == (said, "device")


@given(accounts, endpoint_documents, endpoint_documents)
def test_every_key_has_a_value_and_an_origin_and_default_means_default(account, user, device):
    for cell in endpoint_policy(account, user, device).values():
        assert list(cell.settings) == list(cell.origin) == list(DEFAULTS)
        for key, origin in cell.origin.items():
            assert origin in ("device", "user", "account.endpoint", "default")
            assert origin != "default" or cell.settings[key] == DEFAULTS[key]
            assert cell.settings[key] is not None or DEFAULTS[key] is None
