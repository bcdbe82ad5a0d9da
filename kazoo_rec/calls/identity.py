"""Whose leg is this, and on which side of the network? Read at CHANNEL_CREATE and kept.

A caller is what FreeSWITCH authenticated, matched by ACL, or was itself dialled; never what a phone claims. A callee
is the user that was dialled, or the registration whose contact is called. What a dialplan or a transfer writes into
a leg later changes nothing.
"""

import re
from dataclasses import dataclass, field

from kazoo_rec.calls.leg import Identity

#: An id of a document; anything else that a variable says counts for nothing.
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Trunk:
    """A peer that FreeSWITCH lets in by an ACL: whose it is, and on which side."""

    account: str
    network: str = "onnet"


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """Which channel variables tell whose a leg is, and what makes a leg offnet.

    The lists of names are asked in their order. `account`, `user`, `device` and `network` are for legs without an
    originator; `leg_*` for legs with one, and must be set on that leg alone: an exported variable on a callee is its
    caller's. `offnet_profiles` are names of sofia profiles, `offnet_contexts` of dialplan contexts, `trunks` maps the
    name of an ACL to whom it lets in.
    """

    account: tuple[str, ...] = ("kazoo_rec_account_id", "ecallmgr_Account-ID")
    user: tuple[str, ...] = ("kazoo_rec_user_id", "ecallmgr_Owner-ID")
    device: tuple[str, ...] = ("kazoo_rec_device_id", "ecallmgr_Authorizing-ID")
    network: tuple[str, ...] = ("kazoo_rec_network",)
    leg_account: tuple[str, ...] = ("kazoo_rec_leg_account_id",)
    leg_user: tuple[str, ...] = ("kazoo_rec_leg_user_id",)
    leg_device: tuple[str, ...] = ("kazoo_rec_leg_device_id",)
    leg_network: tuple[str, ...] = ("kazoo_rec_leg_network",)
    offnet_profiles: tuple[str, ...] = ("external",)
    offnet_contexts: tuple[str, ...] = ("public",)
    trunks: dict[str, Trunk] = field(default_factory=dict)


class Identifier:
    """Places legs by the rules, the documents and the registrations of one switch."""

    def __init__(self, rules: IdentityRules, registrations):
        self._rules, self._registrations = rules, registrations

    def caller(self, event, directory) -> Identity:
        """Of a leg without originator: explicit variables, Kazoo's, authentication, trunk, itself dialled, DID."""
        rules = self._rules
        offnet = self._looks_offnet(event)
        network = _network(event, rules.network)
        account = _id(event, rules.account)
        if account:
            kazoo_offnet = bool(event.variable("ecallmgr_Inception"))
            return Identity(network or ("offnet" if offnet or kazoo_offnet else "onnet"), account,
                            _id(event, rules.user), _id(event, rules.device), "variables")
        for user, domain, how in self._authenticated(event):
            found = directory.by_sip(user, domain)
            if found:
                return Identity(network or "onnet", *found, how)
        trunk = rules.trunks.get(event.variable("sip_acl_authed_by"))
        if trunk:
            return Identity(network or trunk.network, trunk.account, how="trunk")
        if event.get("Call-Direction") == "outbound" and event.variable("dialed_user"):
            found = directory.by_sip(event.variable("dialed_user"), event.variable("dialed_domain"))
            return Identity(network or "onnet", *(found or ()), how="dialled user")
        authorized = event.variable("sip_authorized") == "true" and not offnet
        network = network or ("onnet" if authorized else "offnet")
        if network == "offnet":
            for number in _called_numbers(event):
                account = directory.by_number(number)
                if account:
                    return Identity(network, account, how="number")
        return Identity(network)

    def callee(self, event, directory, partner: Identity | None) -> Identity:
        """Of a leg with an originator: its own variables, the dialled user, the registration called, else offnet."""
        rules = self._rules
        network = _network(event, rules.leg_network)
        account = _id(event, rules.leg_account)
        if account:
            return Identity(network or ("offnet" if self._looks_offnet(event) else "onnet"), account,
                            _id(event, rules.leg_user), _id(event, rules.leg_device), "variables")
        user, domain, how = event.variable("dialed_user"), event.variable("dialed_domain"), "dialled user"
        if not user:
            uri = event.variable("sip_destination_url") or event.variable("sip_req_uri")
            user, domain = self._registrations.behind(uri) or ("", "")
            how = "registration"
        if user:
            return Identity(network or "onnet", *(directory.by_sip(user, domain) or ()), how=how)
        return Identity(network or "offnet", partner.account_id if partner else None, how="partner")

    @staticmethod
    def _authenticated(event):
        if event.variable("sip_authorized") != "true":
            return
        yield event.variable("sip_auth_username"), event.variable("sip_auth_realm"), "authentication"
        # An ACL made from the directory names the user whose `cidr` let the caller in (sofia.c, sip_acl_token).
        user, _, domain = event.variable("sip_acl_token").partition("@")
        yield user, domain, "acl"

    def _looks_offnet(self, event) -> bool:
        return (bool(event.variable("sip_gateway_name"))
                or event.variable("sofia_profile_name") in self._rules.offnet_profiles
                or event.get("Caller-Context") in self._rules.offnet_contexts)


def _id(event, names):
    for name in names:
        value = event.variable(name)
        if ID.fullmatch(value):
            return value
    return None


def _network(event, names):
    for name in names:
        value = event.variable(name)
        if value in ("onnet", "offnet"):
            return value
    return None


def _called_numbers(event):
    # Not the To header: it is the caller's to write, and must not choose an account.
    return dict.fromkeys(filter(None, (event.variable("sip_req_user"), event.get("Caller-Destination-Number"))))
