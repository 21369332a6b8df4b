"""Recorded answers of a real API server, and how an answer of ours is compared with one.

A transcript holds placeholders for what differs from run to run (`<uid:3>`, `<rv:7>`, `<time>`): the first answer that
shows one binds it, and from then on it stands for that value, in requests too. What is compared, and how loosely, is
what the recordings' own README says.
"""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HEADERS = ("Content-Type", "Warning", "Cache-Control", "Etag", "Location", "Allow", "Retry-After", "Www-Authenticate")
"""Those that were kept in the recordings."""
_PLACEHOLDER = re.compile(
    r"<(?:uid|rv|continue|suffix|etag|token):[A-Za-z0-9]+>|<(?:time|hash|server|commit|go|the whole template)>"
)
_SHAPES = {
    "rv": r"\d+",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "uid": r"[0-9a-f-]{36}",
    "suffix": r"[a-z0-9]{5}",
    "hash": r"[0-9A-Fa-f]+",
}
_INDENTED = {"note": "the same JSON, indented by two spaces"}
"""What the recordings say of a body in place of the body."""
_AGE = re.compile(r"(\d+[smhdy])+|<unknown>|<invalid>")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what the real server said."""

    case: str
    request: dict[str, Any]
    response: dict[str, Any]
    trimmed: bool = False
    setup: bool = False
    during: tuple["Exchange", ...] = ()


def load(path: Path) -> dict[str, list[Exchange]]:
    """Exchanges by scenario, in their order."""
    scenarios: dict[str, list[Exchange]] = {}
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        during = tuple(
            Exchange(f"{row['case']}/{n}", d["request"], d["response"]) for n, d in enumerate(row.get("during", ()))
        )
        exchange = Exchange(
            row["case"], row["request"], row["response"], row.get("trimmed", False), row.get("setup", False), during
        )
        scenarios.setdefault(row["scenario"], []).append(exchange)
    return scenarios


@dataclass(slots=True)
class Bindings:
    """What placeholders stand for in this run."""

    values: dict[str, str] = field(default_factory=dict)
    versions: set[str] = field(default_factory=set)
    """Placeholders that stood for an object's or a list's version, whose order counts; not those in sentences."""

    def fill(self, value: Any) -> Any:
        """`value` with every bound placeholder replaced.

        Raises:
            KeyError: one isn't bound, because the answer that had it was another one.
        """
        if isinstance(value, str):
            return _PLACEHOLDER.sub(lambda m: self.values[m.group()], value)
        if isinstance(value, list):
            return [self.fill(v) for v in value]
        return {k: self.fill(v) for k, v in value.items()} if isinstance(value, dict) else value

    def known(self, text: str) -> str:
        """`text` with those of its placeholders replaced that are bound."""
        return _PLACEHOLDER.sub(lambda m: self.values.get(m.group(), m.group()), text)

    def matches(self, expected: str, actual: str) -> bool:
        """Whether `actual` is `expected`, placeholders bound or now binding."""
        if "<" not in expected:
            return expected == actual
        pattern, names, last = "", [], 0
        for match in _PLACEHOLDER.finditer(expected):
            name = match.group()
            pattern += re.escape(expected[last : match.start()])
            last = match.end()
            bound = self.values.get(name)
            if bound is not None and ":" in name:
                pattern += re.escape(bound)
            else:
                names.append(name)
                pattern += f"({_SHAPES.get(name.strip('<>').partition(':')[0], '.+?')})"
        found = re.fullmatch(pattern + re.escape(expected[last:]), actual, re.DOTALL)
        if found is None:
            return False
        self.values.update({n: v for n, v in zip(names, found.groups(), strict=True) if ":" in n})
        self.versions.update(n for n in names if n.startswith("<rv:") and n == expected)
        if "<hash>" in names and "/apis/litefleet.dev/" in expected:
            # One document's hash is asked for again: that of our group.
            self.values["<hash>"] = found.group(1 + names.index("<hash>"))
        return True

    def disorder(self) -> list[str]:
        """Versions that are earlier where the real server's were later: there, other writes lie between some."""
        versions = sorted((int(name[4:-1]), int(self.values[name])) for name in self.versions)
        pairs = itertools.pairwise(versions)
        return [f"<rv:{a}> = {v} is after <rv:{b}> = {w}" for (a, v), (b, w) in pairs if v > w]


