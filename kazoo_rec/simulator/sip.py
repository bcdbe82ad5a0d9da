"""Channels as mod_sofia and mod_loopback make them: profile, name and variables at CHANNEL_CREATE."""

import re
from urllib.parse import unquote

from kazoo_rec.simulator.profile import Profile, no_times

#: Codecs a phone may have: module, rate in SDP and of the samples in Hz (G722 says 8000 and samples 16000), bits/s.
CODECS = {"PCMU": ("CORE_PCM_MODULE", 8000, 8000, 64000), "PCMA": ("CORE_PCM_MODULE", 8000, 8000, 64000),
          "G722": ("mod_spandsp", 8000, 16000, 64000), "OPUS": ("mod_opus", 48000, 48000, 0)}

INTERNAL, EXTERNAL, CARRIER = "127.0.0.1:5060", "127.0.0.1:5080", "127.0.0.1:5090"

_ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, NOTIFY, REFER, UPDATE"
_CONTROL = re.compile(r"[\x00-\x1f]")


def display_name(raw: str) -> str:
    """What mod_sofia makes of a display name: control characters become blanks, then %-escapes what they stand for."""
    return unquote(_CONTROL.sub(" ", raw), errors="surrogateescape").replace("${", "%{")


def sanitized(shown: str) -> str:
    """What a called leg is told of a caller's name or number: nothing before a slash or a colon, nor from an @ on
    (switch_utils.h, switch_sanitize_number)."""
    shown = shown.partition("@")[0]
    return shown.rpartition("/")[2].rpartition(":")[2]


def inbound(switch, uuid, script) -> dict:
    """The leg of a caller: a phone that authenticated, or the carrier."""
    phone, number = script.caller, script.dials
    onnet = bool(phone.domain)
    domain, sofia = (phone.domain, "internal") if onnet else ("carrier.example", "external")
    host, port = switch.phones.contact(phone).split(":")
    target = phone.domain if onnet else EXTERNAL
    name = f"sofia/{sofia}/{phone.user}@{domain}"
    shown = display_name(phone.name) or phone.user
    profile = Profile("inbound", uuid, name, number, phone.domain if onnet else "public", shown, phone.user, shown,
                      phone.user, username=phone.user, ani=phone.user)
    now = switch.clock.epoch_us()
    variables = {
        "direction": "inbound", "uuid": uuid, "call_uuid": uuid, "session_id": switch.next_session(),
        "sip_from_user": phone.user, "sip_from_uri": f"{phone.user}@{domain}", "sip_from_host": domain,
        "video_media_flow": "disabled", "audio_media_flow": "disabled", "text_media_flow": "disabled",
        "channel_name": name, "sip_call_id": f"{uuid[:16]}@phone", "sip_local_network_addr": "127.0.0.1",
        "sip_network_ip": host, "sip_network_port": port, "sip_invite_stamp": str(now), "sip_received_ip": host,
        "sip_received_port": port, "sip_via_protocol": "udp",
    }
    if onnet:
        variables |= {
            "sip_authorized": "true", "Event-Name": "REQUEST_PARAMS", "Core-UUID": switch.core_uuid,
            "FreeSWITCH-Hostname": switch.hostname, "FreeSWITCH-Switchname": switch.hostname,
            "FreeSWITCH-IPv4": "192.0.2.2", "FreeSWITCH-IPv6": "fd00::2", "Event-Date-Timestamp": str(now),
            "Event-Calling-File": "sofia.c", "Event-Calling-Function": "sofia_handle_sip_i_invite",
            "Event-Calling-Line-Number": "10723", "sip_number_alias": phone.user, "sip_auth_username": phone.user,
            "sip_auth_realm": phone.domain, "number_alias": phone.user, "requested_user_name": phone.user,
            "requested_domain_name": phone.domain, **directory(phone), "user_name": phone.user,
            "domain_name": phone.domain,
        }
    variables |= {
        "sip_from_user_stripped": phone.user, "sip_from_tag": uuid[:8], "sofia_profile_name": sofia,
        "sofia_profile_url": f"sip:mod_sofia@{INTERNAL if onnet else EXTERNAL}", "recovery_profile_name": sofia,
        "sip_full_via": f"SIP/2.0/UDP {host}:{port};rport={port};branch=z9hG4bK{uuid[9:13]}",
        "sip_full_from": f'"{phone.name}" <sip:{phone.user}@{domain}>;tag={uuid[:8]}',
        "sip_full_to": f"<sip:{number}@{target}>", "sip_allow": _ALLOW, "sip_req_user": number,
        "sip_req_uri": f"{number}@{target}", "sip_req_host": target.partition(":")[0], "sip_to_user": number,
        "sip_to_uri": f"{number}@{target}", "sip_to_host": target.partition(":")[0], "sip_contact_user": phone.user,
        "sip_contact_port": port, "sip_contact_uri": f"{phone.user}@{host}:{port}", "sip_contact_host": host,
        "rtp_use_codec_string": "PCMU,PCMA,OPUS,G722", "sip_user_agent": "SimulatedPhone/1.0", "sip_via_host": host,
        "sip_via_port": port, "sip_via_rport": port, "max_forwards": "70", "switch_r_sdp": _sdp(host, 20000),
        "ep_codec_string": _codec_string(phone.codec), "endpoint_disposition": "DELAYED NEGOTIATION",
    }
    said = {"sip_from_display": phone.name, **{f"sip_h_{header}": value for header, value in phone.headers.items()}}
    # A variable's value must not name another (switch_channel_set_variable_var_check).
    variables |= {name: value for name, value in said.items() if value and "${" not in value}
    return {"name": name, "profile": profile, "variables": variables}


