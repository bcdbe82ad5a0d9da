"""`python -m tests.security.fuzz TARGET [libFuzzer's options]`. What it finds new stays in a directory that goes."""

import importlib
import sys
import tempfile

import atheris

from . import CORPUS, TARGETS

#: Seconds after which one input counts as a hang.
HANG_S = 10


def fuzz(name, *options):
    if name not in TARGETS:
        sys.exit(f"no such target: {name}; there are {', '.join(TARGETS)}")
    sys.modules.pop("urllib.parse", None)  # imported before; what is asked of it counts as ours
    with atheris.instrument_imports(include=["kazoo_rec", "urllib.parse", "yaml"]):
        target = importlib.import_module(f"{__package__}.{name}")
    with tempfile.TemporaryDirectory() as found:
        atheris.Setup([name, f"-timeout={HANG_S}", f"-artifact_prefix={tempfile.gettempdir()}/{name}-", *options, found,
                       str(CORPUS / name)], target.one)
        atheris.Fuzz()


fuzz(*sys.argv[1:] or [""])
