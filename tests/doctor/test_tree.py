"""What FreeSWITCH would read, and no more: a configuration directory may be anybody's."""

import os

import pytest

from kazoo_rec.doctor import preprocess, tree
from kazoo_rec.errors import ConfigError


@pytest.fixture
def conf(tmp_path):
    """Writes files of a configuration; `freeswitch.xml` includes first.xml."""
    directory = tmp_path / "freeswitch"
    directory.mkdir()

    def write(**files):
        for name, content in {"freeswitch": document(include("first.xml")), **files}.items():
            file = directory / f"{name.replace('__', '/')}.xml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(content)
        return directory
    return write


def document(*lines):
    return "\n".join(['<?xml version="1.0"?>', '<document type="freeswitch/xml">', *lines, "</document>"])


def include(pattern):
    return command("include", pattern)


def command(name, data):
    return f'<X-PRE-PROCESS cmd="{name}" data="{data}"/>'


def values(read):
    return [one.get("value") for one in read.root.iter("param")]


def param(value):
    return f'<param name="it" value="{value}"/>'


def test_files_are_put_together_in_order_with_their_variables(conf):
    read = tree.read(conf(first="\n".join(["<include>", command("set", "a = 1"), param("$${a}"), include("more/*.xml"),
                                           param("$${a}"), "</include>"]),
                          more__b=param("b"), more__a="\n".join([param("$${a}$${unknown}"), command("set", "a=2")])))
    assert values(read) == ["1", "1$${unknown}", "b", "2"]
    assert read.text.variables == {"a": "2"} and read.text.unread == []


def test_a_command_in_a_comment_is_obeyed_and_the_rest_of_its_line_dropped(conf):
    """As FreeSWITCH does, to the surprise of many."""
    read = tree.read(conf(first=f"<!-- {command('set', 'a=1')} -->\n{param('$${a}')} <!-- -- -->"))
    assert values(read) == ["1"]


def test_no_command_is_run_and_nobody_is_asked(conf, tmp_path):
    read = tree.read(conf(first="\n".join([
        command("set", "b=1"), command("exec-set", f"a=touch {tmp_path}/run"), command("env-set", "b=$HOME"),
        command("stun-set", "c=stun:stun.example"), command("exec", f"touch {tmp_path}/run"), param("$${a}$${b}")])))
    assert values(read) == ["$${a}$${b}"]
    assert set(read.text.made) == {"a", "b", "c"}
    assert read.text.made_by("x$${b}") == "$HOME" and read.text.made_by("1234") is None
    assert read.text.unread == ["first.xml:5 (what a command says)"] and not (tmp_path / "run").exists()


def test_nothing_outside_of_the_directory_is_read(conf, tmp_path):
    (tmp_path / "secret.xml").write_text(param("secret"))
    directory = conf(first="\n".join([include("../secret.xml"), include(f"{tmp_path}/secret.xml"),
                                      include("more/../../secret.xml"), include("$${somewhere}/*.xml"),
                                      include("link.xml"), include("below/secret.xml"), param("mine")]))
    (directory / "link.xml").symlink_to(tmp_path / "secret.xml")
    (directory / "below").symlink_to(tmp_path)
    read = tree.read(directory)
    assert values(read) == ["mine"] and len(read.text.unread) == 6


def test_a_configuration_that_is_elsewhere_is_not_read(conf, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "freeswitch.xml").symlink_to(conf(first="") / "freeswitch.xml")
    with pytest.raises(ConfigError, match="leads out of"):
        tree.read(tmp_path / "elsewhere")


def test_a_link_within_the_directory_is_followed(conf):
    directory = conf(first=include("enabled/*.xml"), available__a=param("a"))
    (directory / "enabled").mkdir()
    (directory / "enabled" / "a.xml").symlink_to("../available/a.xml")
    assert values(tree.read(directory)) == ["a"]


def test_a_pipe_holds_nobody_up(conf):
    directory = conf(first=include("pipe.xml") + "\n" + include("missing.xml"))
    os.mkfifo(directory / "pipe.xml")
    assert tree.read(directory).text.unread == ["pipe.xml (it is no file)"]


@pytest.mark.parametrize("said", [
    {"first": include("first.xml")},
    {"first": include("first.xml") + "\n" + include("first.xml")},
    {"first": "\n".join([command("set", "a=0123456789"), *[command("set", "a=" + "$${a}" * 10)] * 12, param("$${a}")])},
    {"first": "<a>" * 101 + "</a>" * 101},
    {"freeswitch": '<!DOCTYPE document [<!ENTITY a "aaaa">]>\n<document>&a;</document>'},
    {"freeswitch": '<!DOCTYPE document SYSTEM "file:///etc/passwd">\n<document/>'},
    {"first": "&a;"}, {"first": "<param"}, {"freeswitch": ""}, {"first": "<!--" * 3},
], ids=str)
def test_what_is_beyond_all_bounds_or_broken_is_an_error_of_ours(conf, said):
    with pytest.raises(ConfigError):
        tree.read(conf(**{"first": "", **said}))


def test_a_fault_is_told_with_file_and_line(conf):
    more = "\n".join(["<include>", "<param/>", "<param", "</include>", "<param/>"])
    directory = conf(first="<param/>\n" + include("more.xml"), more=more)
    with pytest.raises(ConfigError, match=r"more\.xml:5"):
        tree.read(directory)


def test_more_than_a_configuration_is_not_read_to_its_end(conf, monkeypatch):
    monkeypatch.setattr(preprocess, "BYTES", 1000)
    with pytest.raises(ConfigError, match="more than a configuration"):
        tree.read(conf(first=param("x" * 900)))


def test_a_directory_without_freeswitch_xml_is_none(tmp_path):
    with pytest.raises(ConfigError, match=r"freeswitch\.xml cannot be read"):
        tree.read(tmp_path)
