"""A directory of FreeSWITCH's configuration as FreeSWITCH reads it: many files, put together to one XML document.

The rules are those of `preprocess` in switch_xml.c: line by line, `$${name}` filled in, X-PRE-PROCESS obeyed wherever
it stands, even in a comment, and the rest of its line dropped. Nothing outside of the directory is read, no command is
run, nobody is asked: what a command or the network would say is left as `$${name}`.
"""

import os
import re
import stat
from dataclasses import dataclass, field
from glob import iglob
from itertools import islice
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from kazoo_rec.errors import ConfigError

#: Where FreeSWITCH begins.
FIRST = "freeswitch.xml"

#: How deep files include each other and elements are nested, how many files and bytes there may be, and how long a
#: line may become. FreeSWITCH itself ends at 100 deep.
DEPTH, FILES, BYTES, LINE_BYTES = 100, 5000, 64_000_000, 1_000_000

#: A variable as X-PRE-PROCESS fills it in.
VARIABLE = re.compile(r"\$\$\{([^{}]*)\}")
_COMMAND = re.compile(r'cmd[^="]*="([^"]*)".*?data[^="]*="([^"]*)"', re.IGNORECASE | re.DOTALL)
_PASSWORD = re.compile(r'password"\s+value="[^"$]|cmd="set" data="\w*password=[^"$]')
_OLD_COMMAND = re.compile(r"<!--#(include|set|exec)")


@dataclass
class Tree:
    """What was read.

    `variables` are those that X-PRE-PROCESS sets, as they are in the end; `made` those that a command, the environment
    or the network gives when FreeSWITCH starts, each with what is asked for it. `unread` says what could not be
    followed, `open_to_all` names files with passwords that everybody on this host may read.
    """

    root: Element | None = None
    variables: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    open_to_all: list[str] = field(default_factory=list)

    def made_by(self, text: str) -> str | None:
        """What gives a part of `text` when FreeSWITCH starts, None where it is known here."""
        return next((self.made[name] for name in VARIABLE.findall(text) if name in self.made), None)

    def section(self, name: str) -> Element:
        """The first of that name, which alone counts; an empty one where there is none."""
        found = (one for one in self.root.iter("section") if one.get("name") == name)
        return next(found, Element("section"))

    def configuration(self, name: str) -> Element | None:
        """The first of that name: FreeSWITCH looks at no other."""
        return next((one for one in self.section("configuration") if one.get("name") == name), None)


def read(directory: Path) -> Tree:
    """Puts the configuration together. Blocks. Raises ConfigError, with file and line, where it is no XML, has a DTD,
    or is beyond all bounds."""
    return _Reader(directory).read()


