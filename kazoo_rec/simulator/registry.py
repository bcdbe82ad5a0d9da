"""The phones that the switch knows, and where they are."""

import itertools
from dataclasses import replace

from kazoo_rec.simulator.script import Phone
from kazoo_rec.simulator.sip import directory

_CARRIER = "127.0.0.1:5090"


class Registry:
    """Phones by address, each at a contact of its own; everybody beyond the carrier is at the carrier's."""

    def __init__(self):
        self._found, self._ports = {}, itertools.count(6000)

    def add(self, phone: Phone):
        # However it was reached this time: by its address it is a user, and what one leg bore is not the phone's.
        self._found[phone.address] = replace(phone, via="user", leg_variables={}), self.contact(phone)

    def contact(self, phone: Phone) -> str:
        """`host:port`; a phone that nobody knew is known from here on."""
        if not phone.domain:
            return _CARRIER
        if phone.address not in self._found:
            self._found[phone.address] = phone, f"127.0.0.1:{next(self._ports)}"
        return self._found[phone.address][1]

    def at(self, endpoint: str) -> Phone | None:
        """Who is at `user/1001@domain` or `sofia/gateway/carrier/number`; beyond the carrier everybody answers."""
        if endpoint.startswith("sofia/gateway/"):
            number = endpoint.rpartition("/")[2]
            return self._found.get(number, (Phone(number, answers=0.5), _CARRIER))[0]
        return self._found.get(endpoint.partition("/")[2], (None, None))[0]

    def registration(self, phone: Phone, expires_s: int) -> dict[str, str]:
        """What the event of a phone's registration says."""
        user, domain = phone.user, phone.domain
        host, _, port = self.contact(phone).partition(":")
        return {
            "profile-name": "internal", "from-user": user, "from-host": domain, "presence-hosts": "n/a",
            "contact": f'"" <sip:{user}@{host}:{port}>', "call-id": f"{user}@phone", "rpid": "unknown",
            "status": "Registered(UDP)", "expires": str(expires_s), "to-user": user, "to-host": domain,
            "network-ip": host, "network-port": port, "username": user, "realm": domain,
            "user-agent": "SimulatedPhone/1.0", "sip_number_alias": user, "sip_auth_username": user,
            "sip_auth_realm": domain, "number_alias": user, "user_name": user, "domain_name": domain,
            **directory(phone)}

    def rows(self, hostname: str, now_s: int) -> list[dict[str, str]]:
        """As `show registrations` has them; each is good for another hour."""
        rows = []
        for phone, contact in self._found.values():
            host, _, port = contact.partition(":")
            if phone.domain:
                rows.append({
                    "reg_user": phone.user, "realm": phone.domain, "token": f"{phone.user}@phone",
                    "url": f"sofia/internal/sip:{phone.user}@{contact}", "expires": str(now_s + 3600),
                    "network_ip": host, "network_port": port, "network_proto": "udp", "hostname": hostname,
                    "metadata": ""})
        return rows
