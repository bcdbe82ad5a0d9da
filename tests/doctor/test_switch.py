import pytest

from kazoo_rec.config import Switch
from kazoo_rec.doctor import switch
from kazoo_rec.errors import CommandFailed
from tests.doctor.conftest import asking

NOW_US = 1_795_242_427_000_000
LOCATE = "xml_locate configuration configuration name"
SOCKET = ('<configuration name="event_socket.conf"><settings><param name="listen-ip" value="{}"></param>'
          '<param name="password" value="secret"></param>{}</settings></configuration>')
SOFIA = ('<configuration name="sofia.conf"><global_settings><param name="inbound-bypass-media" value="true"/>'
         '</global_settings><profiles><profile name="internal"><settings><param name="{}" value="{}"></param>'
         '</settings></profile></profiles></configuration>')


def states(findings):
    return [one.state for one in findings]


@pytest.mark.parametrize("listen, more, state", [
    ("127.0.0.1", "", "ok"), ("0.0.0.0", '<param name="apply-inbound-acl" value="lan"/>', "ok"),
    ("0.0.0.0", "", "warning"), ("::", "", "warning"),
])
def test_an_event_socket_that_is_open_to_every_address_is_told_of(listen, more, state):
    ask = asking({f"{LOCATE} event_socket.conf": SOCKET.format(listen, more)})
    found = switch.event_socket(ask, Switch("fs1", password="secret"))
    assert states(found) == [state] and "secret" not in str(found)


def test_the_password_that_everybody_knows_is_told_of():
    ask = asking({f"{LOCATE} event_socket.conf": "can't find anything\n"})
    (found,) = switch.event_socket(ask, Switch("fs1", password="ClueCon"))
    assert found.state == "warning" and "shipped" in found.seen


@pytest.mark.parametrize("told, state", [
    ("FreeSWITCH Version 1.10.12-release~64bit ( 64bit)\n", "ok"), ("FreeSWITCH Version 1.10.7~64bit\n", "ok"),
    ("FreeSWITCH Version 1.10.6-release-18~64bit (-release-18 64bit)\n", "wrong"),
    ("FreeSWITCH Version 1.8.7\n", "wrong"), ("what?\n", "warning"),
])
def test_a_version_before_pause_and_resume_is_wrong(told, state):
    assert states(switch.version(asking({"version": told}))) == [state]


def modules(*missing):
    return asking({f"module_exists {module}": "false" if module in missing else "true"
                   for module in (*switch.NEEDED, *switch.FOR_THE_TEST)})


def test_all_modules_are_there():
    found, missing = switch.modules(modules())
    assert states(found) == ["ok"] and not missing


def test_a_module_that_recording_needs_is_wrong_one_of_the_test_is_a_warning():
    found, missing = switch.modules(modules("mod_sndfile", "mod_loopback"))
    named = [(one.state, one.seen.split()[0]) for one in found]
    assert named == [("wrong", "mod_sndfile"), ("warning", "mod_loopback")]
    assert missing == {"mod_sndfile", "mod_loopback"} and "load mod_sndfile" in found[0].advice


def test_a_switch_without_its_commands_is_told_of():
    def ask(command, timeout_s=5.0):
        raise CommandFailed("refused", "-ERR module_exists Command not found!")

    found, missing = switch.modules(ask)
    assert states(found) == ["wrong"] and missing == {"mod_commands"} and "mod_commands" in found[0].seen


@pytest.mark.parametrize("off_s, state, word", [
    (0, "ok", "0.0 s"), (0.9, "ok", "0.9 s"), (-3, "warning", "3.0 s behind"), (3600, "wrong", "3600.0 s ahead of"),
])
def test_a_clock_that_is_seconds_off_is_found(off_s, state, word):
    (found,) = switch.clock(asking({"strmicroepoch": str(NOW_US + int(off_s * 1e6))}), lambda: NOW_US)
    assert found.state == state and word in found.seen


def test_a_slow_answer_is_no_wrong_clock():
    ours = iter([NOW_US, NOW_US + 4_000_000])
    (found,) = switch.clock(asking({"strmicroepoch": str(NOW_US)}), lambda: next(ours))
    assert found.state == "ok"


@pytest.mark.parametrize("variables, sofia, named", [
    ("hold_music=a=b\nlocal_ip_v4=1.2.3.4\n", SOFIA.format("sip-port", "5060"), ""),
    ("bypass_media=false\nproxy_media=no\n", SOFIA.format("inbound-bypass-media", "false"), ""),
    ("bypass_media=true\n", "can't find anything\n", "bypass_media=true"),
    ("proxy_media=1\n", "", "proxy_media=1"),
    ("", SOFIA.format("inbound-proxy-media", "true"), "'internal' says inbound-proxy-media=true"),
])
def test_settings_that_lead_media_around_the_switch_are_named(variables, sofia, named):
    found = switch.media_around(asking({"global_getvar": variables, f"{LOCATE} sofia.conf": sofia}))
    assert states(found) == ["wrong" if named else "ok"] and named in found[0].seen


@pytest.mark.parametrize("variables, state, named", [
    ("hold_music=x\nrecordings_dir=/r\n", [], ""),
    ("api_on_answer=uuid_record ${uuid} start /r/x.wav\n", ["warning"], "api_on_answer"),
    ("user_record=all\n", ["warning"], "user_record"),
    ("RECORD_MIN_SEC=5\n", ["wrong"], "RECORD_MIN_SEC=5"),
])
def test_global_variables_that_record_are_named(variables, state, named):
    found = switch.global_recorders(asking({"global_getvar": variables}))
    assert states(found) == state and named in "".join(one.seen for one in found)
