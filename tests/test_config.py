"""The configuration file: obeyed as it says, or refused with every fault."""

import re
from pathlib import Path

import pytest

from kazoo_rec.calls.identity import Trunk
from kazoo_rec.config import RecordingsDir, load
from kazoo_rec.delivery.settings import S3Settings
from kazoo_rec.errors import ConfigError

LEAST = """
node: fs1
recordings_dir: /var/lib/freeswitch/kazoo_rec
database: sqlite:////var/lib/kazoo_rec/kazoo_rec.db
switches: [{password: "${ESL_PASSWORD}"}]
"""


def loaded(tmp_path, text=LEAST, **environ):
    file = tmp_path / "kazoo_rec.yaml"
    file.write_text(text)
    return load(file, {"ESL_PASSWORD": "secret", **environ})


def test_the_least_that_must_be_said(tmp_path):
    config = loaded(tmp_path)
    assert config.recordings_dir == RecordingsDir("/var/lib/freeswitch/kazoo_rec", "/var/lib/freeswitch/kazoo_rec")
    (switch,) = config.switches
    assert (switch.name, switch.host, switch.port, switch.password, switch.command_connections) == (
        "fs1", "127.0.0.1", 8021, "secret", 8)
    assert config.delivery.retry_for_s == 7 * 86_400 and config.documents is None


def test_a_password_is_not_shown(tmp_path):
    assert "secret" not in repr(loaded(tmp_path))


def test_everything_that_may_be_said(tmp_path):
    config = loaded(tmp_path, LEAST + """
documents: docs
identity:
  account: [domain_uuid]
  trunks: {pbx: {account: acme}}
delivery:
  {uploads: 32, uploads_per_host: 2, retry_for_s: 3600, remove_after_delivery: true, file_name: call_id, query: none}
disk: {remove_delivered_below: 12.5%, alarm_below: "0%"}
api: {host: "::1", port: 9000, public_url: "https://rec.example", certificate: tls.pem, key: /etc/key.pem}
""")
    assert config.documents == tmp_path / "docs"
    assert config.identity.account == ("domain_uuid",) and config.identity.user[0] == "kazoo_rec_user_id"
    assert config.identity.trunks == {"pbx": Trunk("acme", "onnet")}
    assert (config.delivery.uploads, config.delivery.file_name, config.api.port) == (32, "call_id", 9000)
    assert (config.disk.remove_delivered_below, config.disk.alarm_below) == (0.125, 0)
    assert (config.api.public_url, config.api.certificate, config.api.key) == (
        "https://rec.example", tmp_path / "tls.pem", Path("/etc/key.pem"))


@pytest.mark.parametrize(("said", "is_at"), [
    ("", None), ("callflow: {}", ("127.0.0.1", 8084)), ("callflow: {host: '::1', port: 9}", ("::1", 9))])
def test_callflows_are_run_where_they_are_asked_for(tmp_path, said, is_at):
    callflow = loaded(tmp_path, LEAST + said).callflow
    assert (callflow and (callflow.host, callflow.port)) == is_at


def test_two_names_of_one_directory(tmp_path):
    text = LEAST.replace("/var/lib/freeswitch/kazoo_rec", "{on_switch: /rec, here: /mnt/rec}")
    assert loaded(tmp_path, text).recordings_dir == RecordingsDir("/rec", "/mnt/rec")


@pytest.mark.parametrize(("text", "told"), [
    (LEAST.replace("node: fs1", "node: a b"), "node: must be a name"),
    (LEAST.replace("node: fs1", 'node: "fs1\\n"'), "node: must be a name"),
    (LEAST.replace("database", "databse"), "database: is missing"),
    (LEAST.replace("/freeswitch/kazoo_rec", "/my recordings"), "recordings_dir: must be an absolute path"),
    (LEAST.replace("${ESL_PASSWORD}", "${NOT_SET}"), "${NOT_SET} is not in the environment"),
    (LEAST + "delivery: {account_quota_gb: 10GB}\n", 'delivery.account_quota_gb: must be a number above 0'),
    (LEAST + "delivery: {account_quota_gb: 0}\n", "delivery.account_quota_gb: must be a number above 0"),
    (LEAST + "delivery: {uploads: many}\n", "delivery.uploads: must be an integer from 1 to 256"),
    (LEAST + "delivery: {allow_networks: [10.0.0.0/8, intranet]}\n",
     "delivery.allow_networks.1: must be a network such as 10.0.0.0/8"),
    (LEAST + "delivery: {allow_networks: [10.0.0.1/8]}\n", "delivery.allow_networks.0: must be a network"),
    (LEAST + "api: {public_url: rec.example}\n", "api.public_url: must be an http or https URL"),
    (LEAST + "disk: {alarm_below: 3}\n", 'disk.alarm_below: must be a percentage, such as "10%"'),
    (LEAST + 'disk: {alarm_below: "3%\\n"}\n', "disk.alarm_below: must be a percentage"),
    (LEAST + "switches: [", "is not YAML"),
    ("[1, 2]", "must be an object"),
    (LEAST.replace("[{", "[{name: a, password: x}, {name: a, "), "two switches have one name: a, a"),
])
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, told):
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, text)
    assert told in str(refused.value)


@pytest.mark.parametrize("switches", [
    "{password: hunter2, host: 127.0.0.1}", "[{password: hunter2, host: 1.2.3.4: 8021}]",
    '[{password: "hunter2\'s", host: 1.2.3.4: 8021}]', "[{password: [hunter2]}]", "[{password: [hunter2}]",
    "[[password, hunter2]]", "hunter2", "[{password: !hunter2 x}]", "[{password: !hunter2!x x}]",
    "[{password: *hunter2}]", "[{password: @hunter2}]",
    "[{password: !!int hunter2}]", "[{password: %hunter2}]", "[{password: a, hunter2: {}}]: {hunter2: a}",
    "[{password: 2001-99-99}]"])
