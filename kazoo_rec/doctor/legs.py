"""The legs that are up now: whose they are, whether their media is here, and who else records them."""

from dataclasses import dataclass

from kazoo_rec.calls.files import Files
from kazoo_rec.calls.identity import Identifier, IdentityRules
from kazoo_rec.calls.leg import Leg, has_media
from kazoo_rec.calls.registrations import Registrations
from kazoo_rec.calls.tracker import Tracker, is_placed
from kazoo_rec.config import RecordingsDir
from kazoo_rec.doctor.finding import Finding, ok, several, shown, skipped, warning, wrong
from kazoo_rec.doctor.switch import Ask
from kazoo_rec.doctor.trial import PREFIX
from kazoo_rec.documents.directory import Directory
from kazoo_rec.errors import CommandFailed
from kazoo_rec.switch import commands, replies
from kazoo_rec.switch.events import Event

#: Legs that are looked at, the newest: each takes two questions to the switch.
LOOKED_AT = 200

#: Seconds for a list of all legs or phones: 1 KB each.
LIST_S = 20.0

#: Kinds of legs that are told of.
KINDS = 10

PLACED, AROUND, OTHERS = "placed legs", "bypassed media", "other recorders"

#: Variables by which a dialplan has a leg recorded: at its answer, by an application or a command of the switch.
_ARMINGS = ("variable_execute_on_answer", "variable_api_on_answer", "variable_execute_on_media",
            "variable_api_on_media")


class _NobodyRecords:
    """In the recorder's place: what the tracker would have recorded is not what is asked."""

    endings = succession = None

    @property
    def resumption(self):
        return self

    def entered(self, leg):
        pass

    def want(self, leg, plans, source, now_at, event_ms):
        pass

    def bypassed(self, leg):
        pass


@dataclass(frozen=True, slots=True)
class Seen:
    """A leg as the switch tells of it now (`uuid_dump`) and as the engine would have it."""

    event: Event
    leg: Leg
    recorded: list[str]


def look(ask: Ask, rules: IdentityRules, directory: Directory) -> list[Seen]:
    """The newest legs that are up, halves of loopback channels left out."""
    registrations = Registrations()
    registrations.load(replies.registrations(ask(commands.show_registrations(), LIST_S)))
    tracker = Tracker(Identifier(rules, registrations), registrations, lambda: directory, _NobodyRecords())
    rows = replies.channels(ask(commands.show_channels(), LIST_S))
    events, recorded = [], {}
    for row in sorted(rows, key=lambda row: str(row.get("created_epoch", "")))[-LOOKED_AT:]:
        try:
            event = replies.leg(ask(commands.dump(row["uuid"])))
            recorded[event.uuid] = replies.recorded(ask(commands.buglist(row["uuid"])))
        except CommandFailed:  # it is gone by now
            continue
        events.append(event)
        tracker.feed(Event({**event.headers, "Event-Name": "CHANNEL_CREATE"}), 0)
    seen = [Seen(event, tracker.leg(event.uuid), recorded[event.uuid]) for event in events]
    return [one for one in seen if not one.leg.plumbing]


def placed(seen: list[Seen], directory: Directory) -> list[Finding]:
    if not seen:
        return [skipped(PLACED, "no leg is up now: call, and run it again meanwhile")]
    kinds: dict[tuple, list[Seen]] = {}
    for one in seen:
        if not is_placed(one.leg, directory):
            whose = one.leg.identity
            kinds.setdefault((one.event.variable("sofia_profile_name"), one.event.get("Caller-Context"),
                              whose.account_id, whose.how), []).append(one)
    found = [warning(PLACED, f"of no account: {_of(alike, seen)}: {_kind(alike[0])}",
                     _what_to_write(alike[0])) for alike in list(kinds.values())[:KINDS]]
    if len(kinds) > KINDS:
        found.append(warning(PLACED, f"and {len(kinds) - KINDS} kinds more", "as above"))
    return found or [ok(PLACED, f"{several(len(seen), 'leg')} up, of known accounts")]


