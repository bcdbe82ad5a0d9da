"""What each action has its leg do, and where it goes on."""

import pytest
from structlog.testing import capture_logs

from kazoo_rec.errors import WrongState
from tests.callflow.fakes import CHANNEL
from tests.callflow.test_runner import ends, executed, step, tone

LEG = CHANNEL["Unique-ID"]
KEEP = ["set continue_on_fail=true", "set hangup_after_bridge=true"]
GIVE_BACK = ["unset continue_on_fail", "set hangup_after_bridge=true"]  # as the dialplan of the trace had it
BUSY = {"bridge": {"variable_originate_disposition": "USER_BUSY"}}


def walked(engine, flow, *, hung_up="NORMAL_CLEARING", numbers=("8084",), **options):
    """What the leg executed until the flow ended."""
    engine.flow(flow, numbers=numbers)
    leg = engine.call(**options)
    ends(leg, hung_up=hung_up)
    return executed(leg)


class TestPlay:
    def test_plays_to_an_answered_leg_and_any_key_ends_it(self, engine):
        engine.flow(step("play", {"id": "ivr/welcome.wav"}))
        leg = engine.call(variable_playback_terminators="none")
        ends(leg, hung_up="NORMAL_CLEARING")
        assert leg.executed == ["answer", "set playback_terminators=0123456789*#", "playback ivr/welcome.wav",
                                "set playback_terminators=none"]

    def test_a_leg_that_has_answered_is_not_answered_again(self, engine):
        engine.flow(tone(1))
        leg = engine.call(Answer_State="answered")
        ends(leg, hung_up="NORMAL_CLEARING")
        assert "answer" not in leg.executed

    def test_plays_before_the_answer_where_it_says_so(self, engine):
        engine.flow(step("play", {"id": "a.wav", "answer": False, "terminators": ["#"]}))
        leg = engine.call()
        ends(leg, hung_up="NORMAL_CLEARING")
        assert leg.executed == ["set playback_terminators=#", "playback a.wav", "unset playback_terminators"]

    def test_a_message_that_was_not_taken_is_not_played(self, engine):
        assert walked(engine, step("play", {"id": "message"}, _=tone(1))) == ["playback tone_stream://%(1,0,440)"]


@pytest.mark.parametrize(("data", "ms"), [({"duration": 2}, 2000), ({"duration": 2, "unit": "ms"}, 2),
                                          ({"duration": 1, "unit": "m"}, 60_000), ({}, 0)])
def test_sleep_waits_in_its_unit(engine, data, ms):
    assert walked(engine, step("sleep", data)) == [f"sleep {ms}"]


class TestRecordCall:
    def test_start_gives_the_control_every_setting_and_goes_on_at_once(self, engine):
        said = {"format": "wav", "label": "sale", "media_name": "../x", "method": "post", "record_min_sec": 3,
                "record_on_answer": True, "record_on_bridge": True, "record_sample_rate": 16000, "time_limit": 60,
                "url": "https://x.example/", "channels": "dual", "track": "inbound", "should_follow_transfer": False}
        walked(engine, step("record_call", {"action": "start", "origin": "x", **said}))
        assert engine.control.told == [("begin", "acme", LEG, said, {
            "rule": "callflow", "label": "sale", "who": "callflow cf"})]

    def test_the_callflow_s_name_is_its_label_where_nobody_says(self, engine):
        engine.flow(step("record_call", {"action": "start"}), name="Sales")
        ends(engine.call(), hung_up="NORMAL_CLEARING")
        assert engine.control.told == [("begin", "acme", LEG, {}, {
            "rule": "callflow", "label": "Sales", "who": "callflow cf"})]

    def test_stop_is_for_the_last_that_this_flow_began_and_each_once(self, engine):
        flow = step("record_call", {"action": "stop"})
        for action in ("stop", "stop", "start", "start"):
            flow = step("record_call", {"action": action}, _=flow)
        walked(engine, flow)
        assert [one[-1]["ids"] for one in engine.control.told if one[0] == "end"] == [["rec-2"], ["rec-1"]]

    def test_stop_with_a_label_is_for_that_one(self, engine):
        walked(engine, step("record_call", {"action": "stop", "label": "sale"}))
        assert engine.control.told == [("end", "acme", LEG, {"ids": None, "label": "sale", "who": "callflow cf"})]

    @pytest.mark.parametrize("action", ["mask", "unmask", "pause", "resume"])
    def test_the_others_are_for_all_that_this_flow_began(self, engine, action):
        then = step("record_call", {"action": action})
        walked(engine, step("record_call", {"action": "start"}, _=step("record_call", {"action": "start"}, _=then)))
        assert engine.control.told[2:] == [
            ("change", "acme", LEG, action, {"ids": ["rec-1", "rec-2"], "who": "callflow cf"})]

    @pytest.mark.parametrize("action", ["stop", "mask", "unmask", "pause", "resume"])
    def test_where_the_flow_records_nothing_nothing_of_another_s_is_touched(self, engine, action):
        walked(engine, step("record_call", {"action": action}, _=tone(1)))
        assert engine.control.told == []


