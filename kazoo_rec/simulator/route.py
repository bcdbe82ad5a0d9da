"""What a usual dialplan executes for a call that brings none of its own, and for one that is handed on."""

from kazoo_rec.simulator.events import new_uuid


def usual_dialplan(script) -> list[str]:
    """Lines `application data`; `bridge` stands for the phones that the script calls."""
    caller, called = script.caller, script.called
    onnet = bool(called and called[0].domain)
    if caller.domain:
        return account_dialplan(caller.domain, caller.variables, called)
    if not onnet:
        return [*_sets(script.sets), "set hangup_after_bridge=true",
                f"export nolocal:forwarded_for={script.dials}", "bridge"]
    domain, account = called[0].domain, called[0].variables
    sets = {"domain_name": domain, **{name: account[name] for name in ("accountcode", "account_id") if name in account}}
    return [*_sets({**sets, **script.sets}), f"transfer {called[0].user} XML {domain}",
            *account_dialplan(domain, account, called)]


def account_dialplan(domain, account, called):
    """The context of an account: its users, and the carrier for everything else."""
    lines = [f"set domain_name={domain}", "set hangup_after_bridge=true",
             f"export account_name={account.get('accountcode', domain.partition('.')[0])}"]
    if not called:
        return lines
    if not called[0].domain:
        lines += [f"set effective_caller_id_{which}={account[f'outbound_caller_id_{which}']}"
                  for which in ("number", "name") if f"outbound_caller_id_{which}" in account]
    lines.append("set call_timeout=30")
    if len(called) > 1:
        lines.append("set ignore_early_media=true")
    elif called[0].domain == domain:
        lines.append("set ringback=%(2000,4000,440,480)")
    return [*lines, "bridge"]


def lines_to(switch, number, domain, account):
    """The dialplan of `number` in the context of an account: an extension, one of its users, or beyond the carrier."""
    if number in switch.extensions:
        return list(switch.extensions[number])
    phone = switch.phones.at(f"user/{number}@{domain}") or switch.phones.at(f"sofia/gateway/carrier/{number}")
    return [f"bridge {phone.endpoint}" if line == "bridge" else line
            for line in account_dialplan(domain, account, (phone,))]


def redirect(leg, number, context):
    """The leg has another destination: its profile says so, and whose it was before."""
    source = f"{leg.clock.epoch_us() // 1_000_000}:{new_uuid()}:bl_xfer:{number}/{context}/XML"
    leg.profile = leg.profile.copied(destination=number, context=context, rdnis=leg.profile.destination,
                                     transfer_source=source, index=leg.profile.index + 1)
    leg.variables |= {"max_forwards": str(int(leg.variables.get("max_forwards", "70")) - 1),
                      "transfer_history": source, "transfer_source": source}
    leg.match(number)


def _sets(variables):
    return [f"set {name}={value}" for name, value in variables.items()]