def _kind(one):
    event, whose = one.event, one.leg.identity
    told = {"profile": event.variable("sofia_profile_name"), "context": event.get("Caller-Context"),
            "account": whose.account_id or "", **{name: event.variable(name) for name in (
                "sip_auth_username", "sip_auth_realm", "dialed_user", "dialed_domain", "sip_req_user")}}
    return ", ".join([f"{whose.network} {'callee' if one.leg.called else 'caller'}",
                      *(f"{name} {shown(value)}" for name, value in told.items() if value)])


def _what_to_write(one):
    event, whose = one.event, one.leg.identity
    if whose.account_id:
        return f"write the document {whose.account_id}/account.yaml, or correct the variable that names this account"
    authenticated = event.variable("sip_authorized") == "true" and not one.leg.called
    realm = event.variable("sip_auth_realm" if authenticated else "dialed_domain")
    if realm and whose.network == "onnet":
        return f"an account's document must say `realm: {shown(realm)}`, or a device's `sip: {{username: …, realm: …}}`"
    number = event.variable("sip_req_user")
    if number and whose.network == "offnet":
        return (f"the account that owns {shown(number)} must have it in its `numbers`, or identity.trunks of the "
                "configuration name the ACL that let the call in")
    return "set kazoo_rec_account_id (a callee: kazoo_rec_leg_account_id) on it, in FreeSWITCH's directory or dialplan"


def media_around(seen: list[Seen]) -> list[Finding]:
    around = [one for one in seen if one.leg.bypassed or (_answered(one.event) and not has_media(one.event))
              or one.event.variable("proxy_media") == "true" or one.event.variable("bypass_media") == "true"]
    if not around:
        return [ok(AROUND, f"none on {several(len(seen), 'leg')}")]
    first = around[0].event
    return [warning(AROUND, f"media goes around FreeSWITCH on {_of(around, seen)}, which cannot be recorded "
                    f"(profile {shown(first.variable('sofia_profile_name'))}, context "
                    f"{shown(first.get('Caller-Context'))})",
                    "take bypass_media and proxy_media out of the dialplan where calls are to be recorded")]


def others(seen: list[Seen], directory: RecordingsDir, is_ours) -> list[Finding]:
    """Who else records. `is_ours(recording_id)` tells whether the store has a recording."""
    files = Files(directory.on_switch, directory.here, None)
    foreign, unknown, planned = [], [], []
    for one in seen:
        for path in one.recorded:
            relative = files.relative(path)
            if relative is None:
                foreign.append(path)
            elif not (relative.startswith(PREFIX) or is_ours(relative.rpartition("/")[2].partition(".")[0])):
                unknown.append(path)
        planned += [value for name in one.event.headers if name.startswith(_ARMINGS) for value in one.event.all(name)
                    if ("record_session" in value or "uuid_record" in value)
                    and f"{directory.on_switch.rstrip('/')}/" not in value]
    found = []
    if foreign:
        found.append(warning(OTHERS, f"somebody else's: {several(len(foreign), 'recording')}: {shown(foreign[0])}",
                             "they are left alone; end them where they are begun (dialplan, FusionPBX's user_record) "
                             "if kazoo_rec is to be the only recorder"))
    if planned:
        found.append(warning(OTHERS, f"the dialplan records {several(len(planned), 'leg')}: {shown(planned[0])}",
                             "it is left alone; take it out if kazoo_rec is to be the only recorder"))
    if unknown:
        found.append(wrong(OTHERS, f"below our directory, not in our database: {several(len(unknown), 'recording')}: "
                           f"{shown(unknown[0])}", "another engine with another database serves this switch: stop one"))
    return found or [ok(OTHERS, f"none on {several(len(seen), 'leg')}")]


def _of(some, seen):
    return f"{len(some)} of {several(len(seen), 'leg')}"


def _answered(event):
    return event.get("Answer-State") == "answered"
