"""An event of FreeSWITCH, read where and when a header is wanted."""

import json
import re
from typing import NamedTuple

import orjson

from kazoo_rec.errors import ProtocolBroken

#: In JSON as cJSON writes it: without blanks, and with a backslash before a quote inside of a text.
_NAME = re.compile(rb'[{,]"Event-Name":"([^"]*)"')
_SUBCLASS = re.compile(rb'[{,]"Event-Subclass":"([^"]*)"')


class Event(NamedTuple):
    """A view of one `event json` body; nothing is copied or converted before it is asked for.

    A value is text, or a list of texts where the switch has an array (a caller named `ARRAY::a|:b` makes one).
    Bytes that are not UTF-8 are lone surrogates (`surrogateescape`): encode them the same way, or escape them,
    before they go to a database or a terminal.
    """

    headers: dict[str, str | list[str]]

    def get(self, header: str, default: str = "") -> str:
        """The text of `header`, the first of a list, else `default`: never anything but text."""
        value = self.headers.get(header, default)
        if isinstance(value, str):
            return value
        return next(iter(self.all(header)), default)

    def all(self, header: str) -> list[str]:
        """Every text of `header`, in order; empty where it is absent."""
        value = self.headers.get(header, [])
        return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]

    def variable(self, name: str, default: str = "") -> str:
        """A channel variable as the event shows it."""
        return self.get(f"variable_{name}", default)

    @property
    def name(self) -> str:
        return self.get("Event-Name")

    @property
    def subclass(self) -> str:
        """Of a CUSTOM event: `sofia::register`, `conference::maintenance`."""
        return self.get("Event-Subclass")

    @property
    def uuid(self) -> str:
        """The leg; empty where the event is of none (HEARTBEAT, a conference's recording)."""
        return self.get("Unique-ID")

    @property
    def core_uuid(self) -> str:
        """The running switch process: another one after each restart."""
        return self.get("Core-UUID")

    @property
    def sequence(self) -> int:
        """Counts all events of the core, those not subscribed to as well; neighbours may arrive swapped."""
        return self._integer("Event-Sequence")

    @property
    def time_us(self) -> int:
        """When it happened, microseconds since 1970 by the switch's clock; 0 where it does not say."""
        return self._integer("Event-Date-Timestamp")

    def _integer(self, header: str) -> int:
        try:
            return int(self.get(header, "0"))
        except ValueError:
            return 0


def parse(body: bytes) -> Event:
    """The event in a `text/event-json` body, or what a command answers `as json`.

    FreeSWITCH escapes control characters and passes what is not UTF-8 as it came (cJSON).
    Raises ProtocolBroken for what is not a JSON object.
    """
    try:
        headers = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            headers = json.loads(body.decode("utf-8", "surrogateescape"), strict=False)
        except (ValueError, RecursionError) as fault:
            raise ProtocolBroken("FreeSWITCH sent what is not JSON", str(fault)) from None
    if not isinstance(headers, dict):
        raise ProtocolBroken("FreeSWITCH sent JSON that is not an object")
    return Event(headers)


def event_name(body: bytes) -> bytes | None:
    """An event's name, or its subclass where it is CUSTOM, without parsing; None where FreeSWITCH does not write it."""
    name = _NAME.search(body)
    if name and name[1] == b"CUSTOM":
        name = _SUBCLASS.search(body)
    return name and name[1]