@dataclass(frozen=True, slots=True)
class Answer:
    """What our server said. `lines` is what a watch sent."""

    status: int
    headers: dict[str, list[str]]
    body: bytes


def differences(exchange: Exchange, answer: Answer, bindings: Bindings) -> list[str]:
    """In what `answer` isn't what the real server said; empty when they agree."""
    expected = exchange.response
    found: list[str] = []
    if expected["status"] != answer.status:
        found.append(f"status: {answer.status} in place of {expected['status']}")
    for name in HEADERS:
        wanted = expected["headers"].get(name, [])
        given = answer.headers.get(name.lower(), [])
        wanted = wanted if isinstance(wanted, list) else [wanted]
        if len(wanted) != len(given) or not all(bindings.matches(w, g) for w, g in zip(wanted, given, strict=True)):
            found.append(f"{name}: {given} in place of {wanted}")
    if "lines" in expected:
        lines = [json.loads(line) for line in answer.body.splitlines() if line]
        found += _compare(_told(expected["lines"]), _told(lines), "lines", bindings, exchange.trimmed)
    else:
        found += _compare_bodies(expected.get("body"), answer.body, bindings, exchange.trimmed)
    return found


def _told(lines: list[Any]) -> list[Any]:
    """Without BOOKMARKs that only say how far the watch is: how many come is chance."""
    return [line for line in lines if line["type"] != "BOOKMARK" or "annotations" in json.dumps(line["object"])]


def _compare_bodies(expected: Any, actual: bytes, bindings: Bindings, trimmed: bool) -> list[str]:
    if expected == "<protobuf Status>":
        return [] if _is_status(actual) else [f"body: {actual[:200]!r} is no Status in protobuf"]
    text = actual.decode("utf-8")
    if expected == _INDENTED:
        same = text == json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        return [] if same else [f"body: {text[:200]!r} is not indented by two spaces"]
    if isinstance(expected, dict | list):
        try:
            decoded = json.loads(text)
        except ValueError:
            return [f"body: {text[:200]!r} in place of JSON"]
        return _compare(_in_order(expected), _in_order(_without_codes(expected, decoded)), "", bindings, trimmed)
    if isinstance(expected, str) and text.startswith("apiVersion: "):
        return _compare(yaml.load(expected, yaml.BaseLoader), yaml.load(text, yaml.BaseLoader), "", bindings, trimmed)
    same = (not text) if expected is None else bindings.matches(expected, text)
    return [] if same else [f"body: {text[:200]!r} in place of {expected!r}"]


def _is_status(body: bytes) -> bool:
    """Whether it is an envelope around a Status; what is in that was not recorded."""
    return body.startswith(b"k8s\0\n\x0c\n\x02v1\x12\x06Status\x12")


def _without_codes(expected: Any, actual: Any) -> Any:
    """Without causes that carry litefleet's stable code where the original has no causes: we say more than it there."""
    if not isinstance(expected, dict) or not isinstance(actual, dict) or actual.get("kind") != "Status":
        return actual
    details = actual.get("details")
    if not isinstance(details, dict):
        return actual
    original = expected.get("details") or {}
    if "causes" in original or not all("code" in cause for cause in details.get("causes", ())):
        return actual
    rest = {k: v for k, v in details.items() if k != "causes"}
    kept = {k: v for k, v in actual.items() if k != "details"}
    return {**kept, "details": rest} if rest or "details" in expected else kept


