"""What the faults came to: a line for each kind."""

from dataclasses import fields

from tests.faults.account import Account

COLUMNS = ("fault", "runs", "wanted", "delivered", "queued", "reported", "broken")


class Table:
    def __init__(self):
        #: {fault: (runs, the accounts of all of them as one)}
        self.lines: dict[str, tuple[int, Account]] = {}
        #: {test: why its figures are not here, or not to be believed}
        self.untold: dict[str, str] = {}

    def add(self, fault: str, account: Account, runs: int = 1):
        """Adds what became of the recordings in so many runs of a fault. Raises AssertionError where one is broken."""
        before, so_far = self.lines.get(fault, (0, Account()))
        together = {field.name: getattr(so_far, field.name) + getattr(account, field.name) for field in fields(Account)}
        self.lines[fault] = before + runs, Account(**together)
        assert not account.broken, f"{fault}: {account}\n" + "\n".join(account.broken)
        assert account.wanted, f"{fault}: nothing was wanted, so nothing is shown"

    def __str__(self):
        rows = [COLUMNS, *((fault, runs, *self._figures(account)) for fault, (runs, account) in self.lines.items())]
        total = Account()
        for _, account in self.lines.values():
            for field in fields(Account):
                setattr(total, field.name, getattr(total, field.name) + getattr(account, field.name))
        rows.append(("all", sum(runs for runs, _ in self.lines.values()), *self._figures(total)))
        widths = [max(len(str(row[at])) for row in rows) for at in range(len(COLUMNS))]
        told = ["  ".join(
            str(cell).ljust(width) if at == 0 else str(cell).rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]
        return "\n".join([*told, *(f"{test}: {why}" for test, why in self.untold.items())])

    @staticmethod
    def _figures(account):
        return account.wanted, account.delivered, account.queued, account.reported, len(account.broken)
