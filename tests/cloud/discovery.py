"""Google's discovery documents: which method a request means, and whether Google would take its parameters and body."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from tests.cloud import scalars, selection
from tests.cloud.errors import CloudError, invalid, required
from tests.cloud.messages import Request
from tests.cloud.parsing import parse
from tests.cloud.schemas import Json, Schemas, camel_case

Channel = Literal["api", "upload", "download"]
TEMPLATE_PART = re.compile(r"\{(\+?)([^}]+)\}")
VERSION_OR_ACTION = re.compile(r"^v\d+/|:[A-Za-z]+$")
# A resumable upload goes on at the address that answered its start, with verbs that no document lists.
UPLOAD_VERBS = frozenset({"POST", "PUT", "DELETE"})


@dataclass(frozen=True)
class Method:
    """One method of an API, as its discovery document describes it."""

    id: str
    verb: str
    template: str
    parameters: Mapping[str, Json]
    request: str | None
    response: Json | None
    gives_media: bool

    @property
    def collection(self) -> str:
        """The id without its last part, for example `run.projects.locations.services`."""
        return self.id.rpartition(".")[0]

    @property
    def action(self) -> str:
        """The last part of the id, for example `create`."""
        return self.id.rpartition(".")[2]


@dataclass(frozen=True)
class Match:
    """The method that a request means, before anything else of the request was looked at."""

    method: Method
    channel: Channel
    path: Mapping[str, str]

    @property
    def name(self) -> str:
        """The resource or collection that the path names, without version and verb: `projects/p/topics/t`."""
        template = VERSION_OR_ACTION.sub("", self.method.template)
        return TEMPLATE_PART.sub(lambda part: self.path[part[2]], template)


@dataclass(frozen=True)
class Call:
    """A request that Google's API description allows, its parameters typed and its body accepted."""

    document: Document
    method: Method
    channel: Channel
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Json
    request: Request

    @property
    def name(self) -> str:
        """The resource or collection that the path names, without version and verb: `projects/p/topics/t`."""
        return Match(self.method, self.channel, self.path).name

    @property
    def wants_media(self) -> bool:
        """Whether the content is asked for instead of the resource."""
        return self.query.get("alt") == "media"


@dataclass(frozen=True)
class _Route:
    verbs: frozenset[str]
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    literals: int
    channel: Channel
    method: Method

    def match(self, path: str) -> Match | None:
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        return Match(self.method, self.channel, dict(zip(self.names, map(unquote, found.groups()), strict=True)))


class Document:
    """One API: its methods by verb and path, its parameters and its schemas."""

    def __init__(self, document: Json, mount: str = "") -> None:
        """Read a discovery document whose paths are served below `mount`, for example `/run`."""
        # Google also takes the parameters that every API has with a dollar sign: the clients of newer APIs send $alt.
        self._shared = {f"{mark}{name}": known for name, known in document["parameters"].items() for mark in ("", "$")}
        self.host = urlsplit(document["rootUrl"]).netloc
        # The APIs older than gRPC have a path of their own and another form of errors.
        self.is_older = bool(document["servicePath"])
        self.mount = mount
        self._base = f"{mount}/{document['servicePath']}"
        self.schemas = Schemas(document["schemas"])
        routes = [route for method in _methods(document) for route in self._routes(method)]
        # The most literal template first: `{+name}` would also match what `{+name}:getIamPolicy` means; of two equal
        # ones the more literal pattern: `projects/[^/]+/sinks/[^/]+` before `[^/]+/[^/]+/sinks/[^/]+`.
        self._routes_by_precision = sorted(routes, key=lambda route: (-route.literals, -_literal(route.pattern)))

    @classmethod
    def load(cls, name: str, version: str, mount: str = "") -> Document:
        """Return the document of an API from google-api-python-client's own copies, read once."""
        return _load(name, version, mount)

    @property
    def methods(self) -> list[Method]:
        """Every method, in no particular order."""
        return list({route.method.id: route.method for route in self._routes_by_precision}.values())

    def has_method(self, pattern: str) -> bool:
        """Tell whether the id of a method fits a pattern."""
        return any(re.fullmatch(pattern, route.method.id) for route in self._routes_by_precision)

    def find(self, request: Request) -> Match | None:
        """Return the method that a request's verb and path mean, or None where the API has none."""
        if not request.path.startswith(self.mount):
            return None
        candidates = (route.match(request.path) for route in self._routes_by_precision if request.verb in route.verbs)
        return next((match for match in candidates if match), None)

    def read(self, match: Match, request: Request) -> Call:
        """Check a request against the method that it means.

        Raises CloudError: 400 for a parameter or field that is unknown, ill-typed or missing.
        """
        query = self._query(match, request)
        body = self._body(match, request)
        call = Call(self, match.method, match.channel, match.path, query, body, request)
        if call.wants_media and not match.method.gives_media:
            raise invalid(f"{match.method.id} does not support media download.")
        return call

    def accept(self, schema: str, text: bytes, method_id: str) -> Json:
        """Return a JSON body that fits a schema; nothing stands for the empty body.

        Raises CloudError: 400 where it is not JSON or does not fit.
        """
        return self.schemas.accept(schema, _parse(text), method_id)

    def select(self, call: Call, answer: Json) -> Json:
        """Return the part of an answer that the request's `fields` selects.

        Raises CloudError: 400 where the selector is malformed or names what the response does not have.
        """
        if not call.query.get("fields"):
            return answer
        selected = selection.parse(call.query["fields"])
        selection.check(selected, self.schemas, call.method.response or {})
        part: Json = selection.select(selected, answer)
        return part

    def _routes(self, description: Json) -> Iterator[_Route]:
        method = _method(description)
        verb = frozenset({method.verb})
        template = self._base + description["path"]
        yield _route(verb, template, "api", method)
        if description.get("useMediaDownloadService"):
            yield _route(verb, "/download" + template, "download", method)
        for protocol in description.get("mediaUpload", {}).get("protocols", {}).values():
            yield _route(UPLOAD_VERBS, protocol["path"], "upload", method)

    def _query(self, match: Match, request: Request) -> Json:
        known = {**self._body_fields(match.method), **self._shared, **match.method.parameters}
        if match.channel == "upload":
            known["upload_id"] = {"type": "string", "location": "query"}
        query: Json = {}
        for name, text in request.query:
            spelled = name if name in known else camel_case(name)
            _add(query, spelled if spelled in known else name, text, known.get(spelled, {}))
        for name, description in match.method.parameters.items():
            if description["location"] == "query" and description.get("required") and name not in query:
                raise required(name)
        return query

    def _body_fields(self, method: Method) -> Json:
        """Return the scalar fields of a body, which newer APIs also take as parameters (Terraform: updateMask)."""
        if self.is_older or method.request is None:
            return {}
        fields = self.schemas[method.request].get("properties", {})
        return {name: {**field, "location": "query"} for name, field in fields.items() if field.get("type") == "string"}

    def _body(self, match: Match, request: Request) -> Json:
        if match.channel == "upload":
            return {}  # what it holds depends on the kind of upload
        if match.method.request:
            return self.accept(match.method.request, request.body, match.method.id)
        if request.body.strip() not in (b"", b"{}", b"null"):
            raise invalid(f"{match.method.id} takes no body.")
        return {}


