"""What a person wrote, YAML or JSON, as plain documents: or one error that says what, where, and what to do.

Used by the command line for files and by the API for bodies, so that both refuse the same things. Documents are built
from the parser's events, never by YAML's constructors: no tag can make a Python object, depth and aliases are counted
before anything grows, and a duplicate key is an error instead of a silent loss. What the fields mean is admission's
business.
"""

import copy
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from litefleet_controller.resources.scalars import ScalarError, plain_scalar

MAX_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 64
MAX_ALIASED_NODES = 10_000
"""Nodes that aliases may add to a text."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_COLLECTION_TAGS = (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class ManifestError(ValueError):
    """A text that isn't a manifest. `code` is stable; `where` is `source:line:column`, as far as known."""

    def __init__(self, code: str, message: str, *, where: str, hint: str = "") -> None:
        super().__init__(f"{where}: {message}")
        self.code = code
        self.message = message
        self.where = where
        self.hint = hint


def parse_documents(text: str | bytes, *, source_name: str, max_bytes: int = MAX_BYTES) -> list[dict[str, Any]]:
    """The documents of `text`, in order; empty ones between `---` are left out.

    Raises:
        ManifestError: EmptyDocument, TypeError, TooLarge, TooDeep, DuplicateKey, YamlAliasLimit, YamlTagForbidden,
            OutOfRange (NaN, infinity), YamlSyntax or NotUtf8.
    """
    decoded = _decode(text, source_name, max_bytes)
    documents = _json(decoded, source_name) if decoded.lstrip()[:1] in ("{", "[") else None
    if documents is None:
        documents = _yaml(decoded, source_name)
    kept = [d for d in documents if d is not None]
    if not kept:
        raise ManifestError(
            "EmptyDocument", "there is no document in it", where=source_name, hint="begin with apiVersion and kind"
        )
    for number, document in enumerate(kept, 1):
        if not isinstance(document, dict):
            where = source_name if len(kept) == 1 else f"{source_name}, document {number}"
            found = "a list" if isinstance(document, list) else f"a plain value ({str(document)[:40]!r})"
            raise ManifestError(
                "TypeError",
                f"a manifest is an object, not {found}",
                where=where,
                hint="separate several objects with lines of ---",
            )
    return kept


def _decode(text: str | bytes, source: str, max_bytes: int) -> str:
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > max_bytes:
            raise ManifestError(
                "TooLarge",
                f"{len(raw)} bytes, of at most {max_bytes}",
                where=source,
                hint="split it into several files",
            )
        return raw.decode("utf-8-sig")
    except UnicodeError as e:
        raise ManifestError("NotUtf8", f"it isn't UTF-8 text: {e}", where=source, hint="save the file as UTF-8") from e


def _json(text: str, source: str) -> list[Any] | None:
    """The text as one JSON document; None when it is no JSON (it may be YAML in flow style)."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            counts = Counter(name for name, _ in pairs)
            raise _duplicate(counts.most_common(1)[0][0], source)
        return made

    def number(written: str) -> float:
        value = float(written)
        if not math.isfinite(value):
            raise ManifestError("OutOfRange", f"{written[:40]} is not a finite number", where=source)
        return value

    try:
        document = json.loads(text, object_pairs_hook=members, parse_float=number, parse_constant=number)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as e:
        raise ManifestError("NotUtf8", "it holds half of a surrogate pair, which is no text", where=source) from e
    except ManifestError:
        raise
    except RecursionError:
        raise _too_deep(source) from None
    except ValueError:
        return None
    _check_depth(document, source)
    return [document]


def _check_depth(document: Any, source: str) -> None:
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise _too_deep(source)


@dataclass(slots=True)
class _Open:
    """A collection whose end hasn't come yet."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    merged: list[dict[str, Any]] = field(default_factory=list)
    key: str | None = None
    has_key: bool = False
    is_merge: bool = False
    nodes: int = 1


def _yaml(text: str, source: str) -> list[Any]:
    try:
        return _Builder(source).build(yaml.parse(text, Loader=_Loader))
    except yaml.MarkedYAMLError as e:
        if "nesting depth" in (e.problem or ""):  # libyaml's own limit, met first when it reads ahead.
            raise _too_deep(_at(source, e.problem_mark)) from e
        raise ManifestError(
            "YamlSyntax", e.problem or "it isn't YAML", where=_at(source, e.problem_mark), hint=_syntax_hint(e)
        ) from e
    except (yaml.YAMLError, ValueError) as e:
        if isinstance(e, ManifestError):
            raise
        raise ManifestError("YamlSyntax", f"it isn't YAML: {str(e).splitlines()[0]}", where=source) from e


