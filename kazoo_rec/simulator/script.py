"""What happens in a call: who calls whom, who says what, and when."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import yaml

from kazoo_rec.errors import ConfigError

#: Ways to a phone: as a directory user, at its contact (`sofia/internal/1001%domain`), through a loopback channel.
WAYS = ("user", "contact", "loopback")


@dataclass(frozen=True)
class Phone:
    """One side of a call and what it does. Its times are seconds after its own leg was made.

    `domain` is empty for a number beyond the carrier. `name` is the display name as it stands in the INVITE, as
    hostile as you like. `says` is a tone in Hz, 0 for silence, or {seconds: Hz}. `rings`, `early_media` and `answers`
    count for a phone that is called, None is never; `refuses` is a cause given at `answers` in place of an answer.
    `holds` are pairs (from, to), `presses` is {seconds: digits}, `variables` are what the directory has for the user,
    `headers` are X- headers of its INVITE, as hostile,
    `leg_variables` are on its leg from the start, as `[name=value]` before a dialled user sets them.
    """

    user: str
    domain: str = ""
    name: str = ""
    says: int | Mapping[float, int] = 440
    rings: float | None = 0.0
    early_media: float | None = None
    answers: float | None = None
    refuses: str = ""
    hangs_up: float | None = None
    cause: str = "NORMAL_CLEARING"
    holds: tuple = ()
    presses: Mapping[float, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    leg_variables: Mapping[str, str] = field(default_factory=dict)
    codec: str = "PCMU"
    via: str = "user"

    @property
    def address(self) -> str:
        return f"{self.user}@{self.domain}" if self.domain else self.user

    @property
    def endpoint(self) -> str:
        """As the application `bridge` names it."""
        if not self.domain:
            return f"sofia/gateway/carrier/{self.user}"
        return {"user": f"user/{self.address}", "contact": f"sofia/internal/{self.user}%{self.domain}",
                "loopback": f"loopback/{self.user}/{self.domain}"}[self.via]


@dataclass(frozen=True)
class Script:
    """A call: `caller` dials `dials` (by default the first called user), all of `called` ring at once.

    `dialplan` is what the caller's leg executes, `application data` each; `bridge` alone rings `called`. Without one it
    does what a usual dialplan does for such a call. `sets` are variables that the public dialplan sets on a call from
    the carrier. With `click_to_call` the switch dials the caller first. `faults`: see faults.py. `at` is when the
    call begins, in seconds after `play`.
    """

    caller: Phone
    called: tuple[Phone, ...] = ()
    dials: str = ""
    dialplan: tuple[str, ...] = ()
    sets: Mapping[str, str] = field(default_factory=dict)
    click_to_call: bool = False
    faults: tuple[str, ...] = ()
    name: str = ""
    at: float = 0.0

    def __post_init__(self):
        if not self.dials and not self.called and not self.click_to_call:
            raise ConfigError("a call dials nobody", self.name or self.caller.address, "give `dials` or `called`")
        object.__setattr__(self, "dials", self.dials or (self.called[0].user if self.called else ""))


def read_scripts(path) -> list[Script]:
    """The calls of a YAML file. Raises ConfigError."""
    try:
        document = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as fault:
        raise ConfigError("the file of calls cannot be read", str(fault), "see `kazoo-rec simulate --help`") from fault
    return scripts_of(document)


def scripts_of(document: Mapping) -> list[Script]:
    """The calls of {"phones": {name: Phone's fields}, "calls": [Script's fields]}; a call names its phones.

    `{phone: name, answers: 2}` is that phone with another habit. Raises ConfigError.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("calls"), list):
        raise ConfigError("the file of calls has no list `calls`")
    phones = {name: _phone(values, {}, f"phones.{name}") for name, values in (document.get("phones") or {}).items()}
    return [_script(values, phones, f"calls[{at}]") for at, values in enumerate(document["calls"])]


def _script(values, phones, where):
    _check(Script, values, where)
    if "caller" not in values:
        raise ConfigError("a call names no `caller`", where)
    called = values.get("called") or []
    called = called if isinstance(called, list) else [called]
    return Script(**{
        **values, "caller": _phone(values["caller"], phones, f"{where}.caller"),
        "called": tuple(_phone(each, phones, f"{where}.called") for each in called),
        "dialplan": tuple(values.get("dialplan") or ()), "faults": tuple(values.get("faults") or ())})


def _phone(value, phones, where):
    habits = dict(value) if isinstance(value, Mapping) else {"phone": value}
    name = habits.pop("phone", None)
    if name is not None and name not in phones:
        raise ConfigError("no such phone", f"{where}: {name}", f"known: {', '.join(phones)}")
    _check(Phone, habits, where)
    if name is None and "user" not in habits:
        raise ConfigError("a phone has no `user`", where)
    phone = Phone(**habits) if name is None else replace(phones[name], **habits)
    if phone.via not in WAYS:
        raise ConfigError("no such way to a phone", f"{where}: via {phone.via}", f"known: {', '.join(WAYS)}")
    return phone


def _check(kind, values, where):
    known = [each.name for each in fields(kind)]
    if not isinstance(values, Mapping):
        raise ConfigError("this should be keys and values", where)
    wrong = [str(key) for key in values if key not in known]
    if wrong:
        raise ConfigError("unknown keys", f"{where}: {', '.join(wrong)}", f"known: {', '.join(known)}")
