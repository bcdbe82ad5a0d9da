"""Which phone is behind a contact: for legs that were dialled by their contact and not as a user."""

import re

_CONTACT = re.compile(r"sips?:([^@>;\s]{1,128}@[^>;\s?]{1,128})")

#: Contacts of one user that are kept, the newest; a phone that is restarted leaves old ones behind.
CONTACTS = 16


class Registrations:
    """Contacts (`user@host:port`) to (user, domain), from `sofia::register` and `show registrations as json`.

    Phones behind different NATs may show the same private contact: then it is nobody's, as a guess could take one
    tenant's call for another's.
    """

    def __init__(self):
        self._users: dict[str, set[tuple[str, str]]] = {}
        self._contacts: dict[tuple[str, str], list[str]] = {}

    def __len__(self):
        return len(self._users)

    def feed(self, event):
        """Takes in a `sofia::register`, `sofia::unregister` or `sofia::expire` event (mod_sofia, sofia_reg.c)."""
        if event.subclass == "sofia::register":
            self._add(event.get("contact"), (event.get("username") or event.get("from-user"), event.get("from-host")))
        elif event.subclass == "sofia::unregister":
            self._remove(event.get("contact"), (event.get("from-user"), event.get("from-host")))
        elif event.subclass == "sofia::expire":
            self._remove(event.get("contact"), (event.get("user"), event.get("host")))

    def load(self, rows: list[dict]):
        """Forgets all, then takes in the rows of `show registrations as json`."""
        self._users.clear()
        self._contacts.clear()
        for row in rows:
            self._add(str(row.get("url", "")), (str(row.get("reg_user", "")), str(row.get("realm", ""))))

    def behind(self, uri: str) -> tuple[str, str] | None:
        """(user, domain) of the one registration whose contact is called by `uri`, or None."""
        users = self._users.get(_contact(uri if uri.startswith("sip") else f"sip:{uri}"), ())
        return next(iter(users)) if len(users) == 1 else None

    def _add(self, contact, user):
        contact = _contact(contact)
        if not contact or not all(user):
            return
        self._users.setdefault(contact, set()).add(user)
        known = self._contacts.setdefault(user, [])
        if contact not in known:
            known.append(contact)
            if len(known) > CONTACTS:
                self._forget(known[0], user)

    def _remove(self, contact, user):
        contact = _contact(contact)
        for one in [contact] if contact else list(self._contacts.get(user, ())):
            self._forget(one, user)

    def _forget(self, contact, user):
        for keep, gone in ((self._users, (contact, user)), (self._contacts, (user, contact))):
            key, value = gone
            values = keep.get(key, ())
            if value in values:
                values.remove(value)
                if not values:
                    del keep[key]


def _contact(text):
    found = _CONTACT.search(text)
    return found[1] if found else None