class _Builder:
    """Turns YAML events into plain values, without recursion."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._aliased = 0
        self._documents: list[Any] = []

    def build(self, events: Iterator[Any]) -> list[Any]:
        for event in events:
            match event:
                case yaml.DocumentStartEvent():
                    self._anchors.clear()
                case yaml.ScalarEvent():
                    self._add(self._scalar(event), event, nodes=1, anchor=event.anchor)
                case yaml.AliasEvent():
                    value, nodes = self._aliased_value(event)
                    self._add(value, event, nodes=nodes, anchor=None)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._begin(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._end(event)
        return self._documents

    def _begin(self, event: Any) -> None:
        if event.tag not in _COLLECTION_TAGS:
            raise self._forbidden(event)
        if len(self._stack) >= MAX_DEPTH:
            raise _too_deep(_at(self._source, event.start_mark))
        if self._expects_key():
            raise ManifestError(
                "TypeError", "a key must be text, not a collection", where=_at(self._source, event.start_mark)
            )
        self._stack.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor))

    def _end(self, event: Any) -> None:
        done = self._stack.pop()
        if isinstance(done.value, dict):
            for merged in done.merged:
                for key, value in merged.items():
                    done.value.setdefault(key, value)
        self._add(done.value, event, nodes=done.nodes, anchor=done.anchor)

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and not self._stack[-1].has_key

    def _add(self, value: Any, event: Any, *, nodes: int, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, nodes)
        if not self._stack:
            self._documents.append(value)
            return
        top = self._stack[-1]
        top.nodes += nodes
        if isinstance(top.value, list):
            top.value.append(value)
        elif not top.has_key:
            self._key(top, value, event)
        elif top.is_merge:
            top.has_key = top.is_merge = False
            top.merged += self._merge_sources(value, event)
        else:
            top.has_key = False
            top.value[str(top.key)] = value

    def _key(self, top: _Open, key: Any, event: Any) -> None:
        where = _at(self._source, event.start_mark)
        if not isinstance(key, str):
            raise ManifestError(
                "TypeError", f"a key must be text, not {json.dumps(key)}", where=where, hint="put it in quotes"
            )
        top.has_key = True
        top.is_merge = key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]
        if not top.is_merge and key in top.value:
            raise _duplicate(key, where)
        top.key = key

    def _merge_sources(self, value: Any, event: Any) -> list[dict[str, Any]]:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(s, dict) for s in sources):
            raise ManifestError(
                "TypeError", "<< merges objects, and this is none", where=_at(self._source, event.start_mark)
            )
        return sources

    def _scalar(self, event: Any) -> Any:
        try:
            return plain_scalar(event.value, event.tag, event.implicit)
        except ScalarError as e:
            if e.tag is not None:
                raise self._forbidden(event) from e
            raise ManifestError(e.code, str(e), where=_at(self._source, event.start_mark)) from e

    def _aliased_value(self, event: Any) -> tuple[Any, int]:
        where = _at(self._source, event.start_mark)
        if event.anchor not in self._anchors:
            raise ManifestError("YamlSyntax", f"the alias *{event.anchor} has no anchor before it", where=where)
        value, nodes = self._anchors[event.anchor]
        self._aliased += nodes
        if self._aliased > MAX_ALIASED_NODES:
            raise ManifestError(
                "YamlAliasLimit",
                f"its aliases stand for more than {MAX_ALIASED_NODES} values",
                where=where,
                hint="write the repeated parts out",
            )
        depth_left = MAX_DEPTH - len(self._stack)
        if _depth(value) > depth_left:
            raise _too_deep(where)
        return copy.deepcopy(value), nodes

    def _forbidden(self, event: Any) -> ManifestError:
        return ManifestError(
            "YamlTagForbidden",
            f"the tag {event.tag[:80]} isn't allowed",
            where=_at(self._source, event.start_mark),
            hint="manifests hold plain values only: text, numbers, true, false, null, lists and objects",
        )


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _duplicate(key: str, where: str) -> ManifestError:
    return ManifestError(
        "DuplicateKey", f"the key {key[:80]!r} stands twice in one object", where=where, hint="keep one of both"
    )


def _too_deep(where: str) -> ManifestError:
    return ManifestError("TooDeep", f"it is nested more than {MAX_DEPTH} deep", where=where)


def _at(source: str, mark: Any) -> str:
    return f"{source}:{mark.line + 1}:{mark.column + 1}" if mark is not None else source


def _syntax_hint(error: yaml.MarkedYAMLError) -> str:
    if "\\t" in (error.problem or "") or "tab" in (error.problem or ""):
        return "indent with spaces: YAML forbids tabs"
    return "check the indentation and the colons at this place"
