"""The configuration: one YAML file, checked against schemas/config.json, as frozen dataclasses.

`${NAME}` in a text is that environment variable, so that passwords need not be in the file.
"""

import os
import re
import ssl
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import yaml

from kazoo_rec import tls
from kazoo_rec.calls.identity import IdentityRules, Trunk
from kazoo_rec.control import place
from kazoo_rec.delivery import bucket
from kazoo_rec.delivery.settings import DeliverySettings, DiskSettings, S3Settings
from kazoo_rec.documents.schema import check, worded
from kazoo_rec.errors import ConfigError, StoreError, TargetError
from kazoo_rec.store.database import Database

#: Where the engine listens for other hosts, unless said otherwise.
CONTROL_PORT = 8085

_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
#: What YAML says of a file, up to the first name in quotes that is neither a character nor a token of its own.
_SAFE = re.compile(r"""(?:[^'"]|'(?:[^']|<[a-z ]+>)')*""")


@dataclass(frozen=True, slots=True)
class Switch:
    """One FreeSWITCH: its event socket."""

    name: str
    host: str = "127.0.0.1"
    port: int = 8021
    password: str = field(default="", repr=False)
    command_connections: int = 8


@dataclass(frozen=True, slots=True)
class RecordingsDir:
    """The same directory as the switch and as this host's processes name it."""

    on_switch: str
    here: str


@dataclass(frozen=True, slots=True)
class Api:
    """Where it is served; with a certificate and its key over TLS, else in clear."""

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    key: Path | None = None
    public_url: str | None = None

    def tls(self) -> ssl.SSLContext | None:
        """As `tls.server`; None without a certificate."""
        return tls.server("api", self.certificate, self.key) if self.certificate else None


@dataclass(frozen=True, slots=True)
class ControlAddress:
    """Where the engine listens for the API of other hosts, `address` as they have it ("host:port"), and the certificate
    that engine and API show each other."""

    host: str
    port: int
    address: str
    certificate: Path
    key: Path
    ca: Path

    def tls(self) -> tls.Mutual:
        """As `tls.mutual`."""
        return tls.mutual("control", self.certificate, self.key, self.ca)


@dataclass(frozen=True, slots=True)
class CallflowAddress:
    """Where the dialplan's `socket` application reaches the engine."""

    host: str = "127.0.0.1"
    port: int = 8084


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that an operator may say; see the README's table."""

    node: str
    recordings_dir: RecordingsDir
    database: Database
    switches: tuple[Switch, ...]
    documents: Path | None = None
    identity: IdentityRules = field(default_factory=IdentityRules)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    disk: DiskSettings = field(default_factory=DiskSettings)
    api: Api = Api()
    #: None: no callflows are run.
    callflow: CallflowAddress | None = None
    #: None: the engine is reached from its own host alone.
    control: ControlAddress | None = None


def load(file: Path, environ=os.environ) -> Config:
    """Reads a configuration file. Raises ConfigError with every fault in it."""
    try:
        said = yaml.safe_load(file.read_text())
    except OSError as unreadable:
        raise ConfigError(f"cannot read {file}", unreadable.strerror) from unreadable
    except (yaml.YAMLError, ValueError, RecursionError) as broken:
        raise ConfigError(f"{file} is not YAML", _broken(broken)) from None
    missing: set[str] = set()
    said = _with_environment(said, environ, missing)
    said, faults = check("config", said)
    if missing:
        faults = [{"path": "", "message": f"${{{name}}} is not in the environment"} for name in sorted(missing)]
    if faults:
        raise ConfigError(f"{file} cannot be obeyed", "; ".join(map(worded, faults)),
                          "the README has a table of all settings")
    return _config(said, file.parent)


