"""freeswitch-conf/ is well once its operator has chosen what is his; tests break it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kazoo_rec.callflow.actions import conference
from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.config import Switch, load
from kazoo_rec.doctor import conf, documents, tree, users
from kazoo_rec.documents.directory import Directory

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "freeswitch-conf"
#: What is not ours.
REST = HERE.parent / "freeswitch" / "fresh"
PASSWORD = "correct horse battery"
SITE = "\n".join(f'<X-PRE-PROCESS cmd="set" data="{one}"/>' for one in (
    f"event_socket_password={PASSWORD}", "sip_password=staple staple", "carrier_proxy=192.0.2.1",
    "carrier_cidr=192.0.2.1/32"))

SOCKET, MODULES = "autoload_configs/event_socket.conf.xml", "autoload_configs/modules.conf.xml"
DIALPLAN, PUBLIC = "dialplan/acme.example.xml", "dialplan/public/acme.example.xml"
DIRECTORY, SOFIA = "directory/acme.example.xml", "autoload_configs/sofia.conf.xml"


@pytest.fixture
def directory(tmp_path):
    shutil.copytree(REST, tmp_path / "freeswitch")
    shutil.copytree(SHIPPED, tmp_path / "freeswitch", dirs_exist_ok=True)
    (tmp_path / "freeswitch" / "kazoo_rec.xml").write_text(SITE)
    (tmp_path / "freeswitch").chmod(0o750)
    return tmp_path / "freeswitch"


def change(directory, name, old, new):
    text = (directory / name).read_text()
    assert old in text
    (directory / name).write_text(text.replace(old, new))


def faults(directory, switches=()):
    """{name: what is seen} of all that is not well; secrets are in none of it."""
    found = conf.examine(directory, IdentityRules(), switches)
    assert PASSWORD not in str(found) and "staple" not in str(found)
    bad = [one for one in found if one.state != "ok"]
    assert all(one.advice for one in bad)
    return {(one.name, one.state): one.seen for one in bad}


def test_what_is_shipped_is_well(directory):
    assert faults(directory) == {}
    assert faults(directory, [Switch("fs1", password=PASSWORD), Switch("far", "192.0.2.9", 8022, "another")]) == {}


def test_the_engine_s_part_belongs_to_it(directory):
    """The documents know every user of the directory by what is dialled, and as the ids that the directory says."""
    config = load(SHIPPED / "kazoo_rec" / "kazoo_rec.yaml", {"ESL_PASSWORD": PASSWORD})
    assert faults(directory, config.switches) == {}
    address = f"{config.callflow.host}:{config.callflow.port} async full"
    read = tree.read(directory)
    assert {one.get("data") for one in read.root.iter("action") if one.get("application") == "socket"} == {address}
    assert conference.PROFILE in {one.get("name") for one in read.configuration("conference.conf").iter("profile")}
    rows, found = documents.read(config.documents)
    assert [one.state for one in found] == ["ok"]
    known = Directory().apply([{**row, "deleted": False, "seq": 0} for row in rows])
    ids = [f"kazoo_rec_{kind}_id" for kind in ("account", "user", "device")]
    for user in users.users(tree.read(directory)):
        assert known.by_sip(*user.name.split("@")) == tuple(user.variables[name] for name in ids)


def test_what_the_operator_has_to_choose_is_missed(directory):
    (directory / "kazoo_rec.xml").unlink()
    assert faults(directory) == {
        ("conf event socket", "wrong"): "no password has been chosen: it is random, and nobody gets in",
        ("conf directory", "wrong"): "2 users ('1000@acme.example'): no password has been chosen: it is random, and no "
                                     "phone can register"}


def test_another_password_than_the_engine_has_is_wrong(directory):
    assert faults(directory, [Switch("fs1", password="another")]) == {
        ("conf event socket", "wrong"): "its password is not that of fs1 in the engine's configuration"}


@pytest.mark.parametrize("file, old, new, name, state, seen", [
    (SOCKET, "$${event_socket_password}", "ClueCon", "event socket", "wrong", "shipped"),
    (SOCKET, "$${event_socket_password}", "", "event socket", "wrong", "no password"),
    (SOCKET, "$${event_socket_password}", "$${nobody_sets_it}", "event socket", "wrong", "no password"),
    (SOCKET, "$${event_socket_password}", "short", "event socket", "warning", "5 characters"),
    (SOCKET, "event_socket.conf", "event_sockets.conf", "event socket", "wrong", "no event_socket.conf"),
    (SOCKET, "loopback.auto", "engines", "event socket", "wrong", "'engines'"),
    ("kazoo_rec.xml", f'set" data="event_socket_password={PASSWORD}', 'exec-set" data="event_socket_password=vault',
     "event socket", "warning", "comes from a command"),
    (MODULES, '<load module="mod_sndfile"/>', "", "modules", "wrong", "mod_sndfile"),
    (MODULES, '<load module="mod_event_socket"/>', "", "modules", "wrong", "mod_event_socket"),
    (MODULES, '<load module="mod_loopback"/>', "", "modules", "warning", "mod_loopback"),
    (SOFIA, '<param name="sip-port" value="5060"/>', '<param name="force-register-domain" value="192.0.2.1"/>',
     "sofia profiles", "wrong", "'internal' says force-register-domain='192.0.2.1': phones of acme.example"),
    (SOFIA, "<profile ", "<profiles ", None, "wrong", "broken"),
    (SOFIA, "sofia.conf", "no.conf", "sofia profiles", "wrong", "no SIP profile"),
    (DIRECTORY, '"dial-string"', '"no-dial-string"', "directory", "wrong", "no dial-string"),
    (DIRECTORY, '"user_context" value="acme.example"', '"user_context" value="public"', "directory", "wrong",
     "from outside"),
    (DIRECTORY, '"user_context" value="acme.example"', '"user_context" value="nowhere"', "directory", "wrong",
     "2 users ('1000@acme.example'): user_context is 'nowhere'"),
    (DIRECTORY, 'value="acme"', 'value="Acme Inc."', "directory", "wrong", "no id"),
    (DIRECTORY, '"kazoo_rec_user_id" value="bob"', '"kazoo_rec_network" value="far"', "directory", "wrong",
     "1 user ('1001@acme.example'): kazoo_rec_network is 'far'"),
    (DIRECTORY, "$${sip_password}", "1234", "directory", "wrong", "shipped"),
    (DIRECTORY, "$${sip_password}", "", "directory", "wrong", "lets everybody in"),
    (DIRECTORY, "users>", "nobody>", "directory", "warning", "no users"),
    (DIALPLAN, "async full", "async", "dialplan", "wrong", "'callflow' in 'acme.example'"),
    (DIALPLAN, "socket_resume=true", "socket_resume=false", "dialplan", "wrong", "ends there when the engine dies"),
    (PUBLIC, "unset socket_resume", "log it", "dialplan", "warning", "'acme.example' in 'public': a talk"),
    (DIALPLAN, 'name="callflow" continue="true"', 'name="callflow"', "dialplan", "wrong", "nothing behind it"),
    (DIALPLAN, "gateway/carrier", "gateway/other", "dialplan", "wrong", "the gateway 'other'"),
    (DIALPLAN, "@default", "@other", "dialplan", "wrong", "the conference profile 'other'"),
])
def test_what_is_wrong_is_told_of(directory, file, old, new, name, state, seen):
    change(directory, file, old, new)
    [(told, said)] = faults(directory).items()
    assert told == (f"conf {name}" if name else "conf", state) and seen in said


def test_an_event_socket_for_every_address_needs_an_acl(directory):
    change(directory, SOCKET, "127.0.0.1", "::")
    assert faults(directory) == {}
    change(directory, SOCKET, "apply-inbound-acl", "no-acl")
    assert ("conf event socket", "warning") in faults(directory)


def test_a_dialplan_without_callflows_is_possible(directory):
    for name in (DIALPLAN, PUBLIC):
        change(directory, name, "127.0.0.1:8084", "127.0.0.1:9999")
    assert list(faults(directory)) == [("conf dialplan", "warning")]


def test_media_around_the_switch_and_other_recorders_are_told_of(directory):
    change(directory, SOFIA, '"sip-port" value="5060"', '"inbound-bypass-media" value="true"')
    (directory / "kazoo_rec.xml").write_text(f'{SITE}\n<X-PRE-PROCESS cmd="set" data="RECORD_MIN_SEC=3"/>\n')
    assert list(faults(directory)) == [("bypassed media", "wrong"), ("other recorders", "wrong")]


def test_passwords_that_everybody_may_read_are_told_of(directory):
    directory.chmod(0o755)
    (directory / "kazoo_rec.xml").chmod(0o640)
    (directory / "sip_profiles/external/carrier.xml").chmod(0o640)
    assert faults(directory) == {}
    (directory / "kazoo_rec.xml").chmod(0o644)
    assert "in kazoo_rec.xml" in faults(directory)["conf", "warning"]


def test_what_cannot_be_looked_at_is_told_of(directory):
    change(directory, DIALPLAN, "</context>", '</context>\n<X-PRE-PROCESS cmd="include" data="/etc/more/*.xml"/>')
    assert "/etc/more" in faults(directory)["conf", "warning"]


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "kazoo_rec", "doctor", *arguments], capture_output=True, text=True,
                          check=False)


def test_the_command_looks_at_a_directory_alone(directory):
    done = run("--freeswitch-conf", str(directory), "--json")
    assert (done.returncode, json.loads(done.stdout)["wrong"]) == (0, 0)
    (directory / "kazoo_rec.xml").unlink()
    done = run("--freeswitch-conf", str(directory))
    assert done.returncode == 1 and "set sip_password in kazoo_rec.xml" in done.stdout


def test_the_command_looks_at_both(directory, deployment):
    done = run("--freeswitch-conf", str(directory), "--config", str(deployment.file), "--json")
    found = json.loads(done.stdout)["findings"]
    assert {"conf dialplan", "test recording"} <= {one["name"] for one in found}


def test_the_command_wants_something_to_look_at():
    done = run()
    assert done.returncode == 2 and "--freeswitch-conf" in done.stderr
