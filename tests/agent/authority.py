"""A small certificate authority for the agent's tests."""

import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A small CA."""

    def __init__(self, begins_in: dt.timedelta = -dt.timedelta(days=1)) -> None:
        """Its certificates are valid from `begins_in` after now."""
        self._begins_in = begins_in
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        self.certificate = self._sign(self._name, self._key.public_key(), ca=True)

    def _sign(self, name, public_key, *, ca=False, ends_in=dt.timedelta(days=30_000)):
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + self._begins_in)
            .not_valid_after(now + ends_in)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
        )
        if ca:
            usage = {
                n: n in ("key_cert_sign", "crl_sign")
                for n in (
                    "digital_signature",
                    "content_commitment",
                    "key_encipherment",
                    "data_encipherment",
                    "key_agreement",
                    "key_cert_sign",
                    "crl_sign",
                    "encipher_only",
                    "decipher_only",
                )
            }
            builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, name: str, ends_in: dt.timedelta = dt.timedelta(days=30_000)) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        return self.pem(self._sign(subject, key.public_key(), ends_in=ends_in)), pem

    def sign_csr(self, pem: str) -> str:
        csr = x509.load_pem_x509_csr(pem.encode())
        assert csr.is_signature_valid
        return self.pem(self._sign(csr.subject, csr.public_key()))

    @staticmethod
    def pem(certificate) -> str:
        return certificate.public_bytes(serialization.Encoding.PEM).decode()
