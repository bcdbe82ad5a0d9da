"""What delivery has to tell in numbers of one switch's recordings; times in seconds, as Prometheus has them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kazoo_rec.store.losses import class_of

#: Seconds of a call that its recording has not.
LOST_BUCKETS_S = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

#: What becomes of an attempt to deliver.
OUTCOMES = ("delivered", "failed", "given_up")


class Meter:
    """Counts from when it was made. `registry` has all of it."""

    def __init__(self):
        own = self.registry = CollectorRegistry()
        self.states = Counter("kazoo_rec_recording_states", "Recordings that came to be in a state.", ["state"],
                              registry=own)
        self._losses = Counter("kazoo_rec_recording_losses", "Recordings that failed, or are partial, and why.",
                               ["loss", "reason"], registry=own)
        self.attempts = Counter("kazoo_rec_delivery_attempts", "Attempts to deliver.", ["outcome"], registry=own)
        self.open = Gauge("kazoo_rec_recordings", "Recordings that are not finished.", ["state"], registry=own)
        self.backlog = Gauge("kazoo_rec_backlog", "What waits for delivery: to be finished, to be uploaded.", ["work"],
                             registry=own)
        self.failing = Gauge("kazoo_rec_failing_servers", "Servers that took nothing at the last attempt, counted for "
                             "each account.", registry=own)
        self.over_quota = Gauge("kazoo_rec_accounts_over_quota", "Accounts that have more than their quota of the disk "
                                "with what no server took.", registry=own)
        self.backlog_age = Gauge("kazoo_rec_backlog_age_seconds", "How long the oldest of it has waited.", ["work"],
                                 registry=own)
        self._lost = Histogram("kazoo_rec_lost_audio_seconds", "Talk that a recording has not: gap, before its start; "
                               "short, less than was expected from start to end.", ["kind"], buckets=LOST_BUCKETS_S,
                               registry=own)
        self.audio_removed = Counter("kazoo_rec_audio_removed", "Delivered recordings whose audio was removed here to "
                                     "make room.", registry=own)
        for outcome in OUTCOMES:
            self.attempts.labels(outcome)

    def lost(self, loss: str, reason: str | None):
        """"failed" or "partial", with the reason in the row."""
        self._losses.labels(loss, class_of(reason)).inc()

    def finished(self, row, columns):
        """`row` of a recording that had stopped, and the columns that it was finished with."""
        self.states.labels(columns["state"]).inc()
        if columns["state"] == "discarded":
            return
        if columns["state"] == "failed" or columns.get("partial"):
            self.lost("failed" if columns["state"] == "failed" else "partial", columns["state_reason"])
        gap_ms = sum(span["to_ms"] - span["from_ms"] for span in row["spans"] if span["kind"] == "gap")
        self._lost.labels("gap").observe(max(0, gap_ms) / 1000)
        if row["expected_ms"] is not None:
            short_ms = row["expected_ms"] - (columns.get("duration_ms") or 0)
            self._lost.labels("short").observe(max(0, short_ms) / 1000)
