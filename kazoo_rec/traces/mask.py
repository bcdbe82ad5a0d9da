"""Masks people out of a trace, so that it can be shown to others and still be replayed.

Names, SIP users and telephone numbers become made-up ones: the same text the same one throughout one trace, by a key
that is drawn for it and kept nowhere, so that nobody can find a number by masking all numbers. A telephone number, in
whatever notation, becomes one of +888, which no network has. Only headers that are listed here are kept, as no list of
what may name somebody would be complete. Realms, hosts, contexts, gateways, account ids, uuids and times stay as they
are: without them no document matches. Documents masked with the same mask match the trace as the true ones did.
"""

import hmac
import re
import secrets

from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.documents.directory import NUMBER_LIMIT, e164
from kazoo_rec.policy.settings import OVERRIDES
from kazoo_rec.traces.secrets import REMOVED, without_secrets

#: Of country code 888: it is nobody's, and still reads as a number where numbers are compared.
COUNTRY, DIGITS = "888", 12
URL = "https://masked.example/"

_PLAIN = """
Event-Name Event-Subclass Core-UUID Event-Date-Timestamp Event-Sequence Unique-ID Old-Unique-ID Call-Direction
Channel-State Channel-Call-State Channel-Call-UUID Answer-State Hangup-Cause Caller-Context Caller-Source
Caller-Channel-Created-Time Caller-Channel-Answered-Time Caller-Channel-Bridged-Time Caller-Channel-Hangup-Time
Caller-Channel-Transfer-Time Channel-Read-Codec-Name Channel-Read-Codec-Rate Bridge-A-Unique-ID Bridge-B-Unique-ID
Other-Leg-Unique-ID Other-Type Record-Completion-Cause Recording-Variable-kazoo_rec_id from-host host profile-name
expires variable_direction variable_uuid variable_originator variable_originating_leg_uuid
variable_other_loopback_leg_uuid variable_signal_bond variable_sip_authorized variable_sip_auth_realm
variable_sip_acl_authed_by variable_dialed_domain variable_domain_name variable_sip_gateway_name
variable_sofia_profile_name variable_sip_profile_name variable_local_media_port variable_ep_codec_string
variable_originator_codec variable_hangup_cause variable_bypass_media variable_proxy_media
variable_endpoint_disposition uuid direction created_epoch callstate context realm
"""
_TEXT = """
Caller-Username Caller-Caller-ID-Name Caller-Caller-ID-Number Caller-Orig-Caller-ID-Name
Caller-Orig-Caller-ID-Number Caller-Callee-ID-Name Caller-Callee-ID-Number Caller-ANI Caller-Destination-Number
Other-Leg-Caller-ID-Name Other-Leg-Caller-ID-Number Other-Leg-Destination-Number username from-user user
variable_sip_auth_username variable_user_name variable_dialed_user variable_sip_req_user variable_sip_to_user
variable_sip_from_user variable_ecallmgr_Inception reg_user
"""
_ADDRESS = """
Channel-Name Channel-Presence-ID Caller-Channel-Name Other-Leg-Channel-Name contact name url
variable_presence_id variable_sip_acl_token variable_sip_destination_url variable_sip_req_uri variable_sip_to_uri
variable_sip_from_uri variable_sip_contact_uri variable_channel_name
"""
#: That they are there tells something; what is in them, nothing.
_PRESENT = "Record-File-Path variable_rtp_local_sdp_str"

_HEAD = re.compile(r"sofia/[\w.-]{1,64}/(?:sips?:)?|loopback/|sips?:|tel:")
_BRACKETED = re.compile(r"<(sips?:)([^>]*)>")
_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]*")
_NUMBER = re.compile(r"\+?[0-9]{7,15}")
_SEPARATORS = str.maketrans("", "", " ().-")