def _broken(error) -> str:
    """Where and why, without a word of the file, which may be a password."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return type(error).__name__
    return f"line {mark.line + 1}, column {mark.column + 1}: {_SAFE.match(problem)[0].strip()}"


def _config(said: dict, beside: Path) -> Config:
    identity = {name: value if name == "trunks" else tuple(value) for name, value in said.pop("identity", {}).items()}
    if "trunks" in identity:
        identity["trunks"] = {acl: Trunk(**trunk) for acl, trunk in identity["trunks"].items()}
    directory = said.pop("recordings_dir")
    if isinstance(directory, str):
        directory = {"on_switch": directory, "here": directory}
    switches = [Switch(**{"name": said["node"] if position == 0 else f"{said['node']}-{position + 1}", **one})
                for position, one in enumerate(said.pop("switches"))]
    if len({switch.name for switch in switches}) < len(switches):
        raise ConfigError("two switches have one name", ", ".join(switch.name for switch in switches))
    api = said.pop("api", {})
    if len(api.keys() & {"certificate", "key"}) == 1:
        raise ConfigError("api.certificate and api.key are said together, or neither")
    api |= {name: beside / api[name] for name in ("certificate", "key") if name in api}
    try:
        said["database"] = Database.of(said["database"], said.pop("state_dir", None))
    except StoreError as wrong:
        raise ConfigError(wrong.message, wrong.detail, wrong.hint) from None
    disk = DiskSettings(**{name: float(value.rstrip("%")) / 100 for name, value in said.pop("disk", {}).items()})
    callflow = CallflowAddress(**said.pop("callflow")) if "callflow" in said else None
    control = _control(said.pop("control"), beside) if "control" in said else None
    paths = {name: beside / said.pop(name) for name in ("documents",) if name in said}
    return Config(
        recordings_dir=RecordingsDir(**directory), switches=tuple(switches), identity=IdentityRules(**identity),
        delivery=_delivery(said.pop("delivery", {}), said.pop("s3", None), beside), api=Api(**api), callflow=callflow,
        control=control, disk=disk, **paths, **said)


def _control(said: dict, beside: Path) -> ControlAddress:
    host, port = said["host"], said.get("port", CONTROL_PORT)
    if "address" not in said and host in ("0.0.0.0", "::"):
        raise ConfigError("control.address is wanted", f"others cannot connect to {host}",
                          "say by which name and port they reach this host, as in its certificate")
    address = said.get("address", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    if place(address) is None:
        raise ConfigError("control.address is no host:port", address, "such as fs1.example:8085")
    files = {name: beside / said[name] for name in ("certificate", "key", "ca")}
    return ControlAddress(host, port, address, **files)


def _delivery(said: dict, s3: dict | None, beside: Path) -> DeliverySettings:
    if "ca_file" in said:
        said["ca_file"] = beside / said["ca_file"]
    return DeliverySettings(**said | {"allow_networks": tuple(said.get("allow_networks", ()))},
                            s3=None if s3 is None else _s3(s3))


def _s3(said: dict) -> S3Settings:
    if find_spec("boto3") is None:
        raise ConfigError("boto3, which speaks to object stores, is not installed", "s3",
                          "pip install 'kazoo_rec[s3]'")
    places, library = said.get("deliver_to", []), said.get("library")
    if len(said.keys() & {"access_key", "secret_key"}) == 1:
        raise ConfigError("s3.access_key and s3.secret_key are said together, or neither")
    if (places or library) and "access_key" not in said:
        raise ConfigError("s3.deliver_to and s3.library need s3.access_key and s3.secret_key")
    for one in [*(prefix.replace(bucket.ACCOUNT, "0") for prefix in places), *([library] if library else [])]:
        try:
            bucket.place(one)
        except TargetError as wrong:
            raise ConfigError(f"{one}: {wrong.message}", wrong.detail, wrong.hint) from None
    if library and (other := bucket.overlap(library, places)):
        raise ConfigError("an account may not deliver into the library", f"s3.library {library} and s3.deliver_to "
                          f"{other} have objects together", "give the library a prefix of its own")
    return S3Settings(**said | {"deliver_to": tuple(places)})


def _with_environment(value, environ, missing):
    if isinstance(value, dict):
        return {key: _with_environment(inner, environ, missing) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_environment(inner, environ, missing) for inner in value]
    if not isinstance(value, str):
        return value
    missing |= {name for name in _VARIABLE.findall(value) if name not in environ}
    return _VARIABLE.sub(lambda found: environ.get(found[1], ""), value)