class TestRecordCaller:
    RECORD = "record /var/lib/fs/acme/20261121/msg-1.wav 60 200 5"

    def test_answers_beeps_records_and_goes_on_and_the_next_may_play_it(self, engine):
        engine.flow(step("record_caller", {"time_limit": 60, "beep": True, "format": "wav", "url": "https://x.example/"},
                         _=step("play", {"id": "message", "terminators": []})))
        leg = engine.call()
        ends(leg, hung_up="NORMAL_CLEARING")
        assert leg.executed == [
            "answer", "playback tone_stream://%(300,0,1000)", "set enable_file_write_buffering=false",
            "set playback_terminators=0123456789*#", self.RECORD, "unset enable_file_write_buffering",
            "unset playback_terminators", "set playback_terminators=none",
            "playback /var/lib/fs/acme/20261121/msg-1.wav", "unset playback_terminators"]
        settings = {"time_limit": 60, "format": "wav", "url": "https://x.example/"}
        assert engine.control.told == [
            ("message", "acme", LEG, settings, {"label": None, "who": "callflow cf"}),
            ("message_ended", "msg-1", "CHANNEL_EXECUTE_COMPLETE", {})]

    def test_an_hour_is_its_limit_where_nobody_says(self, engine):
        assert "record /var/lib/fs/acme/20261121/msg-1.wav 3600 200 5" in walked(engine, step("record_caller"))

    def test_the_caller_s_hanging_up_does_not_say_that_the_file_is_closed_which_record_stop_does(self, engine):
        engine.flow(step("record_caller", _=tone(1)))
        leg = engine.call(slow=["record"])
        leg.slow_one()
        leg.hang_up()
        engine.no_more_flows()
        assert [one[0] for one in engine.control.told] == ["message"]

    def test_the_engine_s_end_does_not_end_it(self, engine):
        engine.flow(step("record_caller"))
        leg = engine.call(slow=["record"])
        leg.slow_one()
        engine.server.stop()
        ends(leg)
        assert ["resume"] not in leg.commands
        assert [f"api uuid_setvar {LEG} socket_resume"] in leg.commands
        engine.no_more_flows()
        assert [one[0] for one in engine.control.told] == ["message"]

    def test_what_cannot_be_stored_is_not_recorded_and_the_flow_goes_on(self, engine):
        engine.control.faults["message"] = WrongState("the leg has no media here")
        assert walked(engine, step("record_caller", _=tone(1))) == ["playback tone_stream://%(1,0,440)"]


