"""The application `bridge`: rings phones for a leg and joins it with the first that answers or sends early media."""

from dataclasses import replace

from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.process import HungUp
from kazoo_rec.simulator.record_start import in_front
from kazoo_rec.simulator.recording import is_true
from kazoo_rec.simulator.sound import RINGBACK_HZ

#: After these causes the caller's dialplan goes on, unless its variables name others (switch_channel_handle_cause).
_GOES_ON = ("NO_ANSWER", "NO_USER_RESPONSE", "ORIGINATOR_CANCEL")


def bridge(leg, data):
    """`[{variables}]<target>[,<target>…][|<target>…]`: rings phones at once, or one group after the other."""
    variables, data = in_front(data, "{", "}")
    cause = "SUBSCRIBER_ABSENT"
    for targets in data.split("|"):
        phones = [replace(phone, leg_variables={**variables, **phone.leg_variables})
                  for phone in leg.call.phones_of(targets) if phone is not None]
        if phones:
            cause = yield from _ring(leg, phones, variables)
        if not cause:
            return
    leg.variables |= {"originate_disposition": cause, "originate_failed_cause": cause}
    if not _goes_on(leg, cause):
        leg.hangup(cause)


def _goes_on(leg, cause) -> bool:
    named = leg.variables.get("continue_on_fail")
    if named is None:
        return cause in _GOES_ON
    return is_true(named) or cause in named.upper().split(",")


def _ring(leg, phones, variables):
    """Why nobody was reached; "" where somebody was, or the caller is gone."""
    if any(phone.via == "loopback" for phone in phones):
        leg.pre_answer()
    for phone in phones:
        if phone.domain and phone.via == "user":
            # The caller's leg bears these too from now on, and they are not its own.
            leg.variables |= {"dialed_user": phone.user, "dialed_domain": phone.domain}
    leg.variables["originate_disposition"] = "failure"
    legs = [leg.call.dial(phone, leg, lone=len(phones) == 1) for phone in phones]
    try:
        winner, cause = yield from _reach(leg, legs, variables)
    except HungUp:
        for other in legs:
            other.hangup(_cause_after(leg, "ORIGINATOR_CANCEL"))
        leg.variables["originate_disposition"] = "ORIGINATOR_CANCEL"
        return ""
    if winner is not None:
        yield from talk(leg, winner, _meet)
    return cause


def _reach(leg, legs, variables):
    """Gives (the leg to talk with, "") or (None, why not)."""
    clock, ringing, alone, cause = leg.clock, set(legs), len(legs) == 1, "NO_ANSWER"
    seconds = next((variables[name] for name in ("originate_timeout", "leg_timeout") if name in variables),
                   leg.variables.get("call_timeout", "60"))
    gives_up = {each: clock.whole_seconds(int(each.phone.leg_variables.get("leg_timeout", seconds))) for each in legs}
    waits_for_answer = is_true(variables.get("ignore_early_media", "")) or "ignore_early_media" in leg.variables
    heard = leg.answered or leg.early
    while ringing:
        next_s = min(gives_up[each] for each in ringing) - clock.now
        news, other = (yield leg.news, max(0.0, next_s)) or ("time", None)
        if news == "time":
            late = [each for each in ringing if gives_up[each] <= clock.now]
            ringing -= set(late)
            cause = "NO_ANSWER"
            for each in late:
                each.hangup(cause)
        if other not in ringing:
            continue
        if news == "gone":
            ringing.discard(other)
            cause = other.cause
        elif news == "rings" and not heard:
            heard = True
            yield FRAME_S
            if "ringback" in leg.variables and not leg.call.bypasses_media:
                leg.pre_answer()
                leg.playing_hz = RINGBACK_HZ
                _shows(leg, other)
            else:
                if alone:
                    _shows(leg, other)
                leg.ring()
        elif news == "answers" or (news == "media" and alone and not waits_for_answer):
            for each in ringing - {other}:
                each.hangup("LOSE_RACE")
            return other, ""
    return None, cause


