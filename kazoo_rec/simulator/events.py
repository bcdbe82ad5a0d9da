"""What every event begins with (switch_event.c)."""

import time
import uuid
from functools import lru_cache

#: Where FreeSWITCH makes each event (git a88d069): file, function, line.
_ORIGINS = {
    "API": ("switch_loadable_module.c", "switch_api_execute", 2954),
    "BACKGROUND_JOB": ("mod_event_socket.c", "api_exec", 1572),
    "CALL_UPDATE": ("mod_sofia.c", "sofia_receive_message", 2100),
    "CHANNEL_ANSWER": ("switch_channel.c", "switch_channel_perform_mark_answered", 3846),
    "CHANNEL_BRIDGE": ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", 1689),
    "CHANNEL_CREATE": ("switch_core_state_machine.c", "switch_core_session_run", 626),
    "CHANNEL_DATA": ("mod_commands.c", "uuid_dump_function", 6468),
    "CHANNEL_DESTROY": ("switch_core_session.c", "switch_core_session_perform_destroy", 1584),
    "CHANNEL_EXECUTE": ("switch_core_session.c", "switch_core_session_exec", 2944),
    "CHANNEL_EXECUTE_COMPLETE": ("switch_core_session.c", "switch_core_session_exec", 2967),
    "CHANNEL_HANGUP": ("switch_channel.c", "switch_channel_perform_hangup", 3445),
    "CHANNEL_HANGUP_COMPLETE": ("switch_core_state_machine.c", "switch_core_session_reporting_state", 943),
    "CHANNEL_HOLD": ("switch_channel.c", "switch_channel_mark_hold", 875),
    "CHANNEL_ORIGINATE": ("switch_core_state_machine.c", "switch_core_session_run", 632),
    "CHANNEL_OUTGOING": ("switch_core_session.c", "switch_core_session_outgoing_channel", 768),
    "CHANNEL_PARK": ("switch_ivr.c", "switch_ivr_park", 1002),
    "CHANNEL_PROGRESS": ("switch_channel.c", "switch_channel_perform_mark_ring_ready_value", 3505),
    "CHANNEL_PROGRESS_MEDIA": ("switch_channel.c", "switch_channel_perform_mark_pre_answered", 3560),
    "CHANNEL_UNBRIDGE": ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", 1879),
    "CHANNEL_STATE": ("switch_channel.c", "switch_channel_perform_set_running_state", 2408),
    "CHANNEL_UNHOLD": ("switch_channel.c", "switch_channel_mark_hold", 875),
    "CHANNEL_UNPARK": ("switch_ivr.c", "switch_ivr_park", 1213),
    "DTMF": ("switch_channel.c", "switch_channel_dequeue_dtmf", 677),
    "HEARTBEAT": ("switch_core.c", "send_heartbeat", 95),
    "MEDIA_BUG_START": ("switch_core_media_bug.c", "switch_core_media_bug_add", 1014),
    "MEDIA_BUG_STOP": ("switch_core_media_bug.c", "switch_core_media_bug_destroy", 84),
    "PLAYBACK_START": ("switch_ivr_play_say.c", "switch_ivr_play_file", 1646),
    "PLAYBACK_STOP": ("switch_ivr_play_say.c", "switch_ivr_play_file", 2020),
    "RECORD_START": ("switch_ivr_async.c", "record_callback", 1481),
    "RECORD_STOP": ("switch_ivr_async.c", "send_record_stop_event", 1240),
    "SHUTDOWN": ("switch_core.c", "switch_core_destroy", 3023),
}


def core_headers(name, subclass, sequence: int, core_uuid: str, hostname: str, now_us: int) -> dict[str, str]:
    """`now_us` is in microseconds since 1970; the switch runs in UTC."""
    local, gmt = _dates(now_us // 1_000_000)
    file, function, line = _ORIGINS.get(name, ("mod_event_socket.c", "parse_command", 2000))
    headers = {
        "Event-Name": name, "Core-UUID": core_uuid, "FreeSWITCH-Hostname": hostname, "FreeSWITCH-Switchname": hostname,
        "FreeSWITCH-IPv4": "192.0.2.2", "FreeSWITCH-IPv6": "fd00::2", "Event-Date-Local": local, "Event-Date-GMT": gmt,
        "Event-Date-Timestamp": str(now_us), "Event-Calling-File": file, "Event-Calling-Function": function,
        "Event-Calling-Line-Number": str(line), "Event-Sequence": str(sequence),
    }
    if subclass:
        headers["Event-Subclass"] = subclass
    return headers


def new_uuid() -> str:
    return str(uuid.uuid4())


def date(epoch_s: int) -> str:
    return _dates(epoch_s)[0]


@lru_cache(maxsize=8)
def _dates(epoch_s):
    moment = time.gmtime(epoch_s)
    return time.strftime("%Y-%m-%d %H:%M:%S", moment), time.strftime("%a, %d %b %Y %H:%M:%S GMT", moment)