class TestCalling:
    def test_a_user_is_called_on_every_phone(self, engine):
        assert walked(engine, step("user", {"id": "bob", "timeout": 9, "delay": 2}), answers=BUSY) == [
            *KEEP, "bridge {ignore_early_media=true}[leg_timeout=9,leg_delay_start=2]user/1001@acme.example,"
            "[leg_timeout=9,leg_delay_start=2]user/1002@home.example", *GIVE_BACK]

    def test_the_phone_that_calls_is_not_called(self, engine):
        # the leg of the trace is 1000@acme.example, ann's
        assert walked(engine, step("user", {"id": "ann"}, _=tone(1))) == ["playback tone_stream://%(1,0,440)"]
        assert walked(engine, step("user", {"id": "ann", "can_call_self": True}), answers=BUSY)[2] == (
            "bridge [leg_timeout=20]user/1000@acme.example")

    def test_a_caller_who_only_claims_to_be_somebody_may_call_him(self, engine):
        assert walked(engine, step("user", {"id": "ann"}), answers=BUSY, variable_sip_authorized="false")[2] == (
            "bridge [leg_timeout=20]user/1000@acme.example")

    def test_a_device_is_called(self, engine):
        assert walked(engine, step("device", {"id": "hall"}), answers=BUSY)[2] == (
            "bridge [leg_timeout=20]user/1003@acme.example")

    @pytest.mark.parametrize("action", [
        step("user"), step("user", {"id": "nobody"}), step("device", {"id": "mute"}), step("device", {"id": "../x"}),
        step("ring_group"), step("ring_group", {"endpoints": [{"endpoint_type": "group", "id": "bob"}]})])
    def test_where_there_is_nobody_to_call_the_flow_goes_on(self, engine, action):
        action["children"]["_"] = tone(1)
        assert walked(engine, action) == ["playback tone_stream://%(1,0,440)"]

    @pytest.mark.parametrize("theirs", ["globex.example", "home.example"])
    def test_another_account_s_phone_is_not_called_whatever_a_device_says(self, engine, theirs):
        engine.take({("account", "globex"): {"realm": "globex.example"},
                     ("device", "x"): {"sip": {"username": "2000", "realm": theirs}}}, account="globex")
        engine.take({("device", "x"): {"sip": {"username": "2000", "realm": theirs}}})
        assert walked(engine, step("device", {"id": "x"}, _=tone(1))) == ["playback tone_stream://%(1,0,440)"]

    def test_who_is_not_connected_goes_on_by_the_cause(self, engine):
        for key in ("USER_BUSY", "_"):
            assert walked(engine, step("user", {"id": "bob"}, **{key: tone(1), "NO_ANSWER": tone(2)}), answers=BUSY
                          )[-1] == "playback tone_stream://%(1,0,440)"

    def test_what_the_dialplan_had_set_is_as_before(self, engine):
        assert walked(engine, step("device", {"id": "hall"}), answers=BUSY, variable_continue_on_fail="BUSY,480",
                      variable_hangup_after_bridge="${x}")[-2:] == [
            "set continue_on_fail=BUSY,480", "unset hangup_after_bridge"]

    def test_the_talk_s_end_is_the_flow_s(self, engine):
        done = walked(engine, step("device", {"id": "hall"}, _=tone(1)), answers={"bridge": None})
        assert done[-1].startswith("bridge")

    def test_the_engine_s_end_does_not_end_a_talk(self, engine):
        engine.flow(step("device", {"id": "hall"}))
        leg = engine.call(slow=["bridge"])
        leg.slow_one()
        assert [f"api uuid_setvar {LEG} socket_resume"] in leg.commands
        engine.server.stop()
        ends(leg)
        assert ["resume"] not in leg.commands

    def test_a_group_rings_at_once_each_phone_once(self, engine):
        endpoints = [{"endpoint_type": "user", "id": "bob", "timeout": 5}, {"endpoint_type": "device", "id": "b1"},
                     {"endpoint_type": "device", "id": "hall", "delay": 3}]
        assert walked(engine, step("ring_group", {"endpoints": endpoints, "timeout": 8}), answers=BUSY)[2] == (
            "bridge {ignore_early_media=true}[leg_timeout=5]user/1001@acme.example,"
            "[leg_timeout=5]user/1002@home.example,[leg_timeout=8,leg_delay_start=3]user/1003@acme.example")

    def test_a_group_rings_in_turn_and_again(self, engine):
        endpoints = [{"endpoint_type": "device", "id": id} for id in ("b1", "hall")]
        bridges = [one for one in walked(engine, step("ring_group", {
            "endpoints": endpoints, "strategy": "single", "repeats": 2}), answers=BUSY) if one.startswith("bridge")]
        assert bridges == ["bridge {ignore_early_media=true}[leg_timeout=20]user/1001@acme.example|"
                           "[leg_timeout=20]user/1003@acme.example"] * 2


