"""The wheel works where there is no checkout."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
CALL = {"account": {}, "caller": None, "callee": None, "source": "onnet", "destination": None}


def test_an_installed_wheel_decides(tmp_path):
    """Schemas are at the top of the checkout, and in the package once installed."""
    run, source = subprocess.run, tmp_path / "source"
    for name in ("kazoo_rec", "schemas"):
        shutil.copytree(CHECKOUT / name, source / name)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    run([sys.executable, "-m", "venv", tmp_path / "empty"], check=True)
    run([tmp_path / "empty/bin/pip", "install", "--quiet", wheel], check=True)
    decided = run([tmp_path / "empty/bin/kazoo-rec", "decide", "--json"], cwd=tmp_path, check=True, text=True,
                  input=json.dumps(CALL), stdout=subprocess.PIPE)
    assert json.loads(decided.stdout)["recordings"] == []
