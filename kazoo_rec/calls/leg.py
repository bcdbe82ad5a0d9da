"""Legs and the calls that they make up, as the events tell of them."""

from dataclasses import dataclass, field

from gevent.lock import Semaphore

from kazoo_rec.policy.settings import OVERRIDES
from kazoo_rec.switch.commands import DECLINED

#: Characters kept of a text that a caller chose.
TEXT_LIMIT = 256


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a leg is. `how` names what told, in a word of ours; ids are None where nothing told."""

    network: str
    account_id: str | None = None
    user_id: str | None = None
    device_id: str | None = None
    how: str = "nothing"


@dataclass(slots=True, eq=False)
class Leg:
    """One channel of the switch, from CHANNEL_CREATE to CHANNEL_DESTROY.

    `called` is a leg that was called for another; the others are callers, whatever their direction (click-to-call
    originates both). `plumbing` is a loopback half: it is looked through and never recorded. `other_half` is the uuid
    of the half on the other side of it. `bypassed` legs have no media on the switch. `answered_ms`, `bridged_ms`
    (first) and `held_ms` (while held) are the switch's clock, since the epoch, None until it happened; `answered_at`
    is the engine's; `answer_unheard` where only the hang-up told of the answer. `received_ms` is how much media its
    phone sent in all, None where it is not known (yet). `missed` is there while a leg is taken in that is in progress:
    (since when, why) its talk, had it been recorded, was not. `refused` is {(account, rule): the newest
    `policy.decision.Refusal`}; `ordered` is held by who carries out an order. `bridged_to` is the leg of its newest
    bridge. `heard` is {sound: the `announcement.Hearing` of it}, `declined` has the accounts by which it does not want
    to be recorded, `silent` is {account: kinds} that the next recording of an account begins with, as one of before had
    them. `foundlings` are what the switch has of it and no row tells of, while it is taken in. `override` is what its
    channel asks of the account's settings, None where it asks nothing.
    """

    uuid: str
    originator: str
    identity: Identity
    direction: str
    facts: dict
    override: str | None = None
    called: bool = False
    plumbing: bool = False
    other_half: str = ""
    wideband: bool = False
    bypassed: bool = False
    answered_ms: int | None = None
    answered_at: int = 0
    answer_unheard: bool = False
    bridged_ms: int | None = None
    bridged_to: "Leg | None" = None
    held_ms: int | None = None
    received_ms: int | None = None
    missed: tuple[int, str] | None = None
    alive: bool = True
    cause: str = ""
    call: "Call | None" = None
    recordings: list = field(default_factory=list)
    refused: dict = field(default_factory=dict)
    ordered: Semaphore | None = None
    heard: dict = field(default_factory=dict)
    declined: set = field(default_factory=set)
    silent: dict = field(default_factory=dict)
    foundlings: list = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Call:
    """Legs that belong together, in order; `interaction_id` (the first leg's uuid) ties their recordings."""

    interaction_id: str
    legs: dict = field(default_factory=dict)

    def add(self, leg: Leg):
        """Takes `leg` in, from its former call if it had one."""
        if leg.call is not None:
            leg.call.remove(leg)
        leg.call = self
        self.legs[leg] = None

    def remove(self, leg: Leg):
        self.legs.pop(leg, None)

    def first(self) -> Leg | None:
        """The first leg that is there and no plumbing."""
        return next((leg for leg in self.legs if leg.alive and not leg.plumbing), None)

    def partner_of(self, leg: Leg) -> Leg | None:
        """The leg on the other side, as far as bridges tell."""
        return next((other for other in self.legs if other.alive and not other.plumbing and other.bridged_ms is not None
                     and other.called != leg.called and leg.bridged_ms is not None), None)

    def declines(self, account_id: str) -> bool:
        """Whether one of the legs does not want to be recorded by an account."""
        return any(account_id in leg.declined for leg in self.legs)

    def has_rival(self, leg: Leg) -> bool:
        """Whether `leg` was called for another together with one that is still there, and no bridge says which of
        them is in the call."""
        return leg.called and leg.bridged_ms is None and any(
            other.called and other.alive and other is not leg for other in self.legs)

    def has_callee(self) -> bool:
        """Whether a leg that was called, and is no plumbing, is still there."""
        return any(leg.called and leg.alive and not leg.plumbing for leg in self.legs)


def facts_of(event) -> dict:
    """What a recording's row says of a leg's parties: foreign text, cut, and with no half characters in it."""
    variable, get = event.variable, event.get
    dialed = f"{variable('dialed_user')}@{variable('dialed_domain')}" if variable("dialed_user") else ""
    called = dialed or variable("sip_req_uri") or get("Caller-Destination-Number")
    return {
        "from_uri": text(variable("sip_from_uri") or get("Caller-Caller-ID-Number")),
        "to_uri": text(variable("sip_to_uri") or called),
        "caller_id_name": text(get("Caller-Caller-ID-Name")),
        "caller_id_number": text(get("Caller-Caller-ID-Number")),
        "callee_id_name": text(get("Caller-Callee-ID-Name")),
        "callee_id_number": text(get("Caller-Callee-ID-Number") or get("Caller-Destination-Number")),
    }


def override_of(event) -> str | None:
    """What the channel variable `kazoo_rec` asks for, if it is one of the words that it may be."""
    said = event.variable("kazoo_rec")
    return said if said in OVERRIDES else None


def declined_of(event) -> set[str]:
    """The accounts by which a leg said before that it does not want to be recorded (`switch.commands.decline`)."""
    return set(event.variable(DECLINED).split("/")) - {""}


def text(value: str) -> str:
    """A caller's text as the store can hold it: at most 256 characters, lone surrogates replaced."""
    return value[:TEXT_LIMIT].encode("utf-8", "replace").decode()


def is_bypassed(event) -> bool:
    """Whether a leg that is being called will have its media around the switch (bypass_media): at CHANNEL_CREATE it
    then offers its partner's SDP and has no port of its own (seen on FreeSWITCH 1.10.12)."""
    return bool(event.variable("rtp_local_sdp_str")) and not event.variable("local_media_port")


def has_media(event) -> bool:
    """Whether an answered leg has media on the switch: CHANNEL_ANSWER then names its codec, and otherwise does not.
    Where media are passed on unread (proxy_media) it names PROXY: a command to record is refused, and what is armed
    gets one frame."""
    return bool(event.get("Channel-Read-Codec-Name"))


def answered_ms(event) -> int | None:
    """When its channel was answered, ms since the epoch by the switch's clock; None: it was not."""
    said_us = event.get("Caller-Channel-Answered-Time")
    return int(said_us) // 1000 or None if said_us.isdecimal() else None


def received_ms(event) -> int | None:
    """How much media a leg's phone has sent, as its CHANNEL_HANGUP_COMPLETE tells (switch_core_media.c, set_stats).
    None where it does not tell, or where the phone left silence out (RFC 3389) and said so."""
    def count(name):
        said = event.variable(name)
        return int(said) if said.isdecimal() else None

    packets, ptime_ms = count("rtp_audio_in_packet_count"), count("rtp_use_codec_ptime")
    if packets is None or not ptime_ms or count("rtp_audio_in_cng_packet_count"):
        return None
    return packets * ptime_ms


def is_wideband(event) -> bool:
    """Whether the leg's first codec, offered or in use, samples faster than 8 kHz (`CORE_PCM_MODULE.PCMU@8000h@…`).

    The offer shows G.722 at 8000, the RTP clock that RFC 3551 gives it; it samples at 16000.
    """
    rate = event.get("Channel-Read-Codec-Rate")
    if rate.isdecimal():
        return int(rate) > 8000
    offered = event.variable("ep_codec_string") or event.variable("originator_codec")
    codec, _, rate = offered.partition(",")[0].partition("@")
    rate = rate.partition("h")[0]
    return codec.endswith(".G722") or (rate.isdecimal() and int(rate) > 8000)
