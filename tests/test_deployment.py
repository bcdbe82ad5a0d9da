"""What docs/deployment.md has printed is in step with the unit."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
UNIT = (HERE / "freeswitch-conf/systemd/kazoo_rec.service").read_text().splitlines()
GUIDE = (HERE / "docs/deployment.md").read_text()
PRINTED = re.findall(r"^ *(systemd-run .*?\.yaml)$", GUIDE, re.DOTALL | re.MULTILINE)

#: What a process has of its unit that is no wall around it.
RIGHTS = ("User=", "Group=", "SupplementaryGroups=", "UMask=", "EnvironmentFile=", "Limit", "KillMode=",
          "TimeoutStopSec=", "Restart")


@pytest.mark.parametrize("printed", PRINTED, ids=["second", "next"])
def test_an_engine_beside_the_unit_has_its_user_rights_and_secrets(printed):
    words = shlex.split(printed.replace("\\\n", " "))
    given = {word for before, word in pairwise(words) if before == "-p"}
    given |= {word.replace("--uid", "User").replace("--gid", "Group") for word in words[:4]} - set(words)
    assert given == {line for line in UNIT if line.startswith(RIGHTS)}
    (started,) = (line.removeprefix("ExecStart=") for line in UNIT if line.startswith("ExecStart="))
    assert " ".join(words[-6:]).replace("-new/", "/") == started.replace(" run ", " run --role engine ")
