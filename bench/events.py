"""Events a second on one core, from the socket to a handler that reads 12 headers: `python bench/events.py`.

The same events, as FreeSWITCH writes them: plain for greenswitch 0.0.19, which knows no other form, JSON for ours. One
process sends what was made before, on a core of its own; each client is a new process on another. Both clients must
have read the same text in the end.
"""

import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import time
from urllib.parse import quote

GOAL = 6  #: times the peer's rate
MOST_MB = 100
ROUNDS = 5
EVENTS = 40_000  #: the peer keeps them all: 1.3 GB
DISTINCT = 800

#: Event name: headers, bytes of JSON about.
KINDS = {"CHANNEL_ANSWER": 140, "CHANNEL_BRIDGE": 192, "RECORD_STOP": 162, "CHANNEL_HANGUP_COMPLETE": 206}
CORE = """Core-UUID FreeSWITCH-Hostname FreeSWITCH-Switchname FreeSWITCH-IPv4 FreeSWITCH-IPv6 Event-Date-Local
Event-Date-GMT Event-Date-Timestamp Event-Calling-File Event-Calling-Function Event-Calling-Line-Number Event-Sequence
Channel-State Channel-Call-State Channel-State-Number Channel-Name Unique-ID Call-Direction Presence-Call-Direction
Channel-HIT-Dialplan Channel-Presence-ID Channel-Call-UUID Answer-State Hangup-Cause Channel-Read-Codec-Name
Channel-Read-Codec-Rate Channel-Read-Codec-Bit-Rate Channel-Write-Codec-Name Channel-Write-Codec-Rate
Channel-Write-Codec-Bit-Rate Record-File-Path""".split()
PARTY = """Direction Logical-Direction Username Dialplan Caller-ID-Name Caller-ID-Number Orig-Caller-ID-Name
Orig-Caller-ID-Number Callee-ID-Name Callee-ID-Number Network-Addr ANI Destination-Number Unique-ID Source Context
Channel-Name Profile-Index Profile-Created-Time Channel-Created-Time Channel-Answered-Time Channel-Progress-Time
Channel-Progress-Media-Time Channel-Hangup-Time Channel-Transfer-Time Channel-Hold-Accum Channel-Bridged-Time
Screen-Bit Privacy-Hide-Name Privacy-Hide-Number""".split()
VARIABLES = """direction uuid session_id sip_from_user sip_from_uri sip_from_host channel_name sip_call_id
ep_codec_string sip_local_network_addr sip_network_ip sip_network_port sip_invite_stamp sip_received_ip
sip_received_port sip_via_protocol sip_authorized sip_acl_authed_by sip_number_alias sip_auth_username sip_auth_realm
number_alias user_name domain_name toll_allow accountcode account_id owner_id device_id user_context
effective_caller_id_name effective_caller_id_number sip_from_user_stripped sip_from_tag sofia_profile_name
sofia_profile_url recovery_profile_name sip_full_via sip_from_display sip_full_from sip_full_to sip_req_user
sip_req_port sip_req_uri sip_req_host sip_to_user sip_to_port sip_to_uri sip_to_host sip_contact_params
sip_contact_user sip_contact_port sip_contact_uri sip_contact_host sip_user_agent sip_via_host sip_via_port sip_via_rport
max_forwards switch_r_sdp call_uuid current_application hangup_after_bridge continue_on_fail dialed_user dialed_domain
originated_legs switch_m_sdp rtp_use_codec_name rtp_use_codec_rate rtp_use_codec_ptime rtp_use_codec_channels
rtp_last_audio_codec_string read_codec read_rate write_codec write_rate local_media_ip local_media_port
advertised_media_ip rtp_use_timer_name rtp_use_pt rtp_use_ssrc rtp_2833_send_payload remote_media_ip remote_media_port
endpoint_disposition originate_disposition last_bridge_to bridge_channel bridge_uuid signal_bond last_sent_callee_id_name
last_sent_callee_id_number sip_hangup_phrase last_bridge_hangup_cause record_file_size record_samples record_seconds
record_ms hangup_cause hangup_cause_q850 digits_dialed start_stamp answer_stamp bridge_stamp end_stamp start_epoch
answer_epoch bridge_epoch end_epoch caller_id duration billsec progresssec answersec waitsec""".split()
READ = """Event-Name Unique-ID Core-UUID Event-Date-Timestamp Call-Direction Channel-Name Caller-Caller-ID-Name
Caller-Caller-ID-Number Caller-Destination-Number Answer-State variable_account_id variable_sip_call_id""".split()


def made(number: int, dice: random.Random) -> dict[str, str]:
    name, count = list(KINDS.items())[number % len(KINDS)]
    headers = [*CORE, *(f"Caller-{field}" for field in PARTY), *(f"variable_{variable}" for variable in VARIABLES),
               *(f"Other-Leg-{field}" for field in PARTY)]
    always = [header for header in READ if header in headers]
    chosen = {*always, *dice.sample([h for h in headers if h not in always], count - 1 - len(always))}
    return {"Event-Name": name, **{header: value(header, dice) for header in headers if header in chosen}}


