"""A process of the product that kills itself at a step: `python -m tests.faults.doomed FATE role engine --config …`.

FATE is JSON: {"of": "module:function" or "module:Class.method", "when": "before" | "after" | "done", "nth": 1,
"said": ""}. At the nth call (of those of which an argument has `said` in it) the process gets SIGKILL, before it, after
it, or when the result that it promised is there. Nothing of the product knows of it.
"""

from gevent import monkey

monkey.patch_all()

import functools  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402

from kazoo_rec.calls import recovery  # noqa: E402
from kazoo_rec.cli.main import main  # noqa: E402
from kazoo_rec.store import postgres  # noqa: E402

#: Seconds for news of a leg's end to arrive: on this host alone it takes no five.
NEWS_WITHIN_S = 0.5

#: Seconds: a server on this host that says nothing for so long is stopped, and a lock is not soon free.
CONNECT_WITHIN_S, ANSWER_WITHIN_S, LOCK_WITHIN_S = 2, 4, 1


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def doom(of: str, when: str, nth: int = 1, said: str = ""):
    """Has the function `of` be the end of this process."""
    module, _, name = of.partition(":")
    *owners, name = name.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    whole, calls = getattr(owner, name), 0

    @functools.wraps(whole)
    def doomed(*arguments, **more):
        nonlocal calls
        is_of_those = not said or any(said in str(each) for each in (*arguments, *more.values()))
        calls += is_of_those
        is_last = is_of_those and calls == nth
        if is_last and when == "before":
            die()
        result = whole(*arguments, **more)
        if is_last and when == "after":
            die()
        if is_last and when == "done":
            result.rawlink(die)
        return result

    setattr(owner, name, doomed)


if __name__ == "__main__":
    fate = json.loads(sys.argv.pop(1))
    recovery.NEWS_WITHIN_S = NEWS_WITHIN_S
    postgres.CONNECT["connect_timeout"] = CONNECT_WITHIN_S
    postgres.ANSWER_WITHIN_S, postgres.LOCK_WITHIN_S = ANSWER_WITHIN_S, LOCK_WITHIN_S
    if fate:
        doom(**fate)
    sys.argv[0] = "kazoo-rec"
    main()
