"""How recordings start: by the application record_session and by the command uuid_record."""

from urllib.parse import unquote

from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.recording import Recording

#: Two starts on one path, one armed and one commanded, both succeed when they are this close, in seconds: a command
#: given at CHANNEL_ANSWER does (measured: 20 of 20 legs, none after 50 ms).
RACE_S = 0.04
#: A command's recording says that it began when its thread runs, in seconds; the command is answered no sooner.
THREAD_START_S = 0.011


def record_session(leg, data: str):
    """The application: `<path> [+<limit>] [{variables}]`. A blank elsewhere spoils what follows; failure is silent."""
    words = data.split(" ")
    limit_s, rest = 0, words[1:]
    if rest and rest[0].startswith("+") and rest[0][1:].isdigit():
        limit_s, rest = int(rest[0][1:]), rest[1:]
    variables = parse_variables(rest[0]) if len(rest) == 1 else {}
    start_recording(leg, words[0], limit_s, variables, armed=True)


def parse_variables(text: str) -> dict[str, str]:
    """`{a=b,c=d}` or `{^^:a=b:c=d}`: url-decoded first, so %2C protects no comma; {} where it is not both braces."""
    if not (text.startswith("{") and text.endswith("}")):
        return {}
    text, separator = unquote(text[1:-1]), ","
    if text.startswith("^^") and len(text) > 2:
        separator, text = text[2], text[3:]
    return dict(part.split("=", 1) for part in text.split(separator) if "=" in part)


def in_front(text: str, opens: str, closes: str) -> tuple[dict[str, str], str]:
    """The variables in brackets at the beginning of a dial string or a path, and what comes behind them."""
    variables = {}
    while text.startswith(opens):
        inside, _, text = text[1:].partition(closes)
        variables |= parse_variables("{" + inside + "}")
    return variables, text


def start_recording(leg, path: str, limit_s: int, variables: dict, armed: bool) -> bool:
    """Whether the switch says that it went well, which it also does where the path is being recorded already."""
    if not path or leg.cause:
        return False
    if not leg.media:
        return armed and _break_bypass(leg, path, limit_s, variables)
    if not path.startswith("/"):
        path = f"{leg.switch.recordings}/{path}"
    now = leg.clock.now
    known = leg.files.get(path)
    if known is not None and (known.armed == armed or now - known.started >= RACE_S):
        return True
    if not leg.early and not leg.answered:
        if leg.direction == "outbound":
            return _ruin(leg)
        leg.pre_answer()
    try:
        recording = Recording(leg, path, limit_s, variables, armed)
    except OSError:
        return False
    # Commands find a recording by its path, and of two on one path only the later.
    leg.files[path] = recording
    leg.recordings.append(recording)
    leg.recorded.append(recording)
    if armed:
        recording.announce()
    else:
        leg.clock.after(THREAD_START_S, lambda: recording.cause or recording.announce())
    return True


def _break_bypass(leg, path, limit_s, variables):
    """To record a caller at his answer, whose media goes around the switch, brings it there; his partner's can then
    not be understood, and both are hung up. Of a called leg see Arming.sticks."""
    if not leg.call.bypasses_media or leg.direction == "outbound":
        return False
    leg.media = True
    leg.negotiate()
    done = start_recording(leg, path, limit_s, variables, armed=True)
    leg.clock.after(2 * FRAME_S, lambda: leg.partner is None or leg.partner.hangup("INCOMPATIBLE_DESTINATION"))
    return done


def _ruin(leg):
    """To record a called leg that only rings makes it early media without media: the call dies of it."""
    leg.pre_answer()
    leg.clock.after(4 * FRAME_S, lambda: leg.hangup("INCOMPATIBLE_DESTINATION"))
    return False
