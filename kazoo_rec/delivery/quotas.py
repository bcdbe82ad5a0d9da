"""What each account has on the disk that no server took: one that has more than its quota is told of. What is to be
recorded is recorded all the same, until the disk is nearly full: what is left of it is then for the others."""

import structlog

from kazoo_rec.delivery.meter import Meter

#: Bytes of a gigabyte.
GB = 1_000_000_000

log = structlog.get_logger()


class Quotas:
    """Of one node.

    Parameters:
      recordings: of a Store.
      quota_bytes: of each account; None: nothing is looked at.

    `over`: accounts that have more.
    """

    def __init__(self, recordings, node: str, quota_bytes: float | None, meter: Meter):
        self._recordings, self._node, self._quota_bytes, self._meter = recordings, node, quota_bytes, meter
        self.over: set[str] = set()

    def look(self):
        """Tells of each account once when it is over its quota, and once when it no longer is."""
        if self._quota_bytes is None:
            return
        kept = self._recordings.undelivered(self._node)
        over = {account_id for account_id, (_, kept_bytes) in kept.items() if kept_bytes > self._quota_bytes}
        for account_id in sorted(over - self.over):
            count, kept_bytes = kept[account_id]
            log.error("an account is over its quota", account_id=account_id, undelivered=count, bytes=kept_bytes,
                      quota_bytes=self._quota_bytes, node=self._node,
                      hint="its server takes nothing, or less than is recorded: `kazoo-rec recordings list` has why")
        for account_id in sorted(self.over - over):
            log.info("an account is below its quota again", account_id=account_id, node=self._node)
        self.over = over
        self._meter.over_quota.set(len(over))
