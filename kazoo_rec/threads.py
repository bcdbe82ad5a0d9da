"""Threads for what blocks, beside gevent's hub."""

from gevent.threadpool import ThreadPool
from gevent.util import wrap_errors


class Threads(ThreadPool):
    """A gevent ThreadPool whose `apply` raises what the function raised and nothing more: gevent's own prints a
    traceback as well, though the error is on its way to who can do something about it."""

    def apply(self, func, args=(), kwds=None):
        result = super().apply(wrap_errors(Exception, func), args, kwds or {})
        if isinstance(result, Exception):
            raise result
        return result