def outbound(switch, uuid, phone, originator=None, lone=True) -> dict:
    """The leg to a phone or to the carrier. Where it is the only target, `lone`, directory variables come later."""
    gateway = not phone.domain
    sofia, domain = ("external", "carrier.example") if gateway else ("internal", phone.domain)
    contact = CARRIER if gateway else switch.phones.contact(phone)
    name = f"sofia/{sofia}/{phone.user}" + ("" if gateway else f"@{contact}")
    profile = _called_profile(uuid, name, phone.user, originator)
    variables = {
        "direction": "outbound", "is_outbound": "true", "uuid": uuid, "session_id": switch.next_session(),
        "sip_local_network_addr": "127.0.0.1", "sip_profile_name": "gateway" if gateway else "internal",
        "text_media_flow": "disabled", "channel_name": name, "sip_destination_url": f"sip:{phone.user}@{contact}",
        **_from_originator(originator, phone), "sip_invite_domain": domain, "originate_early_media": "true",
        "originate_endpoint": "sofia", "rtp_use_codec_string": _codec_string(phone.codec),
        "local_media_ip": "127.0.0.1", "local_media_port": "40010", "advertised_media_ip": "127.0.0.1",
        "audio_media_flow": "sendrecv", "video_media_flow": "sendrecv", "rtp_local_sdp_str": _sdp("127.0.0.1", 40010),
        "sip_req_uri": f"{phone.user}@{contact}", "sip_to_host": contact, "sip_from_host": domain,
        "sofia_profile_name": sofia, "recovery_profile_name": sofia,
        "sofia_profile_url": f"sip:mod_sofia@{EXTERNAL if gateway else INTERNAL}",
    }
    presence = ""
    if gateway:
        variables |= {"sip_gateway_name": "carrier",
                      "sip_outgoing_contact_uri": f"<sip:gw+carrier@{EXTERNAL};transport=udp;gw=carrier>"}
    else:
        variables["sip_outgoing_contact_uri"] = f"<sip:mod_sofia@{INTERNAL}>"
    if not gateway and phone.via == "user":
        presence = phone.address
        variables |= {"dialed_user": phone.user, "dialed_domain": phone.domain, "presence_id": presence}
        if not lone:
            variables |= {**directory(phone), "originate_endpoint": "user"}
    return {"name": name, "profile": profile, "variables": variables, "presence_id": presence}


def loopback(switch, uuid, other_uuid, phone, half, originator) -> dict:
    """One half of a loopback channel: `a` is called by `originator`, `b` walks through the dialplan."""
    name = f"loopback/{phone.user}-{half}"
    profile = _called_profile(uuid, name, phone.user, originator)
    profile.source = "mod_loopback"
    variables = {"direction": "outbound" if half == "a" else "inbound", "uuid": uuid,
                 "session_id": switch.next_session(), "channel_name": name, "read_codec": "PCMU", "read_rate": "8000",
                 "write_codec": "PCMU", "write_rate": "8000", "other_loopback_leg_uuid": other_uuid,
                 "loopback_leg": half.upper()}
    if half == "a":
        variables |= {"is_outbound": "true", **_from_originator(originator, phone), "originate_endpoint": "loopback",
                      "loopback_from_uuid": originator.uuid}
    else:
        profile.direction, profile.context = "inbound", phone.domain
        variables |= {"call_uuid": uuid, "other_loopback_from_uuid": originator.uuid, **_exported(originator)}
    return {"name": name, "profile": profile, "variables": variables}


def directory(phone) -> dict[str, str]:
    """What the directory says of a user: its own variables and a few that every directory has."""
    return {"user_context": phone.domain, "effective_caller_id_name": phone.user,
            "effective_caller_id_number": phone.user, **phone.variables}


