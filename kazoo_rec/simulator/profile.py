"""Caller profiles: who calls whom, as FreeSWITCH shows it in every event of a leg (switch_caller.c)."""

from dataclasses import dataclass, field, replace

_TIMES = ("Profile-Created", "Channel-Created", "Channel-Answered", "Channel-Progress", "Channel-Progress-Media",
          "Channel-Hangup", "Channel-Transfer", "Channel-Resurrect", "Channel-Bridged")
_HOLDS = ("Channel-Last-Hold", "Channel-Hold-Accum")


def no_times() -> dict[str, int]:
    return dict.fromkeys((*_TIMES, *_HOLDS), 0)


@dataclass
class Profile:
    """Headers `Caller-…` of a leg, `Other-Leg-…` of its partner. `times` are microseconds since 1970, 0 for not yet."""

    direction: str
    uuid: str
    channel_name: str
    destination: str
    context: str
    caller_id_name: str = ""
    caller_id_number: str = ""
    original_name: str = ""
    original_number: str = ""
    callee_id_name: str = ""
    callee_id_number: str = ""
    username: str = ""
    dialplan: str = "XML"
    network_address: str = "127.0.0.1"
    ani: str = ""
    rdnis: str = ""
    transfer_source: str = ""
    source: str = "mod_sofia"
    index: int = 1
    times: dict[str, int] = field(default_factory=no_times)

    def copied(self, **changes) -> "Profile":
        return replace(self, **{"times": dict(self.times), **changes})

    def inverted(self) -> "Profile":
        """Who calls and who is called change places."""
        return self.copied(caller_id_name=self.callee_id_name, caller_id_number=self.callee_id_number,
                           callee_id_name=self.caller_id_name, callee_id_number=self.caller_id_number)

    def headers(self, prefix: str) -> dict[str, str]:
        """With `prefix` "Caller", "Other-Leg" or "Channel"; what is empty is not sent."""
        texts = {
            "Direction": self.direction,
            "Logical-Direction": "inbound" if prefix == "Other-Leg" else self.direction,
            "Username": self.username,
            "Dialplan": self.dialplan,
            "Caller-ID-Name": self.caller_id_name,
            "Caller-ID-Number": self.caller_id_number,
            "Orig-Caller-ID-Name": self.original_name,
            "Orig-Caller-ID-Number": self.original_number,
            "Callee-ID-Name": self.callee_id_name,
            "Callee-ID-Number": self.callee_id_number,
            "Network-Addr": self.network_address,
            "ANI": self.ani,
            "Destination-Number": self.destination,
            "Transfer-Source": self.transfer_source if prefix != "Other-Leg" else "",
            "Unique-ID": self.uuid,
            "Source": self.source,
            "Context": self.context,
            "RDNIS": self.rdnis,
            "Channel-Name": self.channel_name,
            "Profile-Index": str(self.index) if prefix != "Other-Leg" else "",
        }
        headers = {f"{prefix}-{name}": text for name, text in texts.items() if text}
        for name, moment in self.times.items():
            headers[f"{prefix}-{name}-Time" if name in _TIMES else f"{prefix}-{name}"] = str(moment)
        headers[f"{prefix}-Screen-Bit"] = "true"
        headers[f"{prefix}-Privacy-Hide-Name"] = headers[f"{prefix}-Privacy-Hide-Number"] = "false"
        return headers