class Mask:
    """One trace's.

    Parameters:
      rows: documents (as `documents.files.read` gives them) whose numbers are known in each of their notations.
      rules: their variables are kept too; what names a user or a device is masked.
    """

    def __init__(self, rows: list[dict] = (), rules: IdentityRules | None = None, key: bytes | None = None):
        self._key = key or secrets.token_bytes(32)
        accounts = [row["body"] for row in rows if row["kind"] == "account"]
        self._countries = sorted({body["country"] for body in accounts if body.get("country")})
        self._numbers = {e164(number, body.get("country")) for body in accounts for number in body.get("numbers") or ()}
        rules = rules or IdentityRules()
        self._how = {
            **dict.fromkeys(_PLAIN.split(), _as_it_is), **dict.fromkeys(_TEXT.split(), self.text),
            **dict.fromkeys(_ADDRESS.split(), self.address), **dict.fromkeys(_PRESENT.split(), _removed),
            "variable_kazoo_rec": _override,
            **{f"variable_{name}": _as_it_is
               for name in (*rules.account, *rules.leg_account, *rules.network, *rules.leg_network)},
            **{f"variable_{name}": self.text
               for name in (*rules.user, *rules.leg_user, *rules.device, *rules.leg_device)},
        }

    def headers(self, headers: dict) -> dict:
        """The headers of an event, or the keys and values of a row."""
        return without_secrets({name: [how(text) for text in value if isinstance(text, str)]
                                if isinstance(value, list) else how(str(value))
                                for name, value in headers.items() if (how := self._how.get(name))})

    def text(self, text: str) -> str:
        """A name, a user or a number."""
        number = self._number(text)
        if number:
            digits = int.from_bytes(self._digest(number)) % 10**DIGITS
            return f"{'+' if text.startswith('+') else ''}{COUNTRY}{digits:0{DIGITS}}"
        return f"x{self._digest(text).hex()[:12]}" if text else ""

    def address(self, text: str) -> str:
        """A SIP URI, `user@host`, a channel's name, or a contact: the user is masked, parameters are left out."""
        head, rest, end = "", text, ""
        if bracketed := _BRACKETED.search(text):
            head, rest, end = f"<{bracketed[1]}", bracketed[2], ">"
        elif found := _HEAD.match(text):
            head, rest = found[0], text[found.end():]
        if head == "loopback/" and rest[-2:] in ("-a", "-b"):
            rest, end = rest[:-2], rest[-2:]
        user, at, host = rest.rpartition("@") if "@" in rest else (rest, "", "")
        return f"{head}{self.text(user)}{at}{_HOST.match(host)[0]}{end}"

    def document(self, row: dict) -> dict:
        """A document with what a replay needs of it."""
        body, sip = row["body"], row["body"].get("sip") or {}
        kept = ("realm", "call_recording", "record_call", "allow_override")
        masked = {name: _without_urls(body[name]) for name in kept if name in body}
        if body.get("numbers"):
            masked["numbers"] = [self.text(e164(number, body.get("country"))) for number in body["numbers"]]
        if body.get("owner_id"):
            masked["owner_id"] = self.text(body["owner_id"])
        if sip.get("username"):
            masked["sip"] = {"username": self.text(sip["username"])} | (
                {"realm": sip["realm"]} if sip.get("realm") else {})
        return {**row, "id": row["id"] if row["kind"] == "account" else self.text(row["id"]), "body": masked}

    def _number(self, text):
        if not any(map(str.isdecimal, text)) or len(text) > NUMBER_LIMIT:
            return None
        for country in (None, *self._countries):
            number = e164(text, country)
            if number in self._numbers:
                return number
        number = text.translate(_SEPARATORS)
        return f"+{number.lstrip('+')}" if _NUMBER.fullmatch(number) else None

    def _digest(self, text):
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")


def _as_it_is(text):
    return text


def _override(text):
    return text if text in OVERRIDES else ""


def _removed(text):
    return text and REMOVED


def _without_urls(value):
    if isinstance(value, dict):
        return {key: URL if key in ("url", "status_callback") else _without_urls(inner) for key, inner in value.items()}
    return value
