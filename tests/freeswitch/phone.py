"""A SIP phone over UDP on loopback: registers, calls, is called, holds, hangs up, and says a tone of its own.

A test plays the person at it: nothing is answered, rejected or ended by itself.
"""

import re
import time
from collections.abc import Callable
from urllib.parse import quote

import gevent
from gevent import socket
from gevent.event import AsyncResult, Event
from gevent.queue import Queue

from tests.freeswitch import sip
from tests.freeswitch.rtp import RATE_HZ, Stream, linear
from tests.freeswitch.sound import Channel

#: Seconds that the switch may take to say something that a test waits for.
PATIENCE_S = 10

#: Seconds after which an INVITE that nobody answers has no chance any more.
RINGING_S = 60


class Phone:
    """One user at one registrar or, with a port of its own, a carrier.

    Parameters:
      user, domain: of From; also of the digest.
      tone_hz: what it says in every call.
      proxy: where it sends requests.
    """

    def __init__(self, user: str, domain: str, tone_hz: int, proxy=("127.0.0.1", 5060), password="1234", port=0):
        self.user, self.domain, self.tone_hz, self.password = user, domain, tone_hz, password
        self._proxy = proxy
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self.address = "{}:{}".format(*self._socket.getsockname())
        self._calls: dict[str, Call] = {}
        self._ringing: Queue[Call] = Queue()
        self._transactions: dict[tuple, Queue] = {}
        self._greenlets = [gevent.spawn(self._serve)]

    def register(self, expires_s: int = 3600):
        final = Dialog(self, f"sip:{self.domain}", self.user).transact("REGISTER", [("Expires", str(expires_s))])
        assert final.code == 200, final.first

    def call(self, number: str) -> "Call":
        """Sends an INVITE; does not wait."""
        call = Call(self, Dialog(self, f"sip:{number}@{self.domain}", number))
        self._calls[call.dialog.call_id] = call
        self._greenlets.append(gevent.spawn(call.invite))
        return call

    def rings(self, within_s=PATIENCE_S) -> "Call":
        """Waits for the next call to this phone. Raises gevent.queue.Empty."""
        return self._ringing.get(timeout=within_s)

    def forget(self):
        """Knows of no call any more; the switch has ended them."""
        for call in self._calls.values():
            call.drop()
        self._calls.clear()
        self._ringing = Queue()

    def close(self):
        self.forget()
        gevent.killall(self._greenlets)
        self._socket.close()

    def send(self, datagram: bytes):
        self._socket.sendto(datagram, self._proxy)

    def responses(self, call_id: str, cseq: int, method: str) -> Queue:
        """Where responses to a request of this phone arrive."""
        return self._transactions.setdefault((call_id, cseq, method), Queue())

    def _serve(self):
        while True:
            message = sip.Message.read(self._socket.recv(65536))
            if message.code:
                self.responses(message["call-id"], message.cseq, message.method).put(message)
            elif message.method != "ACK":
                self._take(message)

    def _take(self, request):
        call = self._calls.get(request["call-id"])
        if call:
            call.take(request)
        elif request.method == "INVITE":
            call = self._calls[request["call-id"]] = Call(self, Dialog.called(self, request), request)
            call.reply(100, "Trying")
            self._ringing.put(call)
        else:
            self.send(sip.response(request, 200, "OK", sip.token()))


