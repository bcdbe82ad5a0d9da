"""Foreign bytes: the seeds and finds of the fuzzer, and some seconds of the fuzzer itself."""

import importlib
import subprocess
import sys
from importlib.util import find_spec

import pytest

from .fuzz import CORPUS, TARGETS

#: Of the fuzzer, for each target.
SECONDS = 15

SEEDS = [(name, file) for name in TARGETS for file in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize(("name", "file"), SEEDS, ids=[f"{name}-{file.name}" for name, file in SEEDS])
def test_a_seed_is_read_as_promised(name, file):
    importlib.import_module(f"tests.security.fuzz.{name}").one(file.read_bytes())


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not there for this Python")
@pytest.mark.parametrize("name", TARGETS)
def test_bytes_that_nobody_thought_of_break_nothing(name):
    ran = subprocess.run([sys.executable, "-m", "tests.security.fuzz", name, f"-max_total_time={SECONDS}"],
                         capture_output=True, text=True, timeout=20 * SECONDS)
    assert ran.returncode == 0, ran.stderr[-4_000:]
    assert "Done" in ran.stderr
