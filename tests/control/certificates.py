"""Certificates in files, as the configuration names them."""

from gevent.socket import create_server


def write(place, name, authority, hosts, **more):
    """The paths of a certificate for these hosts and of its key."""
    issued = authority.issue_cert(*hosts, **more)
    certificate, key = place / f"{name}.pem", place / f"{name}.key"
    certificate.unlink(missing_ok=True)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(certificate, append=True)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def certified(place, authority, port):
    """`control` of a configuration, on loopback."""
    certificate, key = write(place, "control", authority, ["127.0.0.1"])
    (place / "ca.pem").write_bytes(authority.cert_pem.bytes())
    return {"host": "127.0.0.1", "port": port, "certificate": str(certificate), "key": str(key),
            "ca": str(place / "ca.pem")}


def free_port():
    with create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