class Dialog:
    """Who talks to whom, and the numbers of the requests (RFC 3261, 12)."""

    def __init__(self, phone: Phone, target: str, number: str):
        self._phone = phone
        self.call_id, self.tag, self.target, self._cseq = sip.token(), sip.token(), target, 0
        self._local = f"<sip:{phone.user}@{phone.domain}>;tag={self.tag}"
        self._remote = f"<sip:{number}@{phone.domain}>"

    @classmethod
    def called(cls, phone: Phone, invite: sip.Message) -> "Dialog":
        dialog = cls(phone, sip.uri(invite["contact"]), phone.user)
        dialog.call_id = invite["call-id"]
        dialog._local, dialog._remote = f"{invite['to']};tag={dialog.tag}", invite["from"]
        return dialog

    def transact(self, method: str, headers=(), body: bytes = b"", told=lambda provisional: None) -> sip.Message:
        """Sends a request, answers a challenge, returns the final response; `told` gets the others."""
        final = self._ask(method, headers, body, told)
        if final.code in (401, 407):
            answer = sip.authorization(final, method, self.target, self._phone.user, self._phone.password)
            final = self._ask(method, [*headers, answer], body, told)
        return final

    def cancel(self):
        self._phone.send(self._request("CANCEL", self._branch))

    @property
    def replaced(self) -> str:
        """A Refer-To that has somebody take this dialog over (RFC 3891; RFC 5589, 7)."""
        remote = re.search(r";tag=([^;>\s]+)", self._remote)[1]
        replaces = quote(f"{self.call_id};to-tag={remote};from-tag={self.tag}", safe="")
        return f"<{self.target}?Replaces={replaces}>"

    def _ask(self, method, headers, body, told):
        self._cseq, self._branch = self._cseq + 1, "z9hG4bK" + sip.token()
        responses = self._phone.responses(self.call_id, self._cseq, method)
        self._phone.send(self._request(method, self._branch, headers, body))
        patience_s = RINGING_S if method == "INVITE" else PATIENCE_S
        while (response := responses.get(timeout=patience_s)).code < 200:
            told(response)
        if method == "INVITE":
            self._acknowledge(response)
        return response

    def _acknowledge(self, final):
        before, branch = self._remote, self._branch
        self._remote = final["to"]
        if final.code < 300:
            self.target, branch = sip.uri(final["contact"]), "z9hG4bK" + sip.token()
        self._phone.send(self._request("ACK", branch))
        if final.code >= 300:
            self._remote = before

    def _request(self, method, branch, headers=(), body=b""):
        address = self._phone.address
        return sip.write(f"{method} {self.target} SIP/2.0", [
            ("Via", f"SIP/2.0/UDP {address};rport;branch={branch}"), ("Max-Forwards", "70"), ("From", self._local),
            ("To", self._remote), ("Call-ID", self.call_id), ("CSeq", f"{self._cseq} {method}"),
            ("Contact", f"<sip:{self._phone.user}@{address}>"), ("Allow", "INVITE, ACK, BYE, CANCEL"), *headers], body)


