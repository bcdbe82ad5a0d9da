"""What the documents of an account, a user and a device say about recording, setting by setting.

A `call_recording` is {any, inbound, outbound} × {any, onnet, offnet} → settings; see Kazoo's user guide
"Call Recording". It is compiled once into a Grid of the four cells that a call can fall into. Documents
have passed their schema; a value of null, like an absent one, says nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType

DIRECTIONS = ("inbound", "outbound")
NETWORKS = ("onnet", "offnet")

#: What the channel variable `kazoo_rec` may ask of a leg: keep it out, or record it.
OVERRIDES = ("no", "force")

#: Every setting, with its value where no document says one. `time_limit` and `record_min_sec` are
#: seconds, `record_sample_rate` is Hz (None: the switch's own). `announce` is one setting with all that is in it:
#: no document takes `required` from another's announcement; an empty one announces nothing.
DEFAULTS: Mapping[str, object] = MappingProxyType({
    "enabled": False,
    "format": "mp3",
    "time_limit": 10800,
    "record_min_sec": 0,
    "record_on_answer": False,
    "record_on_bridge": False,
    "record_sample_rate": None,
    "url": None,
    "method": "put",
    "channels": "mono",
    "track": "both",
    "announce": None,
    "status_callback": None,
})


@dataclass(frozen=True, slots=True)
class Cell:
    """What holds for one direction and network: each key of DEFAULTS in `settings`, and in `origin` who said it
    ("device", "user", "account.endpoint", "account", "default" or "override").

    `said_in` is the place that settled `enabled` as it is written, such as "device call_recording.any.offnet"
    ("" where nobody did); `silent` are the stronger places, which said nothing of it. `allow_override`: the account
    lets a channel's `kazoo_rec` decide. `denied` is the one that asked for the contrary and was not let.
    """

    direction: str
    network: str
    enabled: bool
    settings: Mapping[str, object]
    origin: Mapping[str, str]
    said_in: str
    silent: tuple[str, ...]
    allow_override: bool = False
    denied: str = ""

    def overridden(self, override: str | None) -> "Cell":
        """As this cell is for a leg whose channel says `override`, one of OVERRIDES: itself, but for what that changes
        where the account allows it. A forced recording has the cell's other settings."""
        enabled = override == "force"
        if override is None or enabled == self.enabled:
            return self
        if not self.allow_override:
            return replace(self, denied=override)
        return replace(self, enabled=enabled, settings=MappingProxyType({**self.settings, "enabled": enabled}),
                       origin=MappingProxyType({**self.origin, "enabled": "override"}), silent=(),
                       said_in=f"the channel's kazoo_rec={override}, which the account allows,")


#: (direction, network) → Cell, all four.
Grid = Mapping[tuple[str, str], Cell]


@dataclass(frozen=True, slots=True)
class _Source:
    """One document's word: `where` names what `tree` is (None: not there), `one_cell` where that is no tree but
    settings for every call alike."""

    origin: str
    where: str
    tree: Mapping | None
    one_cell: bool = False

    def cells(self, direction: str, network: str) -> list[tuple[str, Mapping]]:
        """(place, settings) of each cell that speaks for this direction and network, the strongest first."""
        if self.tree is None:
            return []
        if self.one_cell:
            return [(self.where, self.tree)]
        names = ((direction, network), ("any", network), (direction, "any"), ("any", "any"))
        return [(f"{self.where}.{d}.{n}", (self.tree.get(d) or {}).get(n) or {}) for d, n in names]

    def __str__(self):
        document, _, path = self.where.partition(" ")
        return self.where if self.tree is not None else f"{document} (no {path})"


def account_policy(account: Mapping) -> Grid:
    """The whole account's own rule: `call_recording.account`, or a flat `call_recording` that has no such level."""
    return _grid([_account_source(account, "account")], account)


def endpoint_policy(account: Mapping, user: Mapping | None, device: Mapping | None) -> Grid:
    """An endpoint's rule, each setting on its own: device, else user, else the account's `call_recording.endpoint`."""
    own = [_endpoint_source(name, doc) for name, doc in (("device", device), ("user", user)) if doc is not None]
    return _grid([*own, _account_source(account, "endpoint")], account)


def digest(settings: Mapping[str, object]) -> str:
    """16 hex digits that stand for the settings of a recording, by which they can be known again. `enabled` is not in
    it: whatever is recorded is; neither is, where the settings are `masked`, a password, which may be sealed anew."""
    said = {name: value for name, value in settings.items() if name != "enabled"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _account_source(account: Mapping, level: str) -> _Source:
    origin = "account" if level == "account" else "account.endpoint"
    said = account.get("call_recording")
    flat = said and all(said.get(key) is None for key in ("account", "endpoint"))
    if flat and level == "account":
        return _Source(origin, "account call_recording", said)
    return _Source(origin, f"account call_recording.{level}", (said or {}).get(level))


def _endpoint_source(name: str, document: Mapping) -> _Source:
    """Kazoo 4 wrote `record_call`: true, or an object with `record_call`: true among its settings. It counts for
    every cell, and only where the document has no `call_recording` (kz_endpoint.erl of Kazoo 4.3)."""
    said, legacy = document.get("call_recording"), document.get("record_call")
    legacy = legacy if isinstance(legacy, Mapping) else {"record_call": legacy}
    if said is None and legacy.get("record_call") is True:
        return _Source(name, f"{name} record_call", {**legacy, "enabled": True}, one_cell=True)
    return _Source(name, f"{name} call_recording", said)


def _grid(sources: list[_Source], account: Mapping) -> Grid:
    """`sources` with the strongest first."""
    allow_override = account.get("allow_override") is True
    return {(d, n): _cell(sources, d, n, allow_override) for d, n in product(DIRECTIONS, NETWORKS)}


def _cell(sources: list[_Source], direction: str, network: str, allow_override: bool) -> Cell:
    settings, origin = dict(DEFAULTS), dict.fromkeys(DEFAULTS, "default")
    said_in, silent = "", []
    for source in sources:
        mute = []
        for place, cell in source.cells(direction, network):
            for key, value in cell.items():
                if value is not None and origin.get(key) == "default":
                    settings[key], origin[key] = value, source.origin
            if origin["enabled"] == "default":
                mute.append(place)
            elif not said_in:
                said_in = place
        silent += mute if said_in else [str(source)]
    return Cell(
        direction=direction,
        network=network,
        enabled=settings["enabled"],
        settings=MappingProxyType(settings),
        origin=MappingProxyType(origin),
        said_in=said_in,
        silent=tuple(silent),
        allow_override=allow_override,
    )
