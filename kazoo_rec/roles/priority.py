"""Where a role stands in the queue for the processor, beside a FreeSWITCH that goes before everybody.

FreeSWITCH runs all its threads in the realtime class (switch_core.c, set_realtime_priority; its systemd unit says so
too). On a host that it keeps busy a process of the ordinary class waits for seconds: the engine would hear of a leg
when its call is over. So the engine stands where FreeSWITCH's sessions stand, and the media threads still go before it.
"""

import os

import structlog

#: The lowest realtime priority, that of FreeSWITCH's sessions (switch_types.h, SWITCH_PRI_LOW).
WITH_SESSIONS = 1

#: Encoding and uploads take a tenth of what a process of the ordinary class gets where both want the processor.
BEHIND_OTHERS = 10

log = structlog.get_logger()


def with_the_switch():
    """Puts this thread, and those that it will start, where FreeSWITCH's sessions are; says so where it may not."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(WITH_SESSIONS))
    except PermissionError:
        log.warning("the engine has no realtime priority: on a busy host FreeSWITCH, which has, keeps it waiting",
                    hint="LimitRTPRIO=1 in its systemd unit, `--ulimit rtprio=1` for a container")


def may_stand_with_the_switch() -> bool:
    """Whether `with_the_switch` would be granted; the calling thread stays where it is."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(WITH_SESSIONS))
    except PermissionError:
        return False
    os.sched_setscheduler(0, *before)
    return True


def behind_everybody():
    """Lets everything else on the host go first."""
    os.nice(BEHIND_OTHERS)
