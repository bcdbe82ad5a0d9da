"""Where the roles stand in the queue for the processor."""

import os
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from kazoo_rec.roles import priority


def asked_of_a_process(code):
    return subprocess.run([sys.executable, "-c", f"import os; from kazoo_rec.roles import priority; {code}"],
                          capture_output=True, text=True, check=True).stdout


def test_the_engine_and_its_threads_stand_with_the_switch_or_it_says_that_they_do_not():
    told = asked_of_a_process(
        "from threading import Thread; priority.with_the_switch();"
        "thread = Thread(target=lambda: print('in', os.sched_getscheduler(0), os.sched_getparam(0).sched_priority));"
        "thread.start(); thread.join()")
    assert f"in {os.SCHED_RR} 1" in told or (f"in {os.SCHED_OTHER} 0" in told and "LimitRTPRIO=1" in told)


def test_an_engine_that_may_not_stand_there_works_all_the_same(monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    with capture_logs() as said:
        priority.with_the_switch()
    assert [line["log_level"] for line in said] == ["warning"] and "LimitRTPRIO=1" in said[0]["hint"]


def test_delivery_lets_everybody_go_first():
    least_nice = os.nice(0)
    if least_nice > 9:
        pytest.skip("this process is at the end of the queue already")
    assert asked_of_a_process("priority.behind_everybody(); print(os.nice(0))").split() == [str(least_nice + 10)]


def test_to_ask_whether_one_may_changes_nothing():
    told = asked_of_a_process("print(priority.may_stand_with_the_switch(), os.sched_getscheduler(0)); "
                              "priority.with_the_switch(); print(os.sched_getscheduler(0))").split()
    assert told[1] == str(os.SCHED_OTHER) and told[0] == str(told[2] == str(os.SCHED_RR))


def test_one_that_may_not_is_told_so(monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    assert not priority.may_stand_with_the_switch()
