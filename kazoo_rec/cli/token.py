"""`kazoo-rec token`: who may use the API."""

import re
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from kazoo_rec.api import tokens
from kazoo_rec.cli.options import config_file
from kazoo_rec.config import load
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.store.migrations import migrate

_UNITS_S = {"h": 3600, "d": 86_400, "y": 31_536_000}


class _Span(click.ParamType):
    """`12h`, `30d`, `1y` as milliseconds; `never` as None."""

    name = "span"

    def convert(self, value, param, context):
        if value == "never" or value is None:
            return None
        found = re.fullmatch(r"([1-9][0-9]{0,4})([hdy])", value)
        if not found:
            self.fail("takes 12h, 30d, 1y or never", param, context)
        return int(found[1]) * _UNITS_S[found[2]] * 1000


@click.group()
def token():
    """Make, list and revoke tokens of the API."""


@token.command("create")
@config_file
@click.option("--role", type=click.Choice(tokens.ROLES), required=True, help="superadmin: every account; admin: one "
              "account; user: what one user owns; listener: plays one account's recordings and changes nothing.")
@click.option("--account", help="Id of the account; all roles but superadmin need it.")
@click.option("--user", help="Id of the user; the role `user` needs it.")
@click.option("--expires", type=_Span(), default="1y", show_default=True, help="12h, 30d, 1y or never.")
@click.option("--method", "methods", multiple=True, help="Only this method (GET, PATCH …); may be repeated.")
@click.option("--path", "paths", multiple=True, help="Only this path; * is one segment, # the rest; may be repeated.")
def create(config_file, role, account, user, expires, methods, paths):
    """Make a token and print it: it is shown this once and kept nowhere.

    \b
    Example:
      kazoo-rec token create --role admin --account acme --config kazoo_rec.yaml
    """
    if (role == "superadmin") == bool(account):
        raise click.UsageError("--account is for every role but superadmin")
    if (role == "user") != bool(user):
        raise click.UsageError("--user is for the role user")
    if any("#" in path.rstrip("/")[:-1] for path in paths):
        raise click.UsageError("# in a --path stands at its end")
    secret, row = tokens.make(role, account, user, "command line", None if expires is None else epoch_ms() + expires,
                              [method.upper() for method in methods] or None, list(paths) or None)
    store = _store(config_file)
    try:
        if account and store.documents.get("account", account, account) is None:
            raise click.ClickException(f"there is no account {account!r}")
        if user and store.documents.get("user", account, user) is None:
            raise click.ClickException(f"there is no user {user!r} in account {account!r}")
        store.access.add_token(row).get()
    finally:
        store.close()
    click.echo(secret)


@token.command("list")
@config_file
def list_(config_file):
    """Show every token that was made, without the tokens themselves.

    \b
    Example:
      kazoo-rec token list --config kazoo_rec.yaml
    """
    store = _store(config_file)
    rows = store.access.tokens()
    store.close()
    table = Table("id", "role", "account", "user", "made", "by", "state", "only")
    for row in rows:
        only = " ".join([*(row["methods"] or ()), *(row["paths"] or ())])
        table.add_row(*(text or "" for text in (
            row["id"], row["role"], row["account_id"], row["user_id"], _time(row["created_ms"]), row["made_by"],
            _state(row), only)))
    Console().print(table)


@token.command("revoke")
@click.argument("token_id")
@config_file
def revoke(token_id, config_file):
    """Make a token useless, by its id in `list`.

    \b
    Example:
      kazoo-rec token revoke 3f9a0c21b7de --config kazoo_rec.yaml
    """
    store = _store(config_file)
    done = store.access.revoke(token_id).get()
    store.close()
    if not done:
        raise click.ClickException(f"there is no token {token_id!r} that could be revoked")
    click.echo("revoked")


def _store(config_file):
    database = load(config_file).database
    migrate(database)
    return Store(database)


def _state(row):
    if row["revoked_ms"]:
        return f"revoked {_time(row['revoked_ms'])}"
    if row["expires_ms"] and row["expires_ms"] <= epoch_ms():
        return f"expired {_time(row['expires_ms'])}"
    return f"until {_time(row['expires_ms'])}" if row["expires_ms"] else "for ever"


def _time(at_ms):
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
