"""A scene in which actions record: account acme, whose rules record every call or none."""

from kazoo_rec.calls.control import Control
from kazoo_rec.calls.files import Files

from .fakes import ROOT, Scene


class Flows(Scene):
    """`begin`, `end`, `change` are the actions' of a callflow of acme on leg a; `disk` is what it raises."""

    knows_all, disk = True, None

    def __init__(self, records=False, observe=False, rows=None):
        rules = {"account": {"any": {"any": {"enabled": True}}}} if records else {}
        super().__init__([("account", "acme", "acme", {"realm": "acme.example", "call_recording": rules}),
                          ("account", "globex", "globex", {"realm": "globex.example"})], observe=observe, rows=rows)
        self.obedient()
        self.control = Control(self.tracker, self.recorder, self.switch.send, Files(ROOT, ROOT, self._run),
                               lambda: self.epoch_ms, lambda: self.now, lambda uuid: self.knows_all, spawn=self._spawn)

    def _run(self, function, args):
        if self.disk:
            raise self.disk
        super()._run(function, args)

    def talks(self, uuid="a", user="1000"):
        return self.phone_calls(uuid, user).answer(uuid)

    def begin(self, uuid="a", rule="callflow", label=None, account="acme", **settings):
        return self.control.begin(account, uuid, settings, rule=rule, label=label, who="Callflow main")

    def end(self, uuid="a", account="acme", **which):
        return self.control.end(account, uuid, who="Callflow main", **which)

    def change(self, action, uuid="a", account="acme", **which):
        return self.control.change(account, uuid, action, who="Callflow main", **which)

    def states(self, rule=None):
        return [row["state"] for row in self.rows.by_id.values() if rule in (None, row["rule"])]
