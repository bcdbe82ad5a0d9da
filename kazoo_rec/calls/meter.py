"""What one switch's engine has to tell in numbers; times in seconds, as Prometheus has them."""

from collections.abc import Mapping
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kazoo_rec.store.losses import class_of

#: Seconds between the answer and the recording's first sample; the switch works in frames of 20 ms.
START_BUCKETS_S = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)

#: Seconds for the reply to a command; the switch takes 11 ms to start a recording.
COMMAND_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

#: Seconds: a connection is had again after 0.2 at the earliest.
OUTAGE_BUCKETS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 3600.0)


class Meter:
    """Counts from when it was made. `registry` has all of it."""

    def __init__(self):
        own = self.registry = CollectorRegistry()
        self.connected = Gauge("kazoo_rec_switch_connected", "1 while events and commands both have a connection.",
                               registry=own)
        self.legs = Gauge("kazoo_rec_legs", "Legs that the switch has.", registry=own)
        self.calls = Gauge("kazoo_rec_calls", "Calls that these legs make up.", registry=own)
        self.events = Counter("kazoo_rec_events", "Events heard.", registry=own)
        self.outages = Histogram("kazoo_rec_outage_seconds", "For how long the switch was not heard.",
                                 buckets=OUTAGE_BUCKETS_S, registry=own)
        self.states = Counter("kazoo_rec_recording_states", "Recordings that came to be in a state.", ["state"],
                              registry=own)
        self._losses = Counter("kazoo_rec_recording_losses", "Recordings that failed, or are partial, and why.",
                               ["loss", "reason"], registry=own)
        self.not_recorded = Gauge("kazoo_rec_legs_not_recorded", "Legs that are wanted and have not been recorded for "
                                  "more than a second.", registry=own)
        self.alarms = Counter("kazoo_rec_not_recorded_alarms", "Times that a recording was missing for so long.",
                              registry=own)
        self.hangups = Counter("kazoo_rec_not_recorded_hangups", "Legs hung up for that.", registry=own)
        self.commands = Gauge("kazoo_rec_commands_waiting", "Commands that wait for their turn.", registry=own)
        self.events_waiting = Gauge("kazoo_rec_events_waiting_bytes", "Events that were read and not handled.",
                                    registry=own)
        self.writes = Gauge("kazoo_rec_writes_waiting", "Writes of the engine that are not durable yet.", registry=own)
        self._given_up = Counter("kazoo_rec_commands_given_up", "Commands that waited too long, or were too many, and "
                                 "were not sent.", ["urgency"], registry=own)
        self._counted = {}
        self._start = Histogram("kazoo_rec_start_latency_seconds", "From the answer of a leg to its recording.",
                                buckets=START_BUCKETS_S, registry=own)
        self._command = Histogram("kazoo_rec_command_seconds", "From a command about a leg to the switch's reply.",
                                  buckets=COMMAND_BUCKETS_S, registry=own)

    def lost(self, loss: str, reason: str | None):
        """"failed" or "partial", with the reason in the row."""
        self._losses.labels(loss, class_of(reason)).inc()

    def gave_up(self, counts: Mapping[str, int]):
        """How many commands of each urgency were given up until now."""
        for urgency, count in counts.items():
            self._given_up.labels(urgency).inc(count - self._counted.get(urgency, 0))
        self._counted = dict(counts)

    def began(self, started_ms: int, answered_ms: int):
        """A recording that was wanted by the answer has begun; both by the switch's clock."""
        self._start.observe(max(0, started_ms - answered_ms) / 1000)

    def timed(self, ask):
        """`ask(command, timeout_s)`, with the time of each reply taken; one that never came counts as long as it was
        waited for."""
        def send(command, timeout_s=5.0):
            begun_s = monotonic()
            try:
                return ask(command, timeout_s)
            finally:
                self._command.observe(monotonic() - begun_s)

        return send