def value(header: str, dice: random.Random) -> str:
    digits = str(dice.randrange(10**11, 10**12))
    if "sdp" in header:
        return f"v=0\r\no=FreeSWITCH {digits} IN IP4 192.0.2.7\r\nc=IN IP4 192.0.2.7\r\nm=audio 40000 RTP/AVP 0 101\r\n"
    if header.lower().endswith(("uuid", "unique-id", "sip_call_id", "tag")):
        return f"{digits[:8]}-0bc9-4669-9fdd-{digits}"
    if header.endswith(("Caller-ID-Name", "Callee-ID-Name", "display", "id_name")):
        return dice.choice(["Alice Åkesson", "Bob 100%", "Sales & Support", "李 小龙"])
    if header.endswith(("uri", "full_from", "full_to", "full_via", "Channel-Name", "channel_name", "_url")):
        return f"sofia/internal/{digits}@acme.example:5060;transport=udp"
    if header.endswith(("stamp", "Local", "GMT")):
        return "2026-11-21 00:23:29"
    return dice.choice([digits, "true", "1000", "acme.example", "inbound", "switch_core_state_machine.c"])


def plain(event: dict[str, str]) -> bytes:
    body = "".join(f"{header}: {quote(text)}\n" for header, text in event.items()) + "\n"
    return framed(body.encode(), "plain")


def framed(body: bytes, form: str) -> bytes:
    return f"Content-Length: {len(body)}\nContent-Type: text/event-{form}\n\n".encode() + body


def serve():
    """Speaks as much of the event socket as it takes, and at `api go` sends EVENTS in the form subscribed to."""
    pin(0)
    dice = random.Random(7)
    events = [made(number, dice) for number in range(DISTINCT)]
    bodies = [json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() for event in events]
    streams = {b"plain": b"".join(map(plain, events)), b"json": b"".join(framed(body, "json") for body in bodies)}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        counts = [len(event) for event in events]
        print(json.dumps({"port": listener.getsockname()[1], "headers": [min(counts), max(counts)],
                          "bytes": sum(map(len, bodies)) // DISTINCT}), flush=True)
        while True:
            client, _ = listener.accept()
            with client, client.makefile("rb") as lines:
                client.sendall(b"Content-Type: auth/request\n\n")
                for words in map(bytes.split, lines):
                    if not words:
                        continue
                    accepted = b" accepted" if words[0] == b"auth" else b""
                    client.sendall(b"Content-Type: command/reply\nReply-Text: +OK%s\n\n" % accepted)
                    if words[0] == b"event":
                        stream = streams[words[1]]
                    if words == [b"api", b"go"]:
                        for _ in range(EVENTS // DISTINCT):
                            client.sendall(stream)


def greenswitch(port: int) -> tuple[float, int]:
    """Seconds for all events, and how much text was read."""
    from gevent.event import Event
    from greenswitch import InboundESL

    client, done, count, size = InboundESL("127.0.0.1", port, "x"), Event(), 0, 0

    def handle(event):
        nonlocal count, size
        for header in READ:
            size += len(event.headers.get(header, ""))
        count += 1
        if count == EVENTS:
            done.set()

    client.connect()
    for name in KINDS:
        client.register_handle(name, handle)
    client.send(f"event plain {' '.join(KINDS)}")
    since = time.perf_counter()
    client.send("api go")
    done.wait()
    return time.perf_counter() - since, size


def kazoo_rec(port: int) -> tuple[float, int]:
    """As `greenswitch`."""
    from kazoo_rec.switch.connection import Connection

    client, size = Connection("127.0.0.1", port, "x"), 0
    client.connect()
    client.subscribe(KINDS)
    since = time.perf_counter()
    client.send("api go")
    for count, event in enumerate(client.events(), start=1):
        for header in READ:
            size += len(event.get(header))
        if count == EVENTS:
            break
    client.stop()
    return time.perf_counter() - since, size


def measure(client, port: int):
    pin(-1)
    seconds, size = client(port)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": EVENTS / seconds, "peak_mb": peak_mb, "read": size}), flush=True)
    os._exit(0)  # greenswitch's stop waits for greenlets of its own


def pin(which: int):
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[which]})


def run(*arguments: str) -> dict:
    return json.loads(subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True).stdout)


def main() -> int:
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE) as server:
        try:
            offer = json.loads(server.stdout.readline())
            print(f"{EVENTS} events of {offer['headers'][0]} to {offer['headers'][1]} headers, "
                  f"{offer['bytes']} bytes of JSON each; events/s:")
            peer, ours = [], []
            for number in range(1, ROUNDS + 1):
                peer.append(run("greenswitch", str(offer["port"])))
                ours.append(run("kazoo_rec", str(offer["port"])))
                print(f"  {number}: greenswitch {peer[-1]['rate']:7.0f}, {peer[-1]['peak_mb']:5.0f} MB;"
                      f"  kazoo_rec {ours[-1]['rate']:7.0f}, {ours[-1]['peak_mb']:3.0f} MB", flush=True)
        finally:
            server.kill()
    if len({one["read"] for one in peer + ours}) != 1:
        sys.exit("the two did not read the same")
    rate, of_peer = (statistics.median(one["rate"] for one in rounds) for rounds in (ours, peer))
    peak_mb, ratio = max(one["peak_mb"] for one in ours), rate / of_peer
    ok = ratio >= GOAL and peak_mb < MOST_MB
    print(json.dumps({"bench": "events", "value": round(rate), "peer": round(of_peer), "ratio": round(ratio, 2),
                      "goal": GOAL, "ok": ok, "peak_mb": round(peak_mb),
                      "peer_peak_mb": round(max(one["peak_mb"] for one in peer))}))
    return 0 if ok else 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit(main())
        case ["serve"]:
            serve()
        case [client, port]:
            measure({"greenswitch": greenswitch, "kazoo_rec": kazoo_rec}[client], int(port))
