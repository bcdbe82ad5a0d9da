"""Which phone is behind a contact: for legs that were dialled by their contact and not as a user."""

import re

_CONTACT = re.compile(r"sips?:([^@>;\s]+@[^>;\s?]+)")


class Registrations:
    """Contacts (`user@host:port`) to (user, domain), from `sofia::register` and `show registrations as json`."""

    def __init__(self):
        self._users: dict[str, tuple[str, str]] = {}
        self._contacts: dict[tuple[str, str], set[str]] = {}

    def __len__(self):
        return len(self._users)

    def feed(self, event):
        """Takes in a `sofia::register`, `sofia::unregister` or `sofia::expire` event (mod_sofia, sofia_reg.c)."""
        if event.subclass == "sofia::register":
            self._add(event.get("contact"), event.get("username") or event.get("from-user"), event.get("from-host"))
        elif event.subclass == "sofia::unregister":
            self._remove(event.get("from-user"), event.get("from-host"))
        elif event.subclass == "sofia::expire":
            self._remove(event.get("user"), event.get("host"))

    def load(self, rows: list[dict]):
        """Forgets all, then takes in the rows of `show registrations as json`."""
        self._users.clear()
        self._contacts.clear()
        for row in rows:
            self._add(str(row.get("url", "")), str(row.get("reg_user", "")), str(row.get("realm", "")))

    def behind(self, uri: str) -> tuple[str, str] | None:
        """(user, domain) of the registration whose contact is called by `uri`, or None."""
        found = _CONTACT.search(uri if uri.startswith("sip") else f"sip:{uri}")
        return self._users.get(found[1]) if found else None

    def _add(self, contact, user, domain):
        found = _CONTACT.search(contact)
        if found and user and domain:
            self._users[found[1]] = (user, domain)
            self._contacts.setdefault((user, domain), set()).add(found[1])

    def _remove(self, user, domain):
        for contact in self._contacts.pop((user, domain), ()):
            self._users.pop(contact, None)
