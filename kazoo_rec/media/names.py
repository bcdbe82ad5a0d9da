"""Names of a recording's files, which are all in its master's directory. Nobody lists that for the files of one: a day
may have a million."""

from pathlib import Path

#: In the name of a file that was made of a master for who plays it: it may go at any time.
PLAYED = ".played"

#: What such a file may have of the two sides, and its forms.
_KINDS, _FORMS = ("mono", "dual", "inbound", "outbound"), ("mp3", "wav")

#: How a master's name ends that was begun by command, as its arming came too late.
FALLBACK = ".f.wav"

#: What a file is called while it is written (`sealed.published`).
PART = ".part"


def delivered(recording_id: str, form: str, channels: int) -> str:
    """What is made of a master that is not itself what is to be delivered: `form` mp3 or wav, of so many channels."""
    return f"{recording_id}.mp3" if form == "mp3" else f"{recording_id}.{'dual' if channels == 2 else 'mono'}.wav"


def played(recording_id: str, kind: str, form: str) -> str:
    """What is made for who plays it: `kind` mono, dual, inbound or outbound."""
    return f"{recording_id}.{kind}{PLAYED}.{form}"


def declined(recording_id: str) -> str:
    """The empty file by which the engine says that it is to be erased: its row may not have got to the database."""
    return f"{recording_id}.declined"


def all_of(recording_id: str, master: Path) -> list[Path]:
    """Every file that there may be of a recording, whole or left half written by a kill; the master last: as long as
    that is there, `delivery.orphans` finds the others."""
    names = {f"{recording_id}.wav", recording_id + FALLBACK,
             *(delivered(recording_id, form, channels) for form in _FORMS for channels in (1, 2)),
             *(played(recording_id, kind, form) for kind in _KINDS for form in _FORMS)}
    names |= {declined(recording_id), *(name + PART for name in names)}
    return [*(master.with_name(name) for name in sorted(names - {master.name})), master]
