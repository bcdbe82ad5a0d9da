"""What reads foreign bytes, held to its word by bytes that nobody thought of.

Each module has `one(data)`, which returns, or raises AssertionError, or hangs; `corpus/<module>` has its seeds. The
fuzzer (atheris): `python -m tests.security.fuzz wav_probe -runs=1000000`.
"""

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"

TARGETS = ("callflow_loader", "esl_reader", "url_builder", "wav_probe")
