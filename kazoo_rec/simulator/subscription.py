"""Which events a connection wants: `event`, `nixevent` and `noevents` (mod_event_socket.c)."""

#: Names that `event` knows (switch_event.c, EVENT_NAMES).
_NAMES = """
    ALL CUSTOM CLONE CHANNEL_CREATE CHANNEL_DESTROY CHANNEL_STATE CHANNEL_CALLSTATE CHANNEL_ANSWER CHANNEL_HANGUP
    CHANNEL_HANGUP_COMPLETE CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE CHANNEL_HOLD CHANNEL_UNHOLD CHANNEL_BRIDGE
    CHANNEL_UNBRIDGE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_OUTGOING CHANNEL_PARK CHANNEL_UNPARK
    CHANNEL_APPLICATION CHANNEL_ORIGINATE CHANNEL_UUID CHANNEL_DATA API LOG INBOUND_CHAN OUTBOUND_CHAN STARTUP SHUTDOWN
    PUBLISH UNPUBLISH TALK NOTALK SESSION_CRASH MODULE_LOAD MODULE_UNLOAD DTMF MESSAGE PRESENCE_IN NOTIFY_IN
    PRESENCE_OUT PRESENCE_PROBE MESSAGE_WAITING MESSAGE_QUERY ROSTER CODEC BACKGROUND_JOB DETECTED_SPEECH DETECTED_TONE
    PRIVATE_COMMAND HEARTBEAT TRAP ADD_SCHEDULE DEL_SCHEDULE EXE_SCHEDULE RE_SCHEDULE RELOADXML NOTIFY PHONE_FEATURE
    PHONE_FEATURE_SUBSCRIBE SEND_MESSAGE RECV_MESSAGE REQUEST_PARAMS GENERAL COMMAND SESSION_HEARTBEAT
    CLIENT_DISCONNECTED SERVER_DISCONNECTED SEND_INFO RECV_INFO RECV_RTCP_MESSAGE SEND_RTCP_MESSAGE CALL_SECURE NAT
    RECORD_START RECORD_STOP PLAYBACK_START PLAYBACK_STOP CALL_UPDATE FAILURE SOCKET_DATA MEDIA_BUG_START MEDIA_BUG_STOP
    CONFERENCE_DATA_QUERY CONFERENCE_DATA CALL_SETUP_REQ CALL_SETUP_RESULT CALL_DETAIL DEVICE_STATE TEXT
    SHUTDOWN_REQUESTED
"""
_KNOWN = frozenset(_NAMES.split())
#: What `myevents` listens to.
_OWN_NAMES = """
    CHANNEL_ANSWER CHANNEL_APPLICATION CHANNEL_BRIDGE CHANNEL_CREATE CHANNEL_DATA CHANNEL_DESTROY CHANNEL_EXECUTE
    CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE CHANNEL_ORIGINATE CHANNEL_UUID CHANNEL_OUTGOING
    CHANNEL_PARK CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_STATE CHANNEL_UNBRIDGE CHANNEL_UNPARK DETECTED_SPEECH
    DTMF NOTALK TALK
"""
_OWN = frozenset(_OWN_NAMES.split())
_NO_KEYWORDS = "-ERR no keywords supplied"


class Subscription:
    """Names of events, subclasses of CUSTOM, and the form "plain" or "json"; each command gives its reply."""

    def __init__(self):
        self.form, self._names, self._subclasses, self._filters = "plain", set(), set(), []

    def wants(self, name: str, subclass: str | None) -> bool:
        if name == "CUSTOM" and subclass:
            return subclass in self._subclasses or "ALL" in self._names
        return name in self._names or "ALL" in self._names

    @property
    def is_any(self) -> bool:
        return bool(self._names or self._subclasses)

    def add(self, words: list[str]) -> str:
        if words and words[0].lower() in ("plain", "json"):
            self.form, words = words[0].lower(), words[1:]
        names, subclasses = _sorted_out(words)
        if not names:
            return _NO_KEYWORDS
        self._names |= names
        self._subclasses |= subclasses
        return f"+OK event listener enabled {self.form}"

    def add_own(self):
        """What `myevents` brings."""
        self._names |= _OWN

    def filter(self, text: str) -> str:
        """`[add] <header> <value>` lets only events pass that have it, one of all those added; `delete <header>
        [value]` or `delete all`."""
        words = text.strip().split(" ", 1)
        if words[0].lower() in ("add", "delete") and len(words) == 2:
            order, words = words[0].lower(), words[1].split(" ", 1)
        else:
            order = "add"
        header, value = words[0], words[1] if len(words) == 2 else ""
        if order == "delete":
            self._filters = [] if header.lower() == "all" else [
                each for each in self._filters if each[0].lower() != header.lower() or value not in ("", each[1])]
            return f"+OK filter deleted. [{header}][{value}]"
        if not value:
            return "-ERR invalid syntax"
        self._filters.append((header, value))
        return f"+OK filter added. [{header}]=[{value}]"

    def passes(self, event) -> bool:
        return not self._filters or any(str(event.get(header, "")).lower() == value.lower()
                                        for header, value in self._filters)

    def take(self, words: list[str]) -> str:
        names, subclasses = _sorted_out(words)
        if not names:
            return _NO_KEYWORDS
        if "ALL" in self._names:
            self._names = set(_KNOWN) - {"ALL"}
        self._names -= names
        self._subclasses -= subclasses
        return "+OK events nixed"

    def end(self) -> str:
        listened, self._names, self._subclasses = bool(self._names), set(), set()
        return "+OK no longer listening for events" if listened else "-ERR not listening for events"


def _sorted_out(words):
    """After CUSTOM all further words are subclasses; unknown names are passed over."""
    names, subclasses = set(), set()
    for word in words:
        if "CUSTOM" in names:
            subclasses.add(word)
        elif word.upper() in _KNOWN:
            names.add(word.upper())
    return names, subclasses
