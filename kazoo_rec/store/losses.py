"""Why recordings are failed or partial, in few words: for counting, where a reason as it is written has figures in it,
and sometimes what a file began with."""

#: What a reason has in it, and the word for it; the first that fits. A row may have more than one reason.
_CLASSES = (
    ("declined", "declined"), ("no media", "no_media"), ("never announced", "not_announced"),
    ("over its quota", "over_quota"), ("never started", "never_started"), ("cannot be part of a command", "unfit_leg"),
    ("could not open the file", "no_file"), ("file missing", "no_file"), ("file empty", "no_file"),
    ("not a WAV", "unreadable"), ("more audio than", "unreadable"), ("became shorter", "unreadable"),
    ("switch was restarted", "switch_restarted"), ("engine was not connected", "engine_away"),
    ("began late", "began_late"), ("transfer took", "transferred"), ("partial: ", "short"),
)

#: Every word that there is.
CLASSES = tuple(dict.fromkeys([word for _, word in _CLASSES] + ["other"]))


def class_of(reason: str | None) -> str:
    """One of CLASSES for the `state_reason` of a row."""
    return next((word for text, word in _CLASSES if text in (reason or "")), "other")