def _in_order(body: Any) -> Any:
    """A Status with its causes sorted: which of several errors a schema finds first is chance in the original."""
    if isinstance(body, dict) and body.get("kind") == "APIResourceList":
        return {**body, "resources": sorted(body["resources"], key=lambda r: str(r["name"]))}
    details = body.get("details") if isinstance(body, dict) else None
    causes = details.get("causes") if isinstance(details, dict) else None
    if not causes or not all(isinstance(c, dict) for c in causes):
        return body
    bare = [{k: v for k, v in cause.items() if k != "code"} for cause in causes]
    told = ", ".join(f"{c['field']}: {c['message']}" if c.get("field") else c.get("message", "") for c in bare)
    message = str(body.get("message", "")).replace(f"[{told}]", "<causes>").replace(told, "<causes>")
    ordered = sorted(bare, key=lambda c: json.dumps(c, sort_keys=True))
    return {**body, "message": message, "details": {**details, "causes": ordered}}


def _compare(expected: Any, actual: Any, path: str, bindings: Bindings, trimmed: bool) -> list[str]:
    if isinstance(expected, str) and isinstance(actual, str):
        same = bindings.matches(expected, actual) or bool(_AGE.fullmatch(expected) and _AGE.fullmatch(actual))
        return [] if same else [f"{path}: {_short(actual)} in place of {_short(expected)}"]
    if isinstance(expected, str) and trimmed and isinstance(actual, dict):
        return _compare(expected, _name_of(actual, expected), path, bindings, trimmed)
    if isinstance(expected, dict) and isinstance(actual, dict):
        return list(_compare_maps(expected, actual, path, bindings, trimmed))
    if isinstance(expected, list) and isinstance(actual, list):
        return list(_compare_lists(expected, actual, path, bindings, trimmed))
    if type(expected) is type(actual) and expected == actual:
        return []
    return [f"{path}: {_short(actual)} in place of {_short(expected)}"]


def _name_of(item: dict[str, Any], like: str) -> Any:
    """An item of a list that was trimmed to its name, or to namespace/name."""
    metadata = item.get("metadata", {})
    name = metadata.get("name", item)
    return f"{metadata.get('namespace')}/{name}" if "/" in like else name


def _compare_maps(
    expected: dict[str, Any], actual: dict[str, Any], path: str, bindings: Bindings, trimmed: bool
) -> Iterator[str]:
    expected = {_key(name, actual, bindings): value for name, value in expected.items()}
    expected = {bindings.known(name): value for name, value in expected.items()}
    for name in expected.keys() - actual.keys():
        yield f"{path}.{name}: missing"
    if not trimmed:
        for name in actual.keys() - expected.keys():
            yield f"{path}.{name}: added: {_short(actual[name])}"
    for name in (n for n in expected if n in actual):
        yield from _compare(expected[name], actual[name], f"{path}.{name}", bindings, trimmed)


def _key(name: str, actual: dict[str, Any], bindings: Bindings) -> str:
    """A member's name with its placeholders filled in: managedFields name owners by uid."""
    if "<" not in name:
        return name
    return next((n for n in actual if bindings.matches(name, n)), name)


def _compare_lists(
    expected: list[Any], actual: list[Any], path: str, bindings: Bindings, trimmed: bool
) -> Iterator[str]:
    expected = [e for e in expected if e != "<trimmed>"]
    if not trimmed:
        if len(expected) != len(actual):
            yield f"{path}: {len(actual)} items in place of {len(expected)}: {_short(actual)}"
        for number, (wanted, given) in enumerate(zip(expected, actual, strict=False)):
            yield from _compare(wanted, given, f"{path}[{number}]", bindings, trimmed)
        return
    rest = list(actual)
    for number, wanted in enumerate(expected):
        tried = [
            (_compare(wanted, given, f"{path}[{number}]", Bindings(dict(bindings.values)), True), given)
            for given in rest
        ]
        best = min(tried, key=lambda t: len(t[0]), default=None)
        if best is None:
            yield f"{path}[{number}]: missing"
        else:
            rest.remove(best[1])
            yield from _compare(wanted, best[1], f"{path}[{number}]", bindings, True)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:297]}..."
