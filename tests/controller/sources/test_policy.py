"""What an operator's list lets through, and what not even a listed name may stand for."""

import ipaddress

import pytest

from litefleet_controller.sources.policy import HostRule, PolicyError, SourcePolicy, parse_endpoint


def policy(*hosts: str) -> SourcePolicy:
    return SourcePolicy(hosts=tuple(HostRule.parse(h) for h in hosts))


@pytest.mark.parametrize(
    ("rule", "host", "port", "allowed"),
    [
        ("models.example.com", "models.example.com", 443, True),
        ("Models.Example.com.", "models.example.com", 8080, True),
        ("models.example.com:8443", "models.example.com", 8443, True),
        ("models.example.com:8443", "models.example.com", 443, False),
        ("models.example.com", "evil-models.example.com", 443, False),
        ("models.example.com", "models.example.com.evil.test", 443, False),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "badexample.com", 443, False),
        ("*", "anything.test", 443, True),
        ("10.0.0.5", "10.0.0.5", 80, True),
        ("10.0.0.5:9000", "10.0.0.5", 80, False),
        ("[fd00::1]:9000", "fd00::1", 9000, True),
        ("fd00::1", "fd00:0:0:0:0:0:0:1", 80, True),
    ],
)
def test_a_host_is_allowed_by_the_rules_that_cover_it(rule: str, host: str, port: int, allowed: bool) -> None:
    assert policy(rule).allows_host(host, port) == allowed


def test_nothing_is_allowed_by_default() -> None:
    assert not SourcePolicy().allows_host("models.example.com", 443)


@pytest.mark.parametrize(
    ("rules", "host", "address", "allowed"),
    [
        (("models.test",), "models.test", "93.184.216.34", True),
        (("*.test",), "models.test", "93.184.216.34", True),
        (("*.test",), "models.test", "10.1.2.3", False),
        (("*",), "models.test", "192.168.1.1", False),
        (("models.test",), "models.test", "10.1.2.3", True),
        (("models.test",), "models.test", "100.64.0.1", True),
        (("models.test",), "models.test", "fd12::1", True),
        (("models.test",), "models.test", "fd00:ec2::254", False),
        (("models.test",), "models.test", "127.0.0.1", False),
        (("models.test",), "models.test", "::1", False),
        (("localhost",), "localhost", "127.0.0.1", True),
        (("models.test",), "models.test", "169.254.169.254", False),
        (("models.test",), "models.test", "fe80::1", False),
        (("models.test",), "models.test", "0.0.0.0", False),
        (("models.test",), "models.test", "::", False),
        (("models.test",), "models.test", "224.0.0.1", False),
        (("models.test",), "models.test", "255.255.255.255", False),
        (("models.test",), "models.test", "::ffff:127.0.0.1", False),
        (("models.test",), "models.test", "::ffff:169.254.169.254", False),
        (("models.test",), "models.test", "64:ff9b::a9fe:a9fe", False),
        (("models.test",), "models.test", "2002:7f00:1::", False),
        (("*.test",), "models.test", "2002:a00:1::", False),
        (("models.test", "127.0.0.1"), "models.test", "127.0.0.1", True),
        (("models.test", "127.0.0.1:9000"), "models.test", "127.0.0.1", False),
        (("models.test", "169.254.169.254"), "models.test", "169.254.169.254", True),
        (("models.test", "127.0.0.1"), "models.test", "::ffff:127.0.0.1", True),
    ],
)
def test_an_address_is_judged_by_what_was_listed(
    rules: tuple[str, ...], host: str, address: str, allowed: bool
) -> None:
    assert policy(*rules).allows_address(host, 443, ipaddress.ip_address(address)) == allowed


@pytest.mark.parametrize(
    "text", ["", "http://models.test", "a b", "models.test:0", "models.test:70000", "m*.test", "-a"]
)
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PolicyError, match=r"write|between"):
        HostRule.parse(text)


@pytest.mark.parametrize("text", ["minio:9000", "ftp://x", "https://x/path", "https://u:p@x", "https://"])
def test_an_endpoint_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_endpoint(text)


def test_an_endpoint_vouches_for_itself_only() -> None:
    own = SourcePolicy(s3_endpoint=parse_endpoint("http://10.0.0.5:9000/")).with_endpoint()
    assert own.allows_host("10.0.0.5", 9000)
    assert own.allows_address("10.0.0.5", 9000, ipaddress.ip_address("10.0.0.5"))
    assert not own.allows_host("10.0.0.5", 80)
    assert not own.allows_host("s3.eu-west-1.amazonaws.com", 443)


def test_without_an_endpoint_amazon_s_public_addresses_are_meant() -> None:
    amazon = SourcePolicy().with_endpoint()
    assert amazon.allows_host("bucket.s3.eu-west-1.amazonaws.com", 443)
    assert not amazon.allows_address("s3.amazonaws.com", 443, ipaddress.ip_address("10.0.0.1"))
