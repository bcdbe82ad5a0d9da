"""Certificates in files, as the configuration names them."""


def write(place, name, authority, hosts, **more):
    """The paths of a certificate for these hosts and of its key."""
    issued = authority.issue_cert(*hosts, **more)
    certificate, key = place / f"{name}.pem", place / f"{name}.key"
    certificate.unlink(missing_ok=True)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(certificate, append=True)
    issued.private_key_pem.write_to_path(key)
    return certificate, key
