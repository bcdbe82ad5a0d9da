"""What the switch shows of a leg: its variables, its profile, and the events that tell of it."""

from kazoo_rec.simulator.events import new_uuid
from kazoo_rec.simulator.headers import channel_headers


class Channel:
    """The data of a Leg and its events."""

    def get(self, name: str) -> str:
        """A channel variable, or what the caller profile says by that name; "" where there is none."""
        profile = self.profile
        known = {"caller_id_name": profile.caller_id_name, "caller_id_number": profile.caller_id_number,
                 "destination_number": profile.destination, "context": profile.context, "ani": profile.ani,
                 "username": profile.username, "network_addr": profile.network_address}
        return self.variables.get(name) or known.get(name, "")

    def set(self, name: str, value: str):
        """Sets a channel variable; an empty value takes it away."""
        if value:
            self.variables[name] = value
        else:
            self.variables.pop(name, None)

    def match(self, number: str):
        """The dialplan of an account knows the number; its matches make a list among the variables."""
        self.variables["DP_MATCH"] = f"ARRAY::{number}|:{number}"

    def publish(self, event, before=(), after=(), variables=True, subclass=None):
        """Sends an event with all the leg's headers, some before and some after them."""
        self.switch.publish(event, lambda: {**dict(before), **channel_headers(self, variables), **dict(after)},
                            subclass, self.uuid)

    def stamp(self, *names):
        now = self.clock.epoch_us()
        self.profile.times |= {name: now for name in names if not self.profile.times[name]}

    def executing(self, application, data, uuid="") -> str:
        """An application begins. Gives its uuid."""
        uuid, self.shown_application = uuid or new_uuid(), None
        self.publish("CHANNEL_EXECUTE", after={
            "Application": application, **({"Application-Data": data} if data else {}), "Application-UUID": uuid})
        return uuid

    def executed(self, application, data, response, uuid=""):
        self.publish("CHANNEL_EXECUTE_COMPLETE", after={
            "Application": application, **({"Application-Data": data} if data else {}),
            "Application-Response": response, "Application-UUID": uuid or new_uuid()})

    def playback_started(self, path, more=()):
        self.publish("PLAYBACK_START", after={**_playback(path), **dict(more)})

    def playback_stopped(self, path, status, more=()):
        self.publish("PLAYBACK_STOP", after={**_playback(path), "Playback-Status": status, **dict(more)})


def _playback(path):
    kind = path.partition(":")[0]
    return {**({"Playback-File-Type": kind} if kind in ("tone_stream", "local_stream") else {}),
            "Playback-File-Path": path}