def talk(leg, other, meet):
    """They are bridged until one of them leaves; `meet(leg, other)` is what they do first."""
    try:
        yield from meet(leg, other)
        if not other.cause:
            leg.pre_answer()
            if other.answered:
                yield from _answer(leg)
            join(leg, other)
            if other.answered:
                yield from _update(leg, other)
        while not other.cause or leg.news.has():
            news, who = yield leg.news
            if who is other and news == "answers":
                yield from _answer(leg)
                yield from _update(leg, other)
            elif who is other and news == "handed on":
                _part(leg, other)
                leg.hangup()
                return
    except HungUp:
        if leg.cause != "SYSTEM_SHUTDOWN":
            other.variables.pop("bridge_to", None)
        other.hangup(_cause_after(leg, "NORMAL_CLEARING"))
    if leg.partner is other:
        _part(leg, other)
    if not leg.cause and not leg.handed_on and leg.variables.get("hangup_after_bridge") == "true":
        leg.hangup(other.cause)


def _meet(leg, other):
    yield FRAME_S
    if not other.cause:
        _shows(leg, other)


def _shows(leg, other):
    leg.profile.callee_id_name, leg.profile.callee_id_number = "Outbound Call", other.profile.destination


def _cause_after(leg, usual):
    """Why the other leg goes when this one went; a shutdown names itself on all."""
    return leg.cause if leg.cause == "SYSTEM_SHUTDOWN" else usual


def _answer(leg):
    if not leg.answered:
        leg.answer()
        yield from leg.armed()
        if leg.cause:
            raise HungUp


def join(leg, other):
    if other.is_lone_user and other.originator is leg:
        other.enrol()
    leg.call.settle()
    other.call.settle()
    leg.join(other)
    other.join(leg)
    if other.originator is leg:
        leg.variables |= {"originate_disposition": "SUCCESS", "DIALSTATUS": "SUCCESS"}
    leg.publish("CHANNEL_BRIDGE", before={"Bridge-A-Unique-ID": leg.uuid, "Bridge-B-Unique-ID": other.uuid})
    for one, partner in ((leg, other), (other, leg)):
        one.variables |= {"bridge_to": partner.uuid, "last_bridge_to": partner.uuid,
                          "bridge_channel": partner.name, "bridge_uuid": partner.uuid}


def _update(leg, other):
    """A frame later each phone is told with whom it speaks, and through a loopback channel twice; at once where it was
    in another call before."""
    for _ in range(1 if leg.twin is None and other.twin is None else 2):
        yield FRAME_S if other.originator is leg else 0.0
        for phone, partner in ((other, leg), (leg, other)):
            if phone.cause or phone.twin is not None:
                continue
            name, number = _shown(partner, other.originator is leg, called=partner is other)
            phone.variables |= {"last_sent_callee_id_name": name, "last_sent_callee_id_number": number}
            phone.publish("CALL_UPDATE", before={"Direction": "SEND", "Sent-Callee-ID-Name": name,
                                                 "Sent-Callee-ID-Number": number, "Bridged-To": partner.uuid})


def _shown(leg, was_called, called):
    profile, shown = leg.profile, leg.variables.get
    if called:
        return profile.callee_id_name, profile.callee_id_number
    if not was_called:
        return profile.caller_id_name, profile.caller_id_number
    return (shown("effective_caller_id_name") or profile.caller_id_name,
            shown("effective_caller_id_number") or profile.caller_id_number)


def _part(leg, other):
    leg.part()
    other.part()
    leg.variables |= {"last_bridge_role": "originator", "bridge_hangup_cause": other.cause}
    leg.publish("CHANNEL_UNBRIDGE", before={"Bridge-A-Unique-ID": leg.uuid, "Bridge-B-Unique-ID": other.uuid})
