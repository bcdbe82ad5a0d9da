"""The text of FreeSWITCH's configuration, put together from the files of a directory.

The rules are those of `preprocess` in switch_xml.c: line by line, `$${name}` filled in, X-PRE-PROCESS obeyed wherever
it stands, even in a comment, and the rest of its line dropped. Nothing outside of the directory is read, no command is
run, nobody is asked: what a command or the network would say is left as `$${name}`.
"""

import io
import os
import re
import stat
from bisect import bisect
from glob import iglob
from itertools import islice
from pathlib import Path

from kazoo_rec.errors import ConfigError

#: Where FreeSWITCH begins.
FIRST = "freeswitch.xml"

#: How deep files include each other, how many files and bytes there may be, and how long a line may become. FreeSWITCH
#: itself ends at 100 deep.
DEPTH, FILES, BYTES, LINE_BYTES = 100, 5000, 32_000_000, 1_000_000

#: A variable as X-PRE-PROCESS fills it in.
VARIABLE = re.compile(r"\$\$\{([^{}]*)\}")
_COMMAND, _CMD, _DATA = (re.compile(name, re.IGNORECASE) for name in ("x-pre-process", "cmd", "data"))
_PASSWORD = re.compile(r'password"\s+value="[^"$]|cmd="set" data="\w*password=[^"$]')
_OLD_COMMAND = re.compile(r"<!--#(include|set|exec)")


class Text:
    """Of one configuration directory, put together when it is made. Blocks. Raises ConfigError where there is no
    freeswitch.xml, or more than all bounds.

    `variables` are those that X-PRE-PROCESS sets, as they are in the end; `made` those that a command, the environment
    or the network gives when FreeSWITCH starts, each with what is asked for it. `unread` says what could not be
    followed, `open_to_all` names files with passwords that everybody on this host may read.
    """

    def __init__(self, directory: Path):
        self._directory = directory.resolve()
        self.variables: dict[str, str] = {}
        self.made: dict[str, str] = {}
        self.unread: list[str] = []
        self.open_to_all: list[str] = []
        self._written, self._lines = io.StringIO(), 0
        #: (first line of the whole, file, line in it) of each run of lines from one file
        self._runs: list[tuple[int, str, int]] = []
        self._last = ("", 0)
        self._files, self._bytes = 0, 0
        self._open = self._directory.is_dir() and bool(os.stat(self._directory).st_mode & stat.S_IXOTH)
        first = (self._directory / FIRST).resolve()
        if not first.is_relative_to(self._directory):
            raise ConfigError(f"{FIRST} leads out of {self._directory}", hint="name the directory that it is in")
        self._file(first, 0)

    def whole(self) -> str:
        return self._written.getvalue()

    def place(self, line: int) -> str:
        """`file:line` of a line of the whole, which begins with 1."""
        if not self._runs:
            return FIRST
        first, name, number = self._runs[bisect(self._runs, line, key=lambda run: run[0]) - 1]
        return f"{name}:{number + line - first}"

    def made_by(self, text: str) -> str | None:
        """What gives a part of `text` when FreeSWITCH starts, None where it is known here."""
        return next((self.made[name] for name in VARIABLE.findall(text) if name in self.made), None)

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
            self.unread.append(f"{name} ({refused.strerror or refused})")
            return
        if self._open and mode & stat.S_IROTH and _PASSWORD.search(text):
            self.open_to_all.append(name)
        for number, line in enumerate(text.split("\n"), 1):
            if "<include>" not in line and "</include>" not in line and "<?" not in line:
                self._line(self._expanded(line, name, number), path, name, number, depth)

    def _text(self, path):
        # A pipe or a device that is named *.xml must not hold us up.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
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
        expanded = VARIABLE.sub(lambda found: self.variables.get(found[1], found[0]), line)
        if len(expanded) > LINE_BYTES:
            raise ConfigError(f"{name}:{number} has more than {LINE_BYTES} characters once its variables are filled in")
        self._count(len(expanded), name)
        return expanded

    def _line(self, line, path, name, number, depth):
        found = _COMMAND.search(line)
        if found is None:
            if _OLD_COMMAND.search(line):
                self.unread.append(f"{name}:{number} (the old form of X-PRE-PROCESS)")
            self._write(line, name, number)
        elif line[:found.start()].endswith("<"):
            command, at = _quoted(line, _CMD, found.end())
            data, at = _quoted(line, _DATA, at)
            if at > 0:
                self._obey(command.lower(), data, path, f"{name}:{number}", depth)

    def _write(self, line, name, number):
        self._lines += 1
        self._written.write(f"{line}\n")
        if self._last != (name, number - 1):
            self._runs.append((self._lines, name, number))
        self._last = (name, number)

    def _obey(self, command, data, path, place, depth):
        variable, _, value = (part.strip(" ") for part in data.partition("="))
        if command == "set" and "=" in data:
            self.variables[variable] = value
            self.made.pop(variable, None)
        elif command in ("exec-set", "stun-set", "env-set"):
            self.variables.pop(variable, None)
            self.made[variable] = value
        elif command == "include":
            self._include(data, path, place, depth)
        elif command == "exec":
            self.unread.append(f"{place} (what a command says)")

    def _include(self, pattern, path, place, depth):
        pattern = os.path.normpath(path.parent / pattern)
        if "$${" in pattern or not pattern.startswith(f"{self._directory}{os.sep}"):
            self.unread.append(f"{place} ({pattern} is outside of this directory)")
            return
        for found in sorted(islice(iglob(pattern), FILES)):
            real = Path(found).resolve()
            if real.is_relative_to(self._directory):
                self._file(real, depth + 1)
            else:
                self.unread.append(f"{place} ({found} leads out of this directory)")


def _quoted(line, word, at):
    """What stands in quotes behind `word`, from `at` on, as FreeSWITCH looks for it, and where it ends; -1 where there
    is none."""
    found = word.search(line, at) if at >= 0 else None
    at = line.find('"', line.find("=", found.end())) if found and "=" in line[found.end():] else -1
    end = line.find('"', at + 1) if at >= 0 else -1
    return line[at + 1:end] if end >= 0 else "", end