@cache
def _load(name: str, version: str, mount: str) -> Document:
    documents = files("googleapiclient.discovery_cache") / "documents"
    return Document(json.loads((documents / f"{name}.{version}.json").read_text(encoding="utf-8")), mount)


def _methods(resource: Json) -> Iterator[Json]:
    yield from resource.get("methods", {}).values()
    for below in resource.get("resources", {}).values():
        yield from _methods(below)


def _method(description: Json) -> Method:
    return Method(
        id=description["id"],
        verb=description["httpMethod"],
        template=description["path"],
        parameters=description.get("parameters", {}),
        request=description.get("request", {}).get("$ref"),
        response=description.get("response"),
        gives_media=bool(description.get("supportsMediaDownload")),
    )


def _route(verbs: frozenset[str], template: str, channel: Channel, method: Method) -> _Route:
    parts = TEMPLATE_PART.split(template)  # literal, plus, name, literal, plus, name, ..., literal
    literals, names = parts[::3], parts[2::3]
    pattern = re.escape(literals[0])
    for name, literal in zip(names, literals[1:], strict=True):
        pattern += f"({_segment(method.parameters.get(name, {}))}){re.escape(literal)}"
    return _Route(verbs, re.compile(pattern), tuple(names), sum(map(len, literals)), channel, method)


def _literal(pattern: re.Pattern[str]) -> int:
    return len(pattern.pattern.replace("[^/]+", ""))


def _segment(parameter: Json) -> str:
    pattern: str = parameter.get("pattern", "^[^/]+$")
    return pattern.removeprefix("^").removesuffix("$")


def _add(query: Json, name: str, text: str, description: Json) -> None:
    if description.get("location") != "query":
        raise CloudError(
            400,
            "invalidParameter",
            f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
            f"Field '{name}' could not be found in request message.",
        )
    value = _parameter(name, text.partition(";")[0] if name == "$alt" else text, description)
    if description.get("repeated"):
        query.setdefault(name, []).append(value)
    elif name in query:
        raise CloudError(400, "invalidParameter", f"Multiple values for the parameter '{name}'.")
    else:
        query[name] = value


def _parameter(name: str, text: str, description: Json) -> Any:
    kind, form = description["type"], description.get("format")
    try:
        value = scalars.read_text(kind, form, text)
    except ValueError:
        raise _ill_typed(name, text, scalars.type_name(kind, form)) from None
    if "enum" in description and value not in description["enum"]:
        raise _ill_typed(name, text, "TYPE_ENUM")
    return value


def _ill_typed(name: str, text: str, expected: str) -> CloudError:
    return CloudError(400, "invalidParameter", f"Invalid value at '{name}' ({expected}), {json.dumps(text)}")


def _parse(text: bytes) -> Any:
    try:
        value = parse(text or b"{}")
    except ValueError:
        raise CloudError(400, "parseError", "Invalid JSON payload received. Parse error.") from None
    return {} if value is None else value
