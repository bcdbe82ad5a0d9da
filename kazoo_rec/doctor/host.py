"""What this host grants the engine and the API."""

from kazoo_rec.config import Api
from kazoo_rec.doctor.finding import Finding, ok, warning


def priority(granted: bool) -> list[Finding]:
    """See roles/priority.py for why."""
    if granted:
        return [ok("realtime priority", "the engine can have it")]
    return [warning("realtime priority", "the engine would not get it: on a busy host FreeSWITCH keeps it waiting",
                    "LimitRTPRIO=1 in its systemd unit, `--ulimit rtprio=1` for a container")]


def user(effective_id: int) -> list[Finding]:
    if effective_id:
        return []
    return [warning("user", "this runs as root, who may do what the engine may not",
                    "run it as the engine's user: `runuser -u kazoo_rec -- kazoo-rec doctor …`")]


def certificate(api: Api) -> list[Finding]:
    """Whether the API's certificate can be used, where it has one. Raises ConfigError where it cannot. Blocks."""
    if api.tls() is None:
        return []
    return [ok("certificate", f"{api.certificate} can be read, and {api.key} is its key")]