class TestResources:
    @pytest.mark.parametrize("module", ["resources", "offnet"])
    def test_the_number_that_was_called_goes_through_the_gateway_of_the_dialplan(self, engine, module):
        assert walked(engine, step(module), answers=BUSY, variable_kazoo_rec_gateway="carrier")[2] == (
            "bridge [leg_timeout=60]sofia/gateway/carrier/8084")

    def test_a_captured_number_goes_before_it_and_one_that_is_said_before_that(self, engine):
        said = step("resources", {"to_did": "+4930"})
        engine.take({("callflow", "out"): {"patterns": [r"^\*9(\d+)$"], "flow": step("resources")},
                     ("callflow", "one"): {"patterns": [r"^\*8(\d+)$"], "flow": said}})
        for number, called in (("*9123", "123"), ("*8123", "+4930")):
            leg = engine.call(answers=BUSY, variable_kazoo_rec_gateway="carrier", Caller_Destination_Number=number)
            ends(leg, hung_up="NORMAL_CLEARING")
            assert f"bridge [leg_timeout=60]sofia/gateway/carrier/{called}" in leg.executed

    def test_without_a_gateway_it_is_the_dialplan_s(self, engine):
        assert walked(engine, step("offnet"), hung_up=None) == ["set kazoo_rec_unhandled=offnet"]

    def test_a_number_that_is_none_is_not_called(self, engine):
        assert walked(engine, step("resources", {"to_did": "1,user/9"}, _=tone(1)),
                      variable_kazoo_rec_gateway="carrier") == ["playback tone_stream://%(1,0,440)"]


class TestMenu:
    AGAIN = ("unset kazoo_rec_digits",
             "play_and_get_digits 1 2 1 4000 # menu.wav silence_stream://1 kazoo_rec_digits .+ 900")

    def asked(self, engine, *pressed, **children):
        children = {"12": tone(12), "_": tone(99), **children}
        menu = {"media": {"greeting": "menu.wav"}, "retries": 2, "timeout": 4000, "interdigit_timeout": 900}
        answers = [{"variable_kazoo_rec_digits": keys} if keys else {} for keys in pressed]
        return walked(engine, step("menu", menu, **children), answers={"play_and_get_digits": answers})

    def test_goes_on_by_what_was_pressed(self, engine):
        assert self.asked(engine, "12") == [*self.AGAIN, "playback tone_stream://%(12,0,440)"]

    def test_asks_again_when_that_is_no_child(self, engine):
        assert self.asked(engine, "3", "12") == [*self.AGAIN, *self.AGAIN, "playback tone_stream://%(12,0,440)"]

    @pytest.mark.parametrize(("children", "ms"), [({}, 99), ({"max_retries": tone(7)}, 7)])
    def test_gives_up_in_the_end(self, engine, children, ms):
        assert self.asked(engine, "3", None, **children) == [
            *self.AGAIN, *self.AGAIN, f"playback tone_stream://%({ms},0,440)"]

    def test_who_presses_nothing_goes_on_where_there_is_a_child_for_that(self, engine):
        assert self.asked(engine, None, timeout=tone(5)) == [*self.AGAIN, "playback tone_stream://%(5,0,440)"]

    def test_what_is_no_choice_is_told_to_nobody_as_it_may_be_of_a_card(self, engine):
        with capture_logs() as lines:
            self.asked(engine, "4711", "12")
        assert "12 pressed" in str(lines) and "4711" not in str(lines)

    def test_a_key_is_no_other_child(self, engine):
        assert self.asked(engine, "timeout", "12")[-1] == "playback tone_stream://%(12,0,440)"

    def test_a_menu_of_another_document_is_the_dialplan_s(self, engine):
        assert walked(engine, step("menu", {"id": "main"}), hung_up=None) == ["set kazoo_rec_unhandled=menu"]


