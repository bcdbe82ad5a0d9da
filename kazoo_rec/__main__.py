"""The `kazoo-rec` command. gevent takes over sockets and locks before anything else is imported."""

from gevent import monkey

monkey.patch_all()

from kazoo_rec.cli.main import main

if __name__ == "__main__":
    main()
