"""A list of the switch `as json`, read row by row as it arrives: of 10,000 legs it has 10 MB, and seven times as much
once it is parsed as a whole."""

import re
from collections.abc import Callable

from kazoo_rec.errors import ProtocolBroken, SwitchError
from kazoo_rec.switch.events import Event, parse
from kazoo_rec.switch.replies import check

#: As cJSON writes it: `{"row_count":2,"rows":[{…},{…}]}`, and `{"row_count": 0}` of nothing.
_BEGIN = re.compile(rb'\{"row_count":\d+,"rows":\[')
_NOTHING = re.compile(rb'\{"row_count":\s*0\}\s*')
#: One row: flat, all its values texts.
_ROW = re.compile(rb'\{(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+\}', re.DOTALL)
_END = re.compile(rb"\]\}\s*")

#: Of the longest row; it has a few columns that a caller chose, which FreeSWITCH cuts at 1,024 characters.
LARGEST_ROW_BYTES = 256 * 1024


class Rows:
    """`feed(bytes)` takes the reply as it arrives and never raises: it is the connection's reader that calls it.
    `take(row)` is told of each row that has a text in its column `key`; it must not wait."""

    def __init__(self, key: str, take: Callable[[Event], object]):
        self._key, self._take, self._rest = key, take, b""
        self._begun, self._fault = False, None

    def feed(self, part: bytes):
        if self._fault is not None:
            return
        self._rest += part
        try:
            self._read()
        except SwitchError as fault:
            self._fault, self._rest = fault, b""

    def end(self):
        """The reply is whole. Raises CommandFailed where it is a refusal, ProtocolBroken where it is no such list."""
        if self._fault is not None:
            raise self._fault
        if not self._begun:
            check(self._rest[:200].decode("utf-8", "replace"))
        if not (_END if self._begun else _NOTHING).fullmatch(self._rest):
            raise ProtocolBroken("a list of the switch is not what it should be")

    def _read(self):
        at = 0
        if not self._begun:
            begun = _BEGIN.match(self._rest)
            if begun is None:
                self._bound()
                return
            self._begun, at = True, begun.end()
        while found := _ROW.match(self._rest, at + self._rest.startswith(b",", at)):
            at = found.end()
            row = parse(found[0])
            if row.get(self._key):
                self._take(row)
        self._rest = self._rest[at:]
        self._bound()

    def _bound(self):
        if len(self._rest) > LARGEST_ROW_BYTES:
            raise ProtocolBroken("a list of the switch has an impossible row")