def replied(leg) -> dict[str, str]:
    """Variables that a called phone's first reply brings."""
    contact, tag = leg.variables["sip_req_uri"], leg.uuid[:8]
    user, _, address = contact.partition("@")
    host, _, port = address.partition(":")
    caller, domain = leg.profile.caller_id_number, leg.variables["sip_from_host"]
    via = f"SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK{leg.uuid[9:13]}"
    return {
        "sip_reply_host": host, "sip_reply_port": port, "sip_network_ip": host, "sip_network_port": port,
        "sip_user_agent": "SimulatedPhone/1.0", "sip_allow": _ALLOW, "sip_recover_contact": f"<sip:{contact}>",
        "sip_full_via": via, "sip_recover_via": via,
        **({"sip_from_display": leg.profile.caller_id_name} if leg.profile.caller_id_name else {}),
        "sip_full_from": f'"{leg.profile.caller_id_name}" <sip:{caller}@{domain}>;tag={tag}',
        "sip_full_to": f"<sip:{contact}>;tag={tag}", "sip_from_user": caller, "sip_from_uri": f"{caller}@{domain}",
        "sip_to_user": user, "sip_to_port": port, "sip_to_uri": contact, "sip_to_host": host,
        "sip_contact_user": user, "sip_contact_port": port, "sip_contact_uri": contact, "sip_contact_host": host,
        "sip_to_tag": tag, "sip_from_tag": tag, "sip_cseq": "1", "sip_call_id": leg.uuid,
    }


def negotiated(codec: str) -> dict[str, str]:
    """Variables of a leg whose media runs."""
    _, wire_rate, rate, _ = map(str, CODECS[codec])
    return {
        "ep_codec_string": _codec_string(codec), "remote_video_media_flow": "inactive",
        "remote_text_media_flow": "inactive", "remote_audio_media_flow": "sendrecv", "audio_media_flow": "sendrecv",
        "rtp_audio_recv_pt": "0", "rtp_use_codec_name": codec, "rtp_use_codec_rate": wire_rate,
        "rtp_use_codec_ptime": "20", "rtp_use_codec_channels": "1",
        "rtp_last_audio_codec_string": f"{codec}@{wire_rate}h@20i@1c", "read_codec": codec,
        "original_read_codec": codec, "read_rate": rate, "original_read_rate": rate, "write_codec": codec,
        "write_rate": rate, "dtmf_type": "rfc2833", "local_media_ip": "127.0.0.1", "local_media_port": "40010",
        "advertised_media_ip": "127.0.0.1", "rtp_local_sdp_str": _sdp("127.0.0.1", 40010),
        "rtp_use_timer_name": "soft", "rtp_use_pt": "0", "rtp_use_ssrc": "1",
        "rtp_2833_send_payload": "101", "rtp_2833_recv_payload": "101", "remote_media_ip": "127.0.0.1",
        "remote_media_port": "20000",
    }


def without_port(variables):
    """The media goes around the switch: it offers its partner's SDP, and has no port for it."""
    for name in ("local_media_ip", "local_media_port", "advertised_media_ip"):
        variables.pop(name, None)


def _called_profile(uuid, name, number, originator):
    if originator is None:
        return Profile("outbound", uuid, name, number, "default", caller_id_number="0000000000",
                       original_number="0000000000", callee_id_name="Outbound Call", callee_id_number=number,
                       ani="0000000000", dialplan="", network_address="", source="src/switch_ivr_originate.c")
    caller = originator.profile
    shown = originator.variables.get
    shows_name, shows_number = (shown(f"effective_caller_id_{which}") or own for which, own in (
        ("name", caller.caller_id_name), ("number", caller.caller_id_number)))
    return caller.copied(
        times=no_times(), direction="outbound", uuid=uuid, channel_name=name, destination=number, transfer_source="",
        index=1,
        caller_id_name=sanitized(shows_name), caller_id_number=sanitized(shows_number),
        original_name=caller.caller_id_name if sanitized(shows_name) else "", original_number=caller.caller_id_number,
        callee_id_name="Outbound Call", callee_id_number=number)


def _from_originator(originator, phone):
    if originator is None:
        return {}
    return {"max_forwards": str(int(originator.variables.get("max_forwards", "70")) - 1),
            "originator_codec": _codec_string(phone.codec), "originator": originator.uuid,
            "signal_bond": originator.uuid, "call_uuid": originator.uuid, "originating_leg_uuid": originator.uuid,
            "switch_m_sdp": originator.variables.get("switch_r_sdp", ""), **_exported(originator),
            **{name: value for name, value in originator.variables.items() if name.startswith("sip_h_X-")}}


def _exported(originator):
    """Exported variables are on the called leg from the start, and still belong to the caller."""
    names = originator.variables.get("export_vars", "")
    found = {name.removeprefix("nolocal:"): originator.variables.get(name, "") for name in names.split(",") if name}
    return {"export_vars": names, **found} if names else {}


def _codec_string(codec):
    module, rate, _, bits = CODECS[codec]
    return f"{module}.{codec}@{rate}h@20i@{bits}b"


def _sdp(host, port):
    return (f"v=0\r\no=ph 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n"
            "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n")
