"""Headers of a leg's events, as switch_channel_event_set_data() and the hang-up put them together."""

from kazoo_rec.simulator.sip import CODECS

#: ITU-T Q.850 numbers of hang-up causes; FreeSWITCH's own causes count as 16, like NORMAL_CLEARING.
_Q850 = {"USER_BUSY": 17, "NO_ANSWER": 19, "CALL_REJECTED": 21, "DESTINATION_OUT_OF_ORDER": 27,
         "INCOMPATIBLE_DESTINATION": 88}

_MOMENTS = {"start": "Channel-Created", "profile_start": "Profile-Created", "answer": "Channel-Answered",
            "bridge": "Channel-Bridged", "progress": "Channel-Progress", "progress_media": "Channel-Progress-Media",
            "end": "Channel-Hangup"}


def channel_headers(leg, variables=True) -> dict:
    """State, codecs, caller profiles and, as in most events, the channel's variables."""
    state, number = leg.state
    headers = {
        "Channel-State": state, "Channel-Call-State": leg.call_state, "Channel-State-Number": str(number),
        "Channel-Name": leg.name, "Unique-ID": leg.uuid, "Call-Direction": leg.direction,
        "Presence-Call-Direction": leg.direction,
        "Channel-HIT-Dialplan": "true" if leg.hits_dialplan else "false",
    }
    begun = number > 1
    if leg.presence_id and begun:
        headers["Channel-Presence-ID"] = leg.presence_id
    headers["Channel-Call-UUID"] = leg.variables.get("call_uuid", leg.uuid) if begun else leg.uuid
    headers["Answer-State"] = leg.answer_state
    if leg.cause:
        headers["Hangup-Cause"] = leg.cause
    if "read_codec" in leg.variables:
        _, _, rate, bits = CODECS[leg.phone.codec]
        for side in ("Read", "Write"):
            name, flow = (leg.phone.codec, bits) if side == "Write" or not leg.is_decoded else ("L16", rate * 16)
            headers |= {f"Channel-{side}-Codec-Name": name, f"Channel-{side}-Codec-Rate": str(rate),
                        f"Channel-{side}-Codec-Bit-Rate": str(flow)}
    headers |= leg.profile.headers("Caller")
    if leg.other is not None:
        kind, profile = leg.other
        headers["Other-Type"] = kind
        headers |= profile.headers("Other-Leg")
    if variables:
        headers |= {f"variable_{name}": value for name, value in leg.variables.items()}
    return headers


def accounts(leg) -> dict[str, str]:
    """Variables that CHANNEL_HANGUP_COMPLETE adds for call detail records."""
    times = leg.profile.times
    found = {"hangup_cause": leg.cause, "hangup_cause_q850": str(_Q850.get(leg.cause, 16)), "digits_dialed": "none"}
    for name, header in _MOMENTS.items():
        found |= {f"{name}_epoch": str(times[header] // 1_000_000), f"{name}_uepoch": str(times[header])}
    for name, since in (("duration", times["Channel-Created"]), ("billsec", times["Channel-Answered"])):
        us = times["Channel-Hangup"] - since if since else 0
        stem = name.removesuffix("sec")
        found |= {name: str(us // 1_000_000), f"{stem}msec" if stem != name else f"m{name}": str(us // 1000)}
    return found