class TestConference:
    @pytest.mark.parametrize(("data", "place"), [
        ({"id": "team"}, "acme.team@default"), ({"id": "team", "profile": "wide"}, "acme.team@default"),
        ({"id": "team", "moderator": True}, "acme.team@default+flags{moderator}")])
    def test_takes_part_in_a_room_of_the_account_and_goes_on_behind_it(self, engine, data, place):
        assert walked(engine, step("conference", data, _=tone(1))) == [
            f"conference {place}", "playback tone_stream://%(1,0,440)"]

    @pytest.mark.parametrize(("said", "what"), [("all", "room"), ("participant", "members"), ("both", "both")])
    def test_is_recorded_from_its_beginning(self, engine, said, what):
        data = {"id": "team", "record": said, "format": "wav", "label": "weekly"}
        assert walked(engine, step("conference", data)) == ["conference acme.team@default"]
        assert engine.rooms.told == [("record", "acme", "acme.team", what, {"format": "wav", "label": "weekly"},
                                      "callflow cf", LEG, {})]

    def test_what_is_no_setting_does_not_become_one(self, engine):
        data = {"id": "team", "record": "all", "format": "wav", "enabled": False, "config": {"x": 1}}
        walked(engine, step("conference", data))
        assert engine.rooms.told[0][4] == {"format": "wav"}

    def test_that_is_not_recorded_is_one_to_talk_in(self, engine):
        engine.rooms.faults["record"] = WrongState("the switch refused")
        assert walked(engine, step("conference", {"id": "team", "record": "all"})) == ["conference acme.team@default"]

    def test_is_the_dialplan_s_where_it_names_no_room(self, engine):
        assert walked(engine, step("conference"), hung_up=None) == ["set kazoo_rec_unhandled=conference"]

    def test_is_the_dialplan_s_where_the_switch_has_none(self, engine):
        assert walked(engine, step("conference", {"id": "team"}), hung_up=None, modules="false") == [
            "set kazoo_rec_unhandled=conference"]

    def test_the_engine_s_end_does_not_end_it(self, engine):
        engine.flow(step("conference", {"id": "team"}))
        leg = engine.call(slow=["conference"])
        leg.slow_one()
        engine.server.stop()
        ends(leg)
        assert ["resume"] not in leg.commands


@pytest.mark.parametrize(("data", "executes"), [
    ({"code": 404, "message": "Not here"}, ["respond 404 Not here"]), ({}, ["respond 486"]),
    ({"code": 480, "media": "gone.wav"}, ["playback gone.wav", "respond 480"])])
def test_a_response_ends_the_call(engine, data, executes):
    engine.flow(step("response", data, _=tone(1)))
    leg = engine.call()
    ends(leg, hung_up="NORMAL_CLEARING")
    assert leg.executed == executes


class TestCallflow:
    def test_goes_on_with_another_of_the_account_s(self, engine):
        engine.flow(tone(2), id="other", numbers=())
        assert walked(engine, step("callflow", {"id": "other"}, _=tone(1))) == ["playback tone_stream://%(2,0,440)"]

    def test_another_account_s_is_not_there(self, engine):
        engine.take({("callflow", "theirs"): {"flow": tone(2)}}, account="globex")
        assert walked(engine, step("callflow", {"id": "theirs"}, _=tone(1))) == ["playback tone_stream://%(1,0,440)"]


class TestSetVariables:
    def test_sets_them_where_freeswitch_obeys_none(self, engine):
        said = {"custom_application_vars": {"customer": "a b", "vip": True, "n": 7}}
        assert walked(engine, step("set_variables", said)) == [
            "set cav_customer=a b", "set cav_vip=true", "set cav_n=7"]

    def test_exports_them(self, engine):
        assert walked(engine, step("set_variables", {"custom_application_vars": {"a": "b"}, "export": True})) == [
            "export cav_a=b"]

    @pytest.mark.parametrize("pair", [("a=b", "x"), ("a", "${system(id)}"), ("a\nb", "x"), ("a", "x\ny"), ("a,b", "x"),
                                      ("a b", "x"), ("a", "x" * 5000)])
    def test_none_is_set_where_one_cannot_be(self, engine, pair):
        said = {"custom_application_vars": {"ok": "1", pair[0]: pair[1]}}
        assert walked(engine, step("set_variables", said, _=tone(1))) == ["playback tone_stream://%(1,0,440)"]