def test_a_password_is_in_no_fault(tmp_path, switches):
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, LEAST.replace('[{password: "${ESL_PASSWORD}"}]', switches))
    assert "hunter2" not in str(refused.value) and "2001-99" not in str(refused.value)


def test_what_is_no_yaml_is_said_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match="is not YAML: line 7, column 1: expected the node content, but "
                       "found '<stream end>'"):
        loaded(tmp_path, LEAST + "api: {\n")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "none.yaml")


def test_certificate_and_key_are_beside_the_configuration_and_both_or_neither(tmp_path):
    api = loaded(tmp_path, LEAST + "api: {certificate: tls/api.pem, key: /etc/ssl/api.key}\n").api
    assert (api.certificate, api.key) == (tmp_path / "tls/api.pem", Path("/etc/ssl/api.key"))
    for alone in ("certificate", "key"):
        with pytest.raises(ConfigError, match=r"api\.certificate and api\.key are said together, or neither"):
            loaded(tmp_path, f"{LEAST}api: {{{alone}: api.pem}}\n")
    assert loaded(tmp_path).api.tls() is None


CONTROL = "control: {host: %s, certificate: c.pem, key: c.key, ca: /etc/ca.pem%s}\n"


@pytest.mark.parametrize(("host", "more", "address"), [
    ("192.0.2.7", "", "192.0.2.7:8085"), ("'fd00::7'", ", port: 9", "[fd00::7]:9"),
    ("0.0.0.0", ", address: 'fs1.example:9000'", "fs1.example:9000")])
def test_where_the_engine_is_reached_from_other_hosts(tmp_path, host, more, address):
    control = loaded(tmp_path, LEAST + CONTROL % (host, more)).control
    assert control.address == address
    assert (control.certificate, control.key, control.ca) == (
        tmp_path / "c.pem", tmp_path / "c.key", Path("/etc/ca.pem"))
    assert loaded(tmp_path).control is None


@pytest.mark.parametrize(("said", "told"), [
    (CONTROL % ("0.0.0.0", ""), "control.address is wanted: others cannot connect to 0.0.0.0"),
    (CONTROL % ("'::'", ""), "control.address is wanted"),
    (CONTROL % ("fs1", ", address: fs1.example"), "control.address is no host:port: fs1.example"),
    (CONTROL % ("fs1", ", address: 'https://fs1:1'"), "control.address is no host:port"),
    ("control: {host: fs1}\n", "control.certificate: is missing"),
    (CONTROL % ("fs1", ", port: 0"), "control.port: must be")])
def test_where_an_engine_cannot_be_reached_from_other_hosts(tmp_path, said, told):
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, LEAST + said)
    assert told in str(refused.value)


def test_networks_and_authorities_of_delivery(tmp_path):
    text = LEAST + "delivery: {allow_networks: [10.0.0.0/8, 'fd00::/8'], ca_file: own.pem}\n"
    delivery = loaded(tmp_path, text).delivery
    assert delivery.allow_networks == ("10.0.0.0/8", "fd00::/8") and delivery.ca_file == tmp_path / "own.pem"
    assert (loaded(tmp_path).delivery.allow_networks, loaded(tmp_path).delivery.ca_file) == ((), None)


S3 = """
s3:
  endpoint: https://objects.example:9000
  region: eu-west-1
  access_key: AK
  secret_key: "${S3_SECRET}"
  deliver_to: ["s3://calls/of/{account_id}"]
  library: s3://library
"""


def test_an_object_store_and_its_keys_which_are_not_shown(tmp_path):
    config = loaded(tmp_path, LEAST + S3, S3_SECRET="hunter2")
    assert config.delivery.s3 == S3Settings("https://objects.example:9000", "eu-west-1", "AK", "hunter2",
                                            ("s3://calls/of/{account_id}",), "s3://library")
    assert "hunter2" not in repr(config) and loaded(tmp_path).delivery.s3 is None
    assert loaded(tmp_path, LEAST + "s3: {}\n").delivery.s3 == S3Settings()


def test_an_object_store_needs_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("kazoo_rec.config.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'kazoo_rec[s3]'")):
        loaded(tmp_path, LEAST + "s3: {}\n")
    assert loaded(tmp_path).delivery.s3 is None


@pytest.mark.parametrize(("said", "fault"), [
    ("{access_key: AK}", "together, or neither"), ("{library: 's3://library'}", "need s3.access_key"),
    ("{deliver_to: ['s3://calls']}", "need s3.access_key"), ("{endpoint: 'https://a/b'}", "without a path"),
    ("{endpoint: 'https://me:hunter2@a'}", "without a path"), ("{library: 's3://AK:hunter2@calls'}", "s3://bucket"),
    ("{access_key: a, secret_key: b, library: 's3://Calls'}", "lower-case"),
    ("{access_key: a, secret_key: b, library: 's3://calls/{account_id}'}", "its prefix"),
    ("{access_key: a, secret_key: b, deliver_to: ['s3://calls/../x']}", "its prefix"),
    ("{access_key: a, secret_key: b, library: 's3://calls/library', deliver_to: ['s3://calls/{account_id}']}",
     "may not deliver into the library"), ("{key: a}", "unknown key")])
def test_an_object_store_that_cannot_be(tmp_path, said, fault):
    with pytest.raises(ConfigError, match=re.escape(fault)) as refused:
        loaded(tmp_path, f"{LEAST}s3: {said}\n")
    assert "hunter2" not in str(refused.value)
