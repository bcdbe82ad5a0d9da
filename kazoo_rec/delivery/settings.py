"""What the configuration says about delivery."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class S3Settings:
    """An object store. `endpoint` None: Amazon's of `region`. `access_key` and `secret_key` are the operator's: for
    `library`, and for URLs without keys of their own, which have to lie below one of `deliver_to`.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    deliver_to: tuple[str, ...] = ()
    library: str | None = None


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
    #: Whether what is finished from now on is encrypted on the disk.
    encrypt: bool = False
    #: Gigabytes that an account may have on the disk with what no server took, before whoever runs it is told.
    account_quota_gb: float | None = None
    file_name: str = "recording_id"
    query: str = "kazoo"
    #: Networks that are not the Internet's, and may be delivered to all the same.
    allow_networks: tuple[str, ...] = ()
    #: PEM: authorities, beside the usual ones, that servers' certificates are verified against.
    ca_file: Path | None = None
    #: None: nothing is delivered to object stores.
    s3: S3Settings | None = None


@dataclass(frozen=True, slots=True)
class DiskSettings:
    """Shares of a disk, 0.1 is 10 %; 0 is never."""

    #: Below it the audio of delivered recordings is removed, the oldest first.
    remove_delivered_below: float = 0.10
    #: Below it whoever runs it is told.
    alarm_below: float = 0.03