class _Reader:
    def __init__(self, directory):
        self._directory = directory.resolve()
        self._tree = Tree()
        self._lines, self._places = [], []
        self._files, self._bytes, self._open = 0, 0, False

    def read(self):
        self._open = bool(os.stat(self._directory).st_mode & stat.S_IXOTH) if self._directory.is_dir() else False
        self._file(self._directory / FIRST, 0)
        text = _without_comments("".join(self._lines))
        builder, depth = TreeBuilder(), 0
        parser = expat.ParserCreate()

        def start(name, attributes):
            nonlocal depth
            depth += 1
            if depth > DEPTH:
                raise self._broken(parser.CurrentLineNumber, f"elements are nested more than {DEPTH} deep")
            builder.start(name, attributes)

        def end(name):
            nonlocal depth
            depth -= 1
            builder.end(name)

        def doctype(*_):
            raise self._broken(parser.CurrentLineNumber, "it has a DTD, which FreeSWITCH has no use for")

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.StartDoctypeDeclHandler = doctype
        try:
            parser.Parse(text.encode("utf-8", "replace"), True)
        except expat.ExpatError as error:
            raise self._broken(error.lineno, expat.ErrorString(error.code)) from error
        self._tree.root = builder.close()
        return self._tree

    def _file(self, path, depth):
        name = str(path.relative_to(self._directory))
        self._files += 1
        if depth > DEPTH or self._files > FILES:
            raise ConfigError(f"{name} is included too often", f"more than {FILES} files, or {DEPTH} deep",
                              "does a file include itself?")
        try:
            text, mode = self._text(path)
        except OSError as refused:
            if not depth:
                raise ConfigError(f"{name} cannot be read", refused.strerror or str(refused),
                                  "the directory that has freeswitch.xml, such as /etc/freeswitch") from refused
            self._tree.unread.append(f"{name} ({refused.strerror or refused})")
            return
        if self._open and mode & stat.S_IROTH and _PASSWORD.search(text):
            self._tree.open_to_all.append(name)
        for number, line in enumerate(text.split("\n"), 1):
            if "<include>" not in line and "</include>" not in line and "<?" not in line:
                self._line(self._expanded(line, name, number), path, name, number, depth)

    def _text(self, path):
        # A pipe or a device that is named *.xml must not hold us up.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("it is no file")
            content = file.read(BYTES - self._bytes + 1)
        self._count(len(content), path.name)
        return content.decode("utf-8", "replace"), status.st_mode

    def _count(self, size, name):
        self._bytes += size
        if self._bytes > BYTES:
            raise ConfigError("this is more than a configuration", f"{BYTES // 1_000_000} MB were read up to {name}",
                              "is this the directory of freeswitch.xml?")

    def _expanded(self, line, name, number):
        if "$${" not in line:
            return line
        expanded = VARIABLE.sub(lambda found: self._tree.variables.get(found[1], found[0]), line)
        if len(expanded) > LINE_BYTES:
            raise ConfigError(f"{name}:{number} has more than {LINE_BYTES} characters once its variables are filled in")
        self._count(len(expanded), name)
        return expanded

    def _line(self, line, path, name, number, depth):
        at = line.lower().find("x-pre-process")
        if at < 0:
            if _OLD_COMMAND.search(line):
                self._tree.unread.append(f"{name}:{number} (the old form of X-PRE-PROCESS)")
            self._lines.append(f"{line}\n")
            self._places.append(f"{name}:{number}")
        elif line[at - 1:at] == "<" and (command := _COMMAND.search(line, at)):
            self._obey(command[1].lower(), command[2], path, f"{name}:{number}", depth)

    def _obey(self, command, data, path, place, depth):
        variable, _, value = (part.strip(" ") for part in data.partition("="))
        if command == "set" and "=" in data:
            self._tree.variables[variable] = value
            self._tree.made.pop(variable, None)
        elif command in ("exec-set", "stun-set", "env-set"):
            self._tree.variables.pop(variable, None)
            self._tree.made[variable] = value
        elif command == "include":
            self._include(data, path, place, depth)
        elif command == "exec":
            self._tree.unread.append(f"{place} (what a command says)")

    def _include(self, pattern, path, place, depth):
        pattern = os.path.normpath(path.parent / pattern)
        if "$${" in pattern or not pattern.startswith(f"{self._directory}{os.sep}"):
            self._tree.unread.append(f"{place} ({pattern} is outside of this directory)")
            return
        for found in sorted(islice(iglob(pattern), FILES)):
            real = Path(found).resolve()
            if real.is_relative_to(self._directory):
                self._file(real, depth + 1)
            else:
                self._tree.unread.append(f"{place} ({found} leads out of this directory)")

    def _broken(self, line, said):
        place = self._places[line - 1] if 0 < line <= len(self._places) else "the end"
        return ConfigError(f"the configuration is broken at {place}", said,
                           "FreeSWITCH reads less of it than is written there, if anything")


def _without_comments(text):
    """FreeSWITCH's parser takes whatever stands between `<!--` and `-->`, XML does not."""
    kept, at = [], 0
    while (begun := text.find("<!--", at)) >= 0 and (ended := text.find("-->", begun)) >= 0:
        kept += text[at:begun], "\n" * text.count("\n", begun, ended)
        at = ended + 3
    return "".join((*kept, text[at:]))
