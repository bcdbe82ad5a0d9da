"""Every exception of kazoo_rec: what went wrong, where, and what to do about it."""


class KazooRecError(Exception):
    """Root of them all: `message` for the first line, `detail` for what was seen, `hint` for what to do. A command that
    it ends has its `exit_code`."""

    exit_code = 1

    def __init__(self, message: str, detail: str = "", hint: str = ""):
        super().__init__(message)
        self.message, self.detail, self.hint = message, detail, hint

    def __str__(self):
        detail, hint = f": {self.detail}" if self.detail else "", f" ({self.hint})" if self.hint else ""
        return f"{self.message}{detail}{hint}"


class ConfigError(KazooRecError):
    """The configuration file cannot be obeyed."""


class AlreadyActs(ConfigError):
    """Another engine acts for the same switch, and goes on: to start this one again would not change that."""

    exit_code = 78  # EX_CONFIG of sysexits.h


class DocumentError(KazooRecError):
    """Documents break their schema; `faults` has every one as {"path", "message"}."""

    def __init__(self, message: str, faults: list[dict], hint: str = ""):
        detail = "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults)
        super().__init__(message, detail, hint)
        self.faults = faults


class DocumentChanged(KazooRecError):
    """Somebody else changed the document meanwhile."""

    def __init__(self, document_id: str):
        super().__init__("the document was changed meanwhile", document_id, "read it again, then change it")


class DocumentFromFile(KazooRecError):
    """The document came from a file, which alone may change it; `file` is its name in the directory of documents."""

    def __init__(self, file: str):
        super().__init__("the document comes from a file", file, "change the file, then send SIGHUP")
        self.file = file


class SwitchError(KazooRecError):
    """Something between us and FreeSWITCH failed."""


class NotConnected(SwitchError):
    """There is no connection, or it ended while a command waited for its reply."""


class AccessRefused(SwitchError):
    """FreeSWITCH refused the password or, by ACL, the address."""


class ProtocolBroken(SwitchError):
    """The peer sent what is not the event socket protocol; the connection is useless from here on."""


class CommandTimeout(SwitchError):
    """FreeSWITCH did not answer a command in time."""


class CommandOvertaken(SwitchError):
    """A command was not sent: while it waited, what it was for has passed."""


class CommandRefused(SwitchError):
    """A value cannot be part of a command (line break, blank, separator); nothing was sent."""


class CommandFailed(SwitchError):
    """FreeSWITCH answered -ERR; `reply` is its text."""

    def __init__(self, message: str, reply: str):
        super().__init__(message, reply)
        self.reply = reply


class LegGone(SwitchError):
    """The leg hung up, or its socket ended, before it had done what it was told."""


class EngineSilent(KazooRecError):
    """Engines, by their `names`, that do not answer or cannot; `sent`: an order was on its way to them."""

    def __init__(self, names: list[str], detail: str = "", sent: bool = False):
        super().__init__(f"engine {', '.join(names)} does not answer", detail,
                         "does it run, and can this host connect to its control address?")
        self.names, self.sent = names, sent


class WrongState(KazooRecError):
    """An order that cannot be carried out as things stand."""


class TraceError(KazooRecError):
    """A file is not the trace that it should be, or cannot be written."""


class StoreError(KazooRecError):
    """The database cannot be used as it is."""


class CdrUnreadable(KazooRecError):
    """Call detail records that cannot be read, or that do not tell enough."""


class MediaError(KazooRecError):
    """A file is not the audio that it should be."""


class LibraryError(KazooRecError):
    """The library does not do what it was asked for."""


class TargetError(KazooRecError):
    """A delivery URL that cannot be delivered to."""


class TargetRefused(TargetError):
    """A host whose address the operator does not allow. Says no address: whoever made the URL would learn the names of
    the operator's network by it."""

    def __init__(self, host: str):
        super().__init__("the operator does not allow connections to this host's address", host)
