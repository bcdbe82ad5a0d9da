"""What the configuration says about delivery."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """`file_name` is "recording_id" or Kazoo's "call_id", `query` is "kazoo" or "none".

    Of the `uploads` that run at once a server has at most `uploads_per_host`, so that a dead one holds up nobody else.
    """

    uploads_per_host: int = 4
    uploads: int = 16
    #: Seconds after which an upload that keeps failing is given up; its file is kept.
    retry_for_s: int = 7 * 86_400
    remove_after_delivery: bool = False
    #: Gigabytes that an account may have on the disk with what no server took, before whoever runs it is told.
    account_quota_gb: float | None = None
    file_name: str = "recording_id"
    query: str = "kazoo"
