"""The fleet CA: what it issues, and what a kill or a damage at any point leaves."""

import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.errors import AuthorityError, BadCsrError, HostError
from litefleet_controller.identity.requests import read_request
from litefleet_protocol.codes import Code
from litefleet_protocol.envelope import PayloadType, seal, unseal
from litefleet_protocol.errors import ProtocolError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "authority")


def csr(
    name: str = "board-1", key: object = None, *extensions: x509.ExtensionType, algorithm: object = hashes.SHA256()
) -> str:
    key = key or ec.generate_private_key(ec.SECP256R1())
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        algorithm = None
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode()  # type: ignore[arg-type]


def certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


# The folder


def test_opened_again_it_is_the_same_fleet(tmp_path: Path) -> None:
    first, second = (Authority.open(tmp_path / "authority") for _ in range(2))
    assert (first.fleet, first.ca_sha256, first.signing_keys) == (second.fleet, second.ca_sha256, second.signing_keys)


def test_two_fleets_share_nothing(tmp_path: Path) -> None:
    one, other = Authority.open(tmp_path / "one"), Authority.open(tmp_path / "other")
    assert one.fleet != other.fleet
    assert one.ca_sha256 != other.ca_sha256
    assert one.signer.key_id != other.signer.key_id


def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    Authority.open(tmp_path / "authority")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "authority").iterdir()}
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "authority").stat().st_mode) == 0o700


def test_an_empty_folder_becomes_a_fleet(tmp_path: Path) -> None:
    (tmp_path / "authority").mkdir()
    assert len(Authority.open(tmp_path / "authority").fleet) == 16


FILES = ("fleet.json", "ca.pem", "ca.key", "signing")


def damaged(directory: Path, prefix: str) -> Path:
    return next(path for path in directory.iterdir() if path.name.startswith(prefix))


@pytest.mark.parametrize("prefix", FILES)
@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:60]),
        lambda path: path.write_bytes(b"\xff\x00" * 50),
    ],
    ids=["deleted", "empty", "truncated", "garbage"],
)
def test_a_damaged_folder_is_a_clear_error_and_stays_as_it_is(
    tmp_path: Path, prefix: str, damage: Callable[[Path], object]
) -> None:
    directory = tmp_path / "authority"
    Authority.open(directory)
    path = damaged(directory, prefix)
    damage(path)
    before = {p.name: p.read_bytes() for p in directory.iterdir()}
    with pytest.raises(AuthorityError, match=f"{path.name}: .*Restore the folder"):
        Authority.open(directory)
    assert {p.name: p.read_bytes() for p in directory.iterdir()} == before


@pytest.mark.parametrize("prefix", ["ca.pem", "ca.key", "fleet.json"])
def test_a_file_of_another_fleet_is_noticed(tmp_path: Path, prefix: str) -> None:
    for name in ("one", "other"):
        Authority.open(tmp_path / name)
    (tmp_path / "one" / prefix).write_bytes((tmp_path / "other" / prefix).read_bytes())
    with pytest.raises(AuthorityError, match="the fleet's keys are damaged"):
        Authority.open(tmp_path / "one")


def test_a_foreign_signing_key_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "other"):
        Authority.open(tmp_path / name)
    damaged(tmp_path / "one", "signing").write_bytes(damaged(tmp_path / "other", "signing").read_bytes())
    with pytest.raises(AuthorityError, match=r"not the key that fleet\.json names"):
        Authority.open(tmp_path / "one")


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AuthorityError, match="can't make the fleet's keys in"):
        Authority.open(tmp_path / "file" / "authority")


KILLED_AT = """
    import os, pathlib, signal, sys
    from datetime import UTC, datetime
    from litefleet_controller.identity.authority import Authority

    directory, left = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    names = ("fsync", "open", "replace", "rename", "mkdir")

    def killing(real):
        def step(*args, **kwargs):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return step

    for name in names:
        setattr(os, name, killing(getattr(os, name)))
    Authority.open(directory)
    print("done")
"""


def test_killed_at_any_step_it_leaves_nothing_or_a_whole_fleet(tmp_path: Path) -> None:
    outcomes = []
    for step in range(100):
        directory = tmp_path / str(step) / "authority"
        command = [sys.executable, "-c", textwrap.dedent(KILLED_AT), str(directory), str(step)]
        done = "done" in subprocess.run(command, capture_output=True, text=True, check=False).stdout
        outcomes.append(directory.exists())
        fleet = Authority.open(directory).fleet
        assert Authority.open(directory).fleet == fleet
        assert [path.name for path in directory.parent.iterdir()] == ["authority"]
        if done:
            break
    assert outcomes[0] is False
    assert outcomes[-1] is True
    assert len(outcomes) > 10


