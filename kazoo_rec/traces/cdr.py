"""Call detail records of FreeSWITCH: a leg each, as mod_json_cdr and mod_cdr_csv write them when it has ended.

JSON has every variable and, in `callflow`, what the leg was called first: objects one behind the other, a line each or
not, in a list or not. CSV has what its template says, in the order of the template; a line of names may come first,
else it is COLUMNS, the template `kazoo_rec` of freeswitch-conf/autoload_configs/cdr_csv.conf.xml. mod_cdr_csv puts
text into a line as it is: a caller's quote or newline spoils its line, and might forge one, so that JSON is to be
preferred, and a line that has not as many columns as the others is no leg. Times are microseconds since the epoch:
no stamp without a zone is read.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import unquote

from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.calls.midcall import as_created
from kazoo_rec.calls.registrations import Registrations
from kazoo_rec.errors import CdrUnreadable
from kazoo_rec.switch.events import Event

#: What must be known of a leg to decide on it.
NEEDED = ("uuid", "originator", "direction", "channel_name", "context", "start_uepoch", "answer_uepoch",
          "bridge_uepoch", "end_uepoch", "signal_bond", "sofia_profile_name", "sip_gateway_name", "sip_authorized",
          "sip_auth_username", "sip_auth_realm", "sip_req_user", "dialed_user", "dialed_domain", "destination_number")

#: What is looked at besides, where it is there.
ALSO = ("bridge_uuid", "presence_id", "sip_acl_authed_by", "sip_acl_token", "sip_req_uri", "sip_destination_url",
        "other_loopback_leg_uuid", "sip_from_uri", "sip_to_uri", "caller_id_name", "caller_id_number", "kazoo_rec",
        "ecallmgr_Inception")

#: The template `kazoo_rec`.
COLUMNS = (*NEEDED, "presence_id", "sip_acl_authed_by", "sip_acl_token", "sip_destination_url",
           "other_loopback_leg_uuid", "kazoo_rec", "kazoo_rec_account_id", "kazoo_rec_user_id", "kazoo_rec_device_id",
           "kazoo_rec_network", "kazoo_rec_leg_account_id", "kazoo_rec_leg_user_id", "kazoo_rec_leg_device_id",
           "kazoo_rec_leg_network")

#: Characters of one leg, and of what is read at once.
LARGEST, CHUNK = 4 * 1024 * 1024, 256 * 1024

#: Characters of a text of a leg that are kept.
TEXT_LIMIT = 1024

_JSON = re.compile(r"^[\ufeff \t]*[\[{]", re.MULTILINE)
_BETWEEN = " \t\r\n,[]\ufeff"
_DECODER = json.JSONDecoder()
_NOBODY = Registrations()


class Detail(NamedTuple):
    """One leg. Times: microseconds since the epoch, 0 where it did not happen; `partner` is the leg that it was bridged
    to last. `created` is its CHANNEL_CREATE as far as the record tells."""

    uuid: str
    created_us: int
    answered_us: int
    bridged_us: int
    ended_us: int
    partner: str
    originator: str
    created: Event


class Details:
    """The legs of one file, read as they are asked for; `unreadable` is how many lines or objects were none.

    Raises CdrUnreadable where the file cannot be opened, or its columns are not enough to decide by.
    """

    def __init__(self, file: Path, rules: IdentityRules, columns: Iterable[str] | None = None):
        self.unreadable = 0
        self._file, self._columns = file, tuple(columns or ())
        self._names = frozenset((*NEEDED, *ALSO, *(
            name for names in (rules.account, rules.user, rules.device, rules.network, rules.leg_account,
                               rules.leg_user, rules.leg_device, rules.leg_network) for name in names)))

    def __iter__(self) -> Iterator[Detail]:
        try:
            # Not "surrogateescape": what is no UTF-8 is printed, and is of no use to decide by.
            with open(self._file, encoding="utf-8", errors="replace", newline="") as text:
                is_json = _JSON.search(text.read(CHUNK))
                text.seek(0)
                for found in self._json(text) if is_json else self._csv(text):
                    detail = _detail(found)
                    if detail is None:
                        self.unreadable += 1
                    else:
                        yield detail
        except OSError as refused:
            raise CdrUnreadable(f"cannot read {self._file.name}", refused.strerror or "") from refused

    def _json(self, text: TextIO):
        rest = ""
        while chunk := text.read(CHUNK):
            rest += chunk
            at = 0
            while True:
                while at < len(rest) and rest[at] in _BETWEEN:
                    at += 1
                if at == len(rest):
                    break
                try:
                    found, end = _DECODER.raw_decode(rest, at)
                except (ValueError, RecursionError):
                    end = self._behind_broken(rest, at)
                    if end is None:
                        break
                    found = None
                at = end
                yield self._of_json(found)
            rest = rest[at:]
        if rest.strip(_BETWEEN):
            self.unreadable += 1

    @staticmethod
    def _behind_broken(rest, at):
        """Where to go on behind what is no JSON: the next line that begins an object. None while more may make it one,
        which nothing but its length excludes."""
        end = rest.find("\n{", at)
        return len(rest) if end < 0 and len(rest) - at > LARGEST else end + 1 if end >= 0 else None

    def _of_json(self, found):
        if not isinstance(found, dict) or not isinstance(found.get("variables"), dict):
            return None
        said = found["variables"]
        encoded = "%20" in str(said.get("start_stamp", ""))  # "2026-11-21%2017%3A58%3A49": `encode-values`
        named = {name: str(said[name]) for name in self._names if name in said}
        if encoded:
            named = {name: unquote(value, errors="replace") for name, value in named.items()}
        profiles = found.get("callflow")
        profile = profiles[-1].get("caller_profile") if isinstance(profiles, list) and profiles and isinstance(
            profiles[-1], dict) else None
        if isinstance(profile, dict):  # the first of all: a transfer puts another before it
            named |= {name: str(profile[name]) for name in ("context", "destination_number", "caller_id_name",
                                                            "caller_id_number") if profile.get(name)}
        return named

    def _csv(self, text: TextIO):
        columns = self._columns or COLUMNS
        first, fitting, others = True, 0, 0
        while line := text.readline(LARGEST):
            cells = _cells(line)
            if not cells:
                continue
            if first:
                first = False
                header = tuple(cell.strip() for cell in cells)
                if not self._columns and "uuid" in header:
                    columns = header
                missing = [name for name in NEEDED if name not in columns]
                if missing:
                    raise _too_little(f"no column {', '.join(missing)}")
                if header == columns:
                    continue
            if len(cells) != len(columns):
                others += 1
                yield None
                continue
            fitting += 1
            yield {name: value for name, value in zip(columns, cells, strict=True) if name in self._names}
        if others and not fitting:
            raise _too_little(f"no line of {self._file.name} has {len(columns)} columns")


def _too_little(detail):
    hint = ("the template `kazoo_rec` of freeswitch-conf/autoload_configs/cdr_csv.conf.xml has all, and mod_json_cdr "
            "has; --columns names those of another template")
    return CdrUnreadable("these call detail records do not tell enough to decide by", detail, hint)


def _cells(line):
    try:
        return next(csv.reader([line.strip("\r\n")]), [])
    except csv.Error:
        return [line]


def _detail(named):
    if named is None or not named.get("uuid") or named.get("direction") not in ("inbound", "outbound"):
        return None
    times = [named.get(f"{what}_uepoch", "") for what in ("start", "answer", "bridge", "end")]
    if not all(time.isdecimal() and time.isascii() and len(time) <= 17 for time in times) or not int(times[0]):
        return None
    named = {name: value[:TEXT_LIMIT].encode("utf-8", "replace").decode() for name, value in named.items()}
    get = named.get
    headers = {
        "Event-Name": "CHANNEL_CREATE", "Unique-ID": named["uuid"], "Call-Direction": named["direction"],
        "Channel-Name": get("channel_name", ""), "Caller-Context": get("context", ""),
        "Caller-Destination-Number": get("destination_number", ""), "Channel-Presence-ID": get("presence_id", ""),
        "Caller-Caller-ID-Name": get("caller_id_name", ""), "Caller-Caller-ID-Number": get("caller_id_number", ""),
        **{f"variable_{name}": value for name, value in named.items()}}
    created, answered, bridged, ended = map(int, times)
    return Detail(named["uuid"], created, answered, bridged, max(ended, created, answered, bridged),
                  get("signal_bond") or get("bridge_uuid") or "", get("originator", ""),
                  as_created(Event(headers), _NOBODY))
