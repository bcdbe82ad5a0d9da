"""Spans of a recording's time, as its row has them: {"kind", "from_ms", "to_ms"}, ms since the epoch; "to_ms" is None
as long as it goes on.

hold   its leg was on hold: nothing of it is in the file
mask   by an order: the file has silence for it; "by" is the rule of the action that gave it, absent where people did,
       and "mute" where its leg was muted in a conference
pause  by an order: nothing of it is in the file; "by" as of mask
gap    before the recording: talk that should have been recorded and was not; "why" says why
cut    after the recording: the switch has not closed its file, as it was killed or its disk was full
silent     its leg's phone sent "sent_ms" of media for "of_ms" of it: the file has silence for the rest, or is short
moved  after the recording: the switch took it along to another leg; what it wrote there is cut off

announced  its parties heard, to the end, what its settings have them told
unheard    after the recording: it ended no earlier, and when was not heard; "why" says why, if that is known
unordered  after the recording: the switch ended it by nobody's order, while its leg went on
declined   a party does not want it: nothing of it is kept; until its row says so, a mark beside its file does
"""

from collections.abc import Iterable, Mapping


def missed(spans: Iterable[Mapping]) -> str | None:
    """What of the talk is missing before the recording, in words; None where nothing is."""
    gap = next((span for span in spans if span["kind"] == "gap"), None)
    return gap and f"{(gap['to_ms'] - gap['from_ms']) / 1000:.1f} s before it were missed: {gap['why']}"


def unheard(spans: Iterable[Mapping]) -> str | None:
    """That the end of the recording was not heard, or of nobody's making, in words; None where it was neither."""
    span = next((span for span in spans if span["kind"] in ("unheard", "unordered")), None)
    if span and span["kind"] == "unordered":
        return "it was ended by nobody's order, while its leg went on"
    return span and ": ".join(filter(None, ("its end was not heard", span.get("why"))))


def silent(spans: Iterable[Mapping]) -> str | None:
    """What its phone did not send, in words; None where it sent all."""
    span = next((span for span in spans if span["kind"] == "silent"), None)
    return span and f"its phone sent {span['sent_ms'] / 1000:.1f} s of media in {span['of_ms'] / 1000:.1f} s"


def declined(at_ms: int) -> dict:
    """The span of what was declined then."""
    return {"kind": "declined", "from_ms": at_ms, "to_ms": at_ms}


def is_cut(spans: Iterable[Mapping]) -> bool:
    return any(span["kind"] == "cut" for span in spans)


def is_moved(spans: Iterable[Mapping]) -> bool:
    return any(span["kind"] == "moved" for span in spans)


def is_declined(spans: Iterable[Mapping]) -> bool:
    return any(span["kind"] == "declined" for span in spans)