class Call:
    """One call of a phone. Times are `time.monotonic()`, None until it happened; `code` is how an INVITE ended."""

    def __init__(self, phone: Phone, dialog: Dialog, invite: sip.Message | None = None):
        self._phone, self.dialog, self._invite = phone, dialog, invite
        self._media, self._direction = Stream(phone.tone_hz), "sendrecv"
        self._answered, self._ended, self._notified = AsyncResult(), Event(), Queue()
        self.begun_at, self.answered_at, self.ended_at = time.monotonic(), None, None
        self._held_at, self.held_ms = None, 0
        self.code, self.tone_hz = 0, phone.tone_hz

    # -- the caller

    def invite(self):
        final = self.dialog.transact("INVITE", body=self._sdp(), told=self._speak)
        self.code = final.code
        if final.code == 200:
            self._is_up(final)
        else:
            self.drop()

    def answered(self) -> "Call":
        """Waits for the answer."""
        self._answered.get(timeout=PATIENCE_S)
        return self

    # -- the callee

    def ring(self, duration_ms=300) -> "Call":
        """Rings for so long, or until the caller gives up."""
        self.reply(180, "Ringing")
        self._ended.wait(duration_ms / 1000)
        return self

    def early_media(self) -> "Call":
        """Says its tone before it answers."""
        self.reply(183, "Session Progress", self._sdp())
        self._speak(self._invite)
        return self

    def answer(self) -> "Call":
        self.reply(200, "OK", self._sdp())
        self._is_up(self._invite)
        return self

    def reject(self, code: int, reason: str):
        self.reply(code, reason)
        self.drop()

    # -- both

    def hold(self):
        """Says nothing from now on, and wants to hear nothing. The switch takes a quarter of a second to answer."""
        self._held_at, self._media.silent = time.monotonic(), True
        self._renew("sendonly")

    def unhold(self):
        self._renew("sendrecv")
        self._media.silent = False
        self.held_ms += (time.monotonic() - self._held_at) * 1000

    def fall_silent(self):
        """Sends no more media from now on, and does not say so; it is still heard by."""
        self._media.silent = True

    def refer(self, number: str) -> int:
        """Has the switch connect the other side with `number`, and waits for what came of it (RFC 3515): a SIP status,
        or 0 where the call was ended without one."""
        return self._refer(f"<sip:{number}@{self._phone.domain}>")

    def refer_to(self, other: "Call") -> int:
        """As `refer`, to whom this phone talks with, or talked with, in `other`."""
        return self._refer(other.dialog.replaced)

    def listen(self) -> Callable[[], Channel]:
        """Keeps what is heard from now on; the result gives it."""
        kept = self._media.kept = []
        return lambda: Channel(linear(b"".join(kept)), RATE_HZ)

    @property
    def arrived_ms(self) -> list[float]:
        """When each packet came that was heard."""
        return self._media.arrived_ms

    def say(self, tone_hz: int):
        """Another tone than the phone's from now on."""
        self._media.say(tone_hz)

    def press(self, key: str):
        self._media.press(key)

    def hear(self, duration_ms: int):
        """Waits until this much more has been heard."""
        self._media.hear(duration_ms)

    def speak(self, duration_ms: int):
        """Waits until this much more has been said."""
        self._media.speak(duration_ms)

    def hang_up(self):
        """Ends the call however far it is; does nothing when it has ended."""
        if self._ended.is_set():
            return
        if self.answered_at is not None:
            self.drop()
            self.dialog.transact("BYE")
        elif self._invite is None:
            self.dialog.cancel()
            self.ended()
        else:
            self.reject(480, "Temporarily Unavailable")

    def drop(self):
        """Is over, without a word."""
        if not self._ended.is_set():
            self.ended_at = time.monotonic()
            self._media.close()
            self._ended.set()

    def ended(self) -> "Call":
        """Waits for the end."""
        assert self._ended.wait(PATIENCE_S), "the call goes on"
        return self

    @property
    def number(self) -> str:
        """Of a call to this phone: whom the INVITE is for."""
        return re.match(r"INVITE sip:([^@;>]+)", self._invite.first)[1]

    @property
    def talk_ms(self) -> float:
        """From the answer to BYE, as this phone saw them."""
        return (self.ended_at - self.answered_at) * 1000

    def take(self, request: sip.Message):
        """A request of the other side inside this call."""
        if request.method == "INVITE" and "tag=" in request["to"]:
            self._speak(request)
            self._phone.send(sip.response(request, 200, "OK", self.dialog.tag, self._contact(), self._sdp()))
        elif request.method != "INVITE":
            self._phone.send(sip.response(request, 200, "OK", self.dialog.tag))
            if request.method == "CANCEL":
                self.reject(487, "Request Terminated")
            elif request.method == "NOTIFY":
                self._notified.put(request.body)
            elif request.method == "BYE":
                self.drop()
                self._notified.put(b"")

    def reply(self, code: int, reason: str, body: bytes = b""):
        self._phone.send(sip.response(self._invite, code, reason, self.dialog.tag, self._contact(), body))

    def _refer(self, target):
        whom = [("Refer-To", target), ("Referred-By", f"<sip:{self._phone.user}@{self._phone.domain}>")]
        final = self.dialog.transact("REFER", whom)
        assert final.code == 202, final.first
        while body := self._notified.get(timeout=RINGING_S):
            if (code := int(body.split()[1])) >= 200:
                return code
        return 0

    def _renew(self, direction):
        self._direction = direction
        final = self.dialog.transact("INVITE", body=self._sdp())
        assert final.code == 200, final.first

    def _is_up(self, message):
        self.answered_at = time.monotonic()
        self._speak(message)
        self._answered.set(True)

    def _speak(self, message):
        if message.audio():
            self._media.start(message.audio())

    def _contact(self):
        return [("Contact", f"<sip:{self._phone.user}@{self._phone.address}>")]

    def _sdp(self):
        return "\r\n".join([
            "v=0", f"o=phone 1 {int(time.monotonic() * 1000)} IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0",
            f"m=audio {self._media.port} RTP/AVP 0 101", "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:20", f"a={self._direction}", "",
        ]).encode()
