"""Recording from any dialplan, in one line: the application `event` fires `kazoo_rec::record_call` for its leg.

    <action application="event" data="Event-Name=CUSTOM,Event-Subclass=kazoo_rec::record_call,action=start,label=x"/>

Its keys are those of the action record_call, in any case and with `-` for `_` (`Time-Limit`). The event has all headers
of its channel as well, and no key of the action is named like one of those (switch_channel_event_set_data). Without a
label, what the dialplan has begun of the leg is meant.
"""

from collections import deque

import structlog

from kazoo_rec.calls.actions import Actions
from kazoo_rec.documents.schema import check, keys, worded
from kazoo_rec.errors import SwitchError, WrongState
from kazoo_rec.store.secrets import forged
from kazoo_rec.switch.events import Event
from kazoo_rec.switch.redial import place

SUBCLASS = "kazoo_rec::record_call"

#: The rule of what the dialplan begins, and who that is for people.
RULE, WHO = "event", "The dialplan"

log = structlog.get_logger()


class Dialplan:
    """Of one switch. `spawn` runs a function in a greenlet: orders of one leg are carried out one after the other, and
    no event waits for them."""

    def __init__(self, actions: Actions, spawn):
        self._actions, self._spawn = actions, spawn
        self._waiting: dict[str, deque] = {}
        check("record_call", {})  # its schema is read now, and not while calls wait

    def heard(self, event: Event, _now_at: int):
        """An event of SUBCLASS; who sends one from elsewhere (`sendevent`) has no leg."""
        if not event.uuid:
            log.warning("an order of the dialplan is of no leg", subclass=SUBCLASS)
            return
        waiting = self._waiting.get(event.uuid)
        if waiting is not None:
            waiting.append(event)
            return
        self._waiting[event.uuid] = deque([event])
        self._spawn(self._carry_out, event.uuid)

    def _carry_out(self, uuid):
        waiting = self._waiting[uuid]
        try:
            while waiting:
                try:
                    self._order(uuid, waiting.popleft())
                except Exception as fault:  # noqa: BLE001 - a fault in one must not lose those behind it
                    log.error("an order of the dialplan failed", call_id=uuid, fault=place(fault))
        finally:
            del self._waiting[uuid]

    def _order(self, uuid, event):
        data, faults = check("record_call", _said(event))
        if path := forged(data):
            faults = [*faults, {"path": path, "message": "looks sealed"}]
        if faults:
            log.warning("an order of the dialplan is not understood", call_id=uuid,
                        faults="; ".join(map(worded, faults)))
            return
        if data.get("skip_module"):
            return
        try:
            self._obey(uuid, data)
        except (WrongState, SwitchError) as refused:
            log.warning("an order of the dialplan was not carried out", call_id=uuid, action=data["action"],
                        reason=str(refused))

    def _obey(self, uuid, data):
        leg, action, label = self._actions.leg(uuid), data["action"], data.get("label")
        account_id = leg.identity.account_id
        if account_id is None:
            raise WrongState("the leg is nobody's", hint="`kazoo_rec_account_id` can say whose it is")
        if action == "start":
            self._actions.begin(account_id, uuid, data, rule=RULE, who=WHO)
            return
        ids = None if label else [one.id for one in leg.recordings if one.plan.rule == RULE]
        if action == "stop":
            self._actions.end(account_id, uuid, ids=ids, label=label, who=WHO)
        else:
            self._actions.change(account_id, uuid, action, ids=ids, label=label, who=WHO)


def _said(event: Event) -> dict:
    """Its keys of the action, as texts: an empty one says nothing."""
    names = {name.lower().replace("-", "_"): name for name in event.headers}
    return {key: event.get(names[key]) for key in keys("record_call") if key in names and event.get(names[key])}
