"""The rooms of the house: which may know of which."""

import ast
from pathlib import Path

import pytest

import kazoo_rec

HOUSE = Path(kazoo_rec.__file__).parent
STDLIB = {"collections", "dataclasses", "itertools", "types", "typing"}
ALL = {"api", "callflow", "calls", "delivery", "doctor", "documents", "media", "policy", "simulator", "store", "switch",
       "config", "control", "logs", "roles", "threads", "tls", "traces", "web"}
MAY_IMPORT = {
    "policy": set(), "errors": set(), "store": set(), "switch": set(), "media": set(), "simulator": set(),
    "logs": set(), "threads": set(),
    "documents": {"policy", "store"}, "calls": {"policy", "documents", "switch", "store"},
    "traces": {"calls", "documents", "policy", "switch"},
    "callflow": {"calls", "documents", "switch"},
    "delivery": {"store", "media"}, "api": {"control", "documents", "store", "media"},
    "control": {"tls", "web"}, "tls": set(), "web": {"tls"},
    "doctor": {"config", "calls", "control", "documents", "store", "switch", "media", "delivery", "tls"},
    "config": {"calls", "control", "delivery", "documents", "store", "tls"},
    "roles": ALL, "cli": ALL, "__main__": {"cli"},
    "__init__": set(),
}


def rooms_imported_by(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head == "kazoo_rec" and not rest.startswith("__"):
                yield rest.partition(".")[0]


@pytest.mark.parametrize("file", sorted(HOUSE.rglob("*.py")), ids=lambda file: str(file.relative_to(HOUSE)))
def test_a_room_imports_only_what_it_may(file):
    room = file.relative_to(HOUSE).parts[0].removesuffix(".py")
    assert set(rooms_imported_by(file)) - {room, "errors", "threads"} <= MAY_IMPORT[room]


def test_policy_needs_the_standard_library_and_nothing_else():
    for file in (HOUSE / "policy").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in {*STDLIB, "kazoo_rec"}