def test_two_processes_that_begin_at_once_get_the_same_fleet(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import pathlib, sys
        from datetime import UTC, datetime
        from litefleet_controller.identity.authority import Authority
        print(Authority.open(pathlib.Path(sys.argv[1])).fleet)
        """
    )
    command = [sys.executable, "-c", program, str(tmp_path / "authority")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({child.communicate(timeout=60)[0] for child in children}) == 1


# Certificates


def test_the_ca_may_sign_leaves_only_and_has_no_end(authority: Authority) -> None:
    ca = certificate(authority.ca_pem)
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.value.ca, constraints.value.path_length, constraints.critical) == (True, 0, True)
    assert ca.not_valid_after_utc.year == 9999
    assert ca.fingerprint(hashes.SHA256()).hex() == authority.ca_sha256


def verifier(authority: Authority) -> PolicyBuilder:
    return PolicyBuilder().store(Store([certificate(authority.ca_pem)])).time(NOW + timedelta(days=1))


def test_a_server_certificate_verifies_for_its_hosts(authority: Authority) -> None:
    pem, _ = authority.server_certificate("broker", ["localhost", "127.0.0.1", "::1"], NOW)
    server = verifier(authority).build_server_verifier(x509.DNSName("localhost"))
    assert server.verify(certificate(pem), [])
    names = certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("host", ["", "*.example.com", "a b", "a/b", "ümlaut.example", "a" * 64, "x.", "-a"])
def test_a_host_that_is_none_is_refused(authority: Authority, host: str) -> None:
    with pytest.raises(HostError, match="neither a host name nor an IP address"):
        authority.server_certificate("broker", [host], NOW)


def test_a_server_without_a_host_is_refused(authority: Authority) -> None:
    with pytest.raises(HostError, match="at least one"):
        authority.server_certificate("broker", [], NOW)


@pytest.mark.parametrize("name", ["controller", "board-1", "Controller-1", "controller-", "controller-a/b"])
def test_replica_certificates_bear_replica_names_only(authority: Authority, name: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        authority.client_certificate(name, NOW)
    assert caught.value.code == Code.INVALID_NAME


def test_a_replica_gets_a_client_certificate(authority: Authority) -> None:
    pem, key = authority.client_certificate("controller-1", NOW)
    assert "PRIVATE KEY" in key
    usage = certificate(pem).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 3072),
    ],
    ids=["p256", "p384", "ed25519", "rsa3072"],
)
def test_a_device_gets_a_client_certificate_for_its_key(authority: Authority, key: ec.EllipticCurvePrivateKey) -> None:
    issued = certificate(authority.sign_csr(csr("board-1", key), "board-1", NOW))
    assert issued.public_key() == key.public_key()
    assert issued.subject.rfc4514_string() == "CN=board-1"
    assert list(issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    issued.verify_directly_issued_by(certificate(authority.ca_pem))


@pytest.mark.parametrize("now", [datetime(1970, 1, 1, 0, 0, 9, tzinfo=UTC), NOW, datetime(2061, 5, 6, tzinfo=UTC)])
@pytest.mark.parametrize("later", [datetime(1970, 1, 2, tzinfo=UTC), NOW, datetime(2061, 6, 1, tzinfo=UTC)])
def test_what_was_issued_under_one_clock_is_good_under_every_other(
    authority: Authority, now: datetime, later: datetime
) -> None:
    server, _ = authority.server_certificate("broker", ["localhost"], now)
    replica, _ = authority.client_certificate("controller-1", now)
    for pem in (authority.ca_pem, server, replica, authority.sign_csr(csr(), "board-1", now)):
        issued = certificate(pem)
        assert issued.not_valid_before_utc <= later <= issued.not_valid_after_utc
    trusting = PolicyBuilder().store(Store([certificate(authority.ca_pem)])).time(later)
    assert trusting.build_server_verifier(x509.DNSName("localhost")).verify(certificate(server), [])


def test_a_certificate_ends_as_asked(authority: Authority) -> None:
    issued = certificate(authority.sign_csr(csr(), "board-1", NOW, days=30))
    assert issued.not_valid_after_utc == NOW + timedelta(days=30)


def test_a_certificate_without_an_end_ends_with_the_ca(authority: Authority) -> None:
    issued = certificate(authority.sign_csr(csr(), "board-1", NOW))
    assert issued.not_valid_after_utc == certificate(authority.ca_pem).not_valid_after_utc


def test_serial_numbers_are_random(authority: Authority) -> None:
    asked = csr()
    assert len({certificate(authority.sign_csr(asked, "board-1", NOW)).serial_number for _ in range(5)}) == 5


def test_nothing_but_the_key_is_taken_from_a_request(authority: Authority) -> None:
    wishes = (
        x509.SubjectAlternativeName([x509.DNSName("controller-1"), x509.DNSName("localhost")]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    )
    issued = certificate(authority.sign_csr(csr("board-1", None, *wishes), "board-1", NOW))
    with pytest.raises(x509.ExtensionNotFound):
        issued.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]


def with_broken_signature() -> str:
    good = x509.load_pem_x509_csr(csr().encode()).public_bytes(Encoding.DER)
    # The last byte lies in the signature's second number.
    broken = good[:-1] + bytes([good[-1] ^ 1])
    return x509.load_der_x509_csr(broken).public_bytes(Encoding.PEM).decode()


CA_TRUE = x509.BasicConstraints(ca=True, path_length=None)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (lambda: csr("board-2"), "for 'board-2', not for 'board-1'"),
        (lambda: csr(""), "for no name"),
        (lambda: csr("board-1", rsa.generate_private_key(65537, 1024)), "RSA key of 1024 bits"),
        (lambda: csr("board-1", rsa.generate_private_key(65537, 2048)), "RSA key of 2048 bits"),
        (lambda: csr("board-1", rsa.generate_private_key(3, 3072)), "exponent 3"),
        (lambda: csr("board-1", ec.generate_private_key(ec.SECP256K1())), "curve secp256k1"),
        (lambda: csr("board-1", ec.generate_private_key(ec.SECP192R1())), "curve secp192r1"),
        (lambda: csr("board-1", dsa.generate_private_key(2048)), "kind"),
        (lambda: csr("board-1", ed448.Ed448PrivateKey.generate()), "kind"),
        (lambda: csr("board-1", None, CA_TRUE), "CA:TRUE"),
        (with_broken_signature, "signature doesn't match"),
        (lambda: "", "not a certificate signing request"),
        (lambda: "garbage", "not a certificate signing request"),
        (lambda: csr()[:150], "not a certificate signing request"),
        (lambda: csr().replace("M", "!", 3), "not a certificate signing request"),
        (lambda: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "not a certificate"),
        (lambda: "\udcff", "not a certificate signing request"),
        (lambda: "x" * 20_000, "20000 characters"),
    ],
    ids=[
        "other-name", "no-name", "rsa1024", "rsa2048", "rsa-exponent-3", "secp256k1", "p192", "dsa", "ed448", "ca-true",
        "broken-signature", "empty", "garbage", "truncated", "not-base64", "not-a-request", "surrogate", "too-long",
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_with_its_reason(authority: Authority, pem: Callable[[], str], reason: str) -> None:
    with pytest.raises(BadCsrError, match=reason) as caught:
        authority.sign_csr(pem(), "board-1", NOW)
    assert (caught.value.code, caught.value.field) == (Code.BAD_CSR, "csr")


@pytest.mark.parametrize("device", ["controller-1", "Board", "a/b", "+", "", "a" * 64, "b\u043eard"])
def test_a_name_no_board_may_have_is_refused(authority: Authority, device: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        authority.sign_csr(csr(device or "x"), device, NOW)
    assert caught.value.code == Code.INVALID_NAME


def test_the_hash_of_a_requests_key_depends_on_the_key_alone() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first, again = (read_request(csr("board-1", key), "board-1").key_sha256 for _ in range(2))
    assert first == again
    assert first != read_request(csr("board-1"), "board-1").key_sha256


# Signatures


def test_an_envelope_it_signed_verifies_and_another_fleets_does_not(tmp_path: Path, authority: Authority) -> None:
    other = Authority.open(tmp_path / "other")
    sealed = seal(PayloadType.DESIRED, b"{}", [authority.signer])
    assert unseal(PayloadType.DESIRED, sealed, authority.verifier, max_bytes=10_000) == b"{}"
    with pytest.raises(ProtocolError) as caught:
        unseal(PayloadType.DESIRED, sealed, other.verifier, max_bytes=10_000)
    assert caught.value.code == Code.BAD_SIGNATURE


def test_a_changed_byte_or_signature_does_not_verify(authority: Authority) -> None:
    signature = authority.signer.sign(b"data")
    assert authority.verifier.verify(authority.signer.key_id, signature, b"data")
    assert not authority.verifier.verify(authority.signer.key_id, signature, b"dota")
    changed = signature[:-1] + bytes([signature[-1] ^ 1])
    assert not authority.verifier.verify(authority.signer.key_id, changed, b"data")
    assert not authority.verifier.verify(authority.signer.key_id, b"", b"data")


def test_the_published_key_is_the_one_that_signs(authority: Authority) -> None:
    (published,) = authority.signing_keys
    assert published.key_id == authority.signer.key_id
