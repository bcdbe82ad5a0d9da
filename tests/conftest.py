"""The suite runs as the product does: gevent first, then everything else."""

from gevent import monkey

monkey.patch_all()
