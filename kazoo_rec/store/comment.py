"""What the file of a recording says of it, to make its row again should that be lost (RECORD_COMMENT: a WAV's LIST
chunk, before the audio)."""

import re
from typing import NamedTuple

_ID = re.compile(r"[A-Za-z0-9_.@:-]{1,256}")
_TEXT = re.compile("kazoo_rec" + 8 * "/([A-Za-z0-9_.@:-]*)")


class Comment(NamedTuple):
    """Each an id, "" where there is none. `leg` is A or B, `digest` stands for the settings
    (`policy.settings.digest`)."""

    call_id: str
    interaction_id: str
    rule: str
    leg: str
    user_id: str
    device_id: str
    digest: str
    switch: str

    def __str__(self):
        return "/".join(("kazoo_rec", *self))


#: Of a file that says nothing.
NOTHING = Comment(*8 * ("",))


def made(*ids: str | None) -> Comment:
    """Ids may come from a leg's variables: one that is no id is left out."""
    return Comment(*(one if _ID.fullmatch(one or "") else "" for one in ids))


def read(text: str) -> Comment | None:
    """None of a text that is none."""
    found = _TEXT.fullmatch(text)
    return Comment(*found.groups()) if found else None


def of_arming(text: str) -> Comment | None:
    """That of the recording which an arming begins, a variable of a leg: `record_session <path> +<limit> {…}`."""
    found = re.search(rf"[{{,]RECORD_COMMENT=({_TEXT.pattern})[,}}]", text)
    return read(found[1]) if found else None
