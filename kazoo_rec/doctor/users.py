"""The users of a configuration's directory: whether their calls can be placed, and their phones reached."""

from collections.abc import Iterator
from dataclasses import dataclass

from kazoo_rec.calls.identity import ID, IdentityRules
from kazoo_rec.doctor.finding import Finding, ok, several, shown, warning, wrong
from kazoo_rec.doctor.preprocess import VARIABLE
from kazoo_rec.doctor.tree import Tree

#: Where a command takes a password from that nobody knows.
RANDOM = "/dev/urandom"

#: The password of the users that FreeSWITCH is shipped with.
SHIPPED = "1234"


@dataclass(frozen=True)
class User:
    """With what its group and its domain say, unless it says it otherwise itself."""

    name: str
    params: dict[str, str]
    variables: dict[str, str]


def users(read: Tree) -> Iterator[User]:
    for domain in read.section("directory").iterfind("domain"):
        in_groups = [(group, one) for group in domain.iterfind("groups/group") for one in group.iterfind("users/user")]
        for group, user in (*in_groups, *((None, one) for one in domain.iterfind("users/user"))):
            said = {kind: {one.get("name", ""): one.get("value", "") for owner in (domain, group, user)
                           if owner is not None for one in owner.iterfind(f"{kind}s/{kind}")}
                    for kind in ("param", "variable")}
            if user.get("type") != "pointer":
                yield User(f"{user.get('id', '')}@{domain.get('name', '')}", said["param"], said["variable"])


def examine(read: Tree, rules: IdentityRules) -> list[Finding]:
    """What is wrong, each told once with how many users it concerns."""
    name, faults, count = "conf directory", {}, 0
    contexts = {one.get("name") for one in read.section("dialplan").iterfind("context")}
    for user in users(read):
        count += 1
        for fault in _faults(user, read, rules, contexts):
            faults.setdefault(fault, []).append(user.name)
    if not count:
        return [warning(name, "it has no users", "they may come from elsewhere (mod_xml_curl); else see "
                        "directory/acme.example.xml of freeswitch-conf")]
    found = [make(name, f"{several(len(names), 'user')} ({shown(names[0])}): {seen}", advice)
             for (make, seen, advice), names in faults.items()]
    return found or [ok(name, f"{several(count, 'user')}, each with a password, a context and a dial-string")]


def _faults(user, read, rules, contexts):
    yield from _password(user, read)
    if not user.params.get("dial-string"):
        yield (wrong, "no dial-string: `user/…` does not reach them",
               'a param "dial-string" of the domain, as in directory/acme.example.xml of freeswitch-conf')
    context = user.variables.get("user_context", "")
    if context in rules.offnet_contexts:
        yield (wrong, f"user_context is {shown(context)}: their calls are taken for calls from outside",
               "a context of their account's own, or identity.offnet_contexts")
    elif context not in contexts:
        yield (wrong, f"user_context is {shown(context)}, and the dialplan has no such context",
               "the name of a context in dialplan/")
    for variable in (*rules.account, *rules.user, *rules.device):
        value = user.variables.get(variable)
        if value is not None and "$" not in value and not ID.fullmatch(value):
            yield (wrong, f"{variable} is {shown(value)}, which is no id and counts for nothing",
                   "the id of a document: at most 64 letters, digits, _ and -")
    for variable in rules.network:
        if user.variables.get(variable, "onnet") not in ("onnet", "offnet"):
            yield (wrong, f"{variable} is {shown(user.variables[variable])}", "onnet or offnet")


def _password(user, read):
    said = user.params.get("password", "")
    if "a1-hash" in user.params or user.params.get("allow-empty-password") == "false":
        return
    made_by = read.text.made_by(said)
    if made_by is not None:
        if RANDOM in made_by:
            yield (wrong, "no password has been chosen: it is random, and no phone can register",
                   "set sip_password in kazoo_rec.xml, or a password for each of them")
    elif not VARIABLE.sub("", said):
        yield wrong, "no password: FreeSWITCH lets everybody in who knows the number", "a password for each of them"
    elif said == SHIPPED:
        yield wrong, "the password is the one that FreeSWITCH is shipped with", "a password for each of them"
