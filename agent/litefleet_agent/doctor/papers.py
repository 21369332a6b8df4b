"""Who the board is: the files of its identity, and how long its certificate is good for."""

import ssl
import time

from litefleet_agent import vouching
from litefleet_agent.doctor.finding import Finding, fail, ok, warn
from litefleet_agent.doctor.patient import Patient
from litefleet_agent.errors import AgentError
from litefleet_agent.identity import Identity
from litefleet_agent.link import tls_context

SOON_S = 30 * 86_400.0
ENDLESS = 253_402_214_400.0
"""9999-12-31, which stands for no end (RFC 5280, 4.1.2.5), in Unix seconds."""
_AGAIN = "enroll again: litefleet-agent enroll --force, with a token of 'litefleet device token create'"


def papers(patient: Patient) -> list[Finding]:
    """The identity as a whole, then its certificates."""
    who = patient.identity
    if who is None:
        return []
    name = f"{who.device} ({who.device_class}), namespace {who.namespace}, fleet {who.fleet}"
    try:
        tls_context(who, check_time=False)
    except (OSError, ValueError) as e:
        reason = e.reason if isinstance(e, ssl.SSLError) and e.reason else e
        return [fail("identity", f"{name}: key and certificates can't be used: {reason}", _AGAIN)]
    found = [ok("identity", name)]
    if who.key_file.stat().st_mode & 0o077:
        found.append(warn("identity", f"others may read the private key {who.key_file}", "chmod 600"))
    return found + _certificates(patient, who)


def _certificates(patient: Patient, who: Identity) -> list[Finding]:
    files = {"board": who.certificate_file, "fleet CA": who.ca_file}
    try:
        seen = vouching.read_certificates([path.read_text(encoding="ascii") for path in files.values()])
    except (AgentError, OSError, UnicodeDecodeError) as e:
        return [fail("certificate", f"it can't be read: {e}", "see that the package cryptography is whole")]
    return [
        dates(f"the {of}'s", span.not_before, span.not_after, patient) for of, span in zip(files, seen, strict=True)
    ]


def dates(of: str, begins: float, ends: float, patient: Patient) -> Finding:
    """Whether a certificate is good now; `begins` and `ends` in Unix seconds."""
    if begins <= 0 and ends >= ENDLESS:
        return ok("certificate", f"{of} has no end, and hangs on no clock")
    good = f"{of} is good from {_day(begins)} to {_day(ends)}"
    if not patient.clock_trusted:
        return warn("certificate", f"{good}; this board's clock can't say whether that is now", "set the clock")
    if patient.wall < begins:
        return fail(
            "certificate", f"{good}, and it is {_day(patient.wall)}", "set the clock, which is most likely slow"
        )
    if patient.wall >= ends:
        return fail("certificate", f"{of} expired on {_day(ends)}, and it is {_day(patient.wall)}", _AGAIN)
    if patient.wall >= ends - SOON_S:
        return warn("certificate", good, _AGAIN)
    return ok("certificate", good)


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))
