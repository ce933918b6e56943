"""Every path: which dialect its answers and errors are in, which bodies it takes, and what answers it."""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from starlette.routing import compile_path

from function.call import JSON, Headers
from function.errors import AmbiguousBody, MethodNotAllowed, UnknownPath, UnsupportedMediaType

FORM = "application/x-www-form-urlencoded"
LINES = "ndjson"  # the dialect that is answered line by line
COLUMNAR = ("arrow", "parquet")  # whose library takes long to import
TABLES = {
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
}
LINE_MEDIA = dict.fromkeys(
    (
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
    ),
    LINES,
)
SMALLEST_COMPRESSED = 1024  # bytes; below, an answer's compression costs more than it saves


class Takes(NamedTuple):
    """Which dialect a body speaks, by its media type and, for JSON, by its shape; nothing is guessed."""

    anything: str | None = None  # a path of one dialect that takes bodies of any media type: JSON, or the dialect
    media: Mapping[str, str] = {}  # dialects of media types other than JSON
    wrappers: Mapping[str, str] = {}  # names that wrap instances in a JSON object, and the dialects that have them
    array: str = "native"  # of a JSON array
    bare: str = "native"  # of any other JSON
    lists_per_instance: int = 1  # and objects, which bound what a body's JSON may cost

    @property
    def of_json(self) -> list[str]:
        """Every dialect that a JSON body may turn out to speak."""
        if self.anything is not None and self.anything != JSON:
            return [self.anything]
        return list(dict.fromkeys([self.bare, *self.wrappers.values(), self.array]))

    @property
    def dialects(self) -> list[str]:
        """Every dialect that a body may turn out to speak."""
        return list(dict.fromkeys([*self.of_json, *self.media.values()]))

    def by_media(self, headers: Headers) -> str:
        """Return JSON, or the dialect of another media type; raises UnsupportedMediaType."""
        if self.anything is not None:
            return self.anything
        kind = headers.get(b"content-type", b"")
        if kind == b"application/json":
            return JSON
        media, *parameters = kind.decode("latin-1").lower().split(";")
        media = media.strip() or JSON
        if (media != JSON and media not in self.media) or not all(map(_is_utf8, parameters)):
            known = ", ".join([JSON, *self.media])
            hint = " (curl's default; add -H content-type:application/json)" if media == FORM else ""
            sent = f"Found the content type {kind.decode('latin-1')[:100]!r}{hint}"
            raise UnsupportedMediaType(f"{sent}; expected one of these, text in UTF-8: {known}.")
        return self.media.get(media, JSON)

    def by_shape(self, content: Any, names: frozenset[str]) -> str:
        """Return the dialect of decoded JSON; raises AmbiguousBody where it has the forms of several.

        A model may have a feature called as a wrapper is: features hold no lists and no objects, so a list or an object
        under such a name is the wrapper, and anything else is the feature.
        """
        if not isinstance(content, dict):
            return self.array if isinstance(content, list) else self.bare
        found = [name for name in self.wrappers if name in content]
        if found and not names.isdisjoint(found):
            found = [name for name in found if is_wrapper(content, name, names)]
        if len(found) > 1:
            text = " and ".join(f'"{name}"' for name in found)
            raise AmbiguousBody(f"The body holds {text}; send one of them, for nothing says which is meant.")
        return self.wrappers[found[0]] if found else self.bare


class Route(NamedTuple):
    """What answers a method at a path."""

    method: str
    path: str
    dialect: str  # of its errors and, where a body does not choose another, of its answers
    kind: Literal["predict", "feedback", "read"] = "read"
    takes: Takes = Takes()  # of predictions
    reads: str = ""  # of what is only read: a module of the function and a function in it
    unloaded: bool = False  # read without the model, which may not be loaded
    slow: bool = False  # read in a thread
    smallest_compressed: int = SMALLEST_COMPRESSED


_PREDICT = Takes(
    media={**TABLES, **LINE_MEDIA},
    wrappers={"instances": "native", "features": "native", "calls": "bigquery"},
    array="vetiver",
    lists_per_instance=2,  # an argument of type JSON is an object in the list that is a call
)
_INVOCATIONS = Takes(
    media={"text/csv": "mlflow", **LINE_MEDIA},
    wrappers=dict.fromkeys(("dataframe_split", "dataframe_records", "instances", "inputs"), "mlflow"),
    array="mlflow",
    bare="mlflow",
)
_V1 = Takes(anything=JSON, wrappers={"instances": "v1", "inputs": "v1"}, array="v1", bare="v1")
_V2 = Takes(anything="v2")
_VERTEX = Takes(array="vertex", bare="vertex")

V1_MODEL = ("/v1/models/{model}", "/v1/models/{model}/versions/{version}")
V2_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")

ROUTES = (
    Route("GET", "/", "native", reads="dialects.native:index", unloaded=True),
    Route("POST", "/", "native", "predict", _PREDICT),  # the bare URL is what callers of a function have
    Route("POST", "/predict", "native", "predict", _PREDICT),
    Route("POST", "/feedback", "native", "feedback"),
    Route("GET", "/model", "native", reads="description:model", slow=True),
    Route("GET", "/openapi.json", "native", reads="description:openapi", slow=True),
    Route("GET", "/docs", "native", reads="docs:page", unloaded=True, slow=True),
    Route("GET", "/docs/{asset}", "native", reads="docs:asset", unloaded=True, slow=True),
    Route("GET", "/health/live", "native", reads="dialects.native:live", unloaded=True),
    Route("GET", "/health/ready", "native", reads="dialects.native:ready"),
    Route("POST", "/invocations", "mlflow", "predict", _INVOCATIONS),
    Route("GET", "/ping", "mlflow", reads="dialects.mlflow:ping"),
    Route("GET", "/health", "mlflow", reads="dialects.mlflow:ping"),
    Route("GET", "/version", "mlflow", reads="dialects.mlflow:version", unloaded=True),
    Route("GET", "/metadata", "vetiver", reads="dialects.vetiver:metadata"),
    Route("GET", "/prototype", "vetiver", reads="dialects.vetiver:prototype"),
    Route("GET", "/v1/models", "v1", reads="dialects.v1:models"),
    *(Route("GET", f"{path}/metadata", "v1", reads="dialects.v1:metadata") for path in V1_MODEL),
    *(Route("POST", f"{path}:predict", "v1", "predict", _V1) for path in V1_MODEL),
    *(
        Route("POST", f"{path}:{verb}", "v1", reads="dialects.v1:explain")
        for verb in ("explain", "classify", "regress")
        for path in V1_MODEL
    ),
    # After those above, for a place takes whatever has no slash, the colon too.
    *(Route("GET", path, "v1", reads="dialects.v1:status") for path in V1_MODEL),
    Route("GET", "/v2", "v2", reads="dialects.v2.metadata:server"),
    Route("GET", "/v2/health/live", "v2", reads="dialects.native:live", unloaded=True),
    Route("GET", "/v2/health/ready", "v2", reads="dialects.native:ready"),
    Route("GET", "/v2/models", "v2", reads="dialects.v2.metadata:models"),
    Route("GET", "/v2/models/stats", "v2", reads="dialects.v2.metadata:statistics"),
    Route("POST", "/v2/repository/index", "v2", reads="dialects.v2.metadata:index"),
    Route("GET", "/v2/systemsharedmemory/status", "v2", reads="dialects.v2.metadata:regions"),
    Route("GET", "/v2/cudasharedmemory/status", "v2", reads="dialects.v2.metadata:regions"),
    *(Route("GET", path, "v2", reads="dialects.v2.metadata:model") for path in V2_MODEL),
    *(Route("GET", f"{path}/ready", "v2", reads="dialects.v2.metadata:ready") for path in V2_MODEL),
    *(Route("GET", f"{path}/config", "v2", reads="dialects.v2.metadata:config") for path in V2_MODEL),
    *(Route("GET", f"{path}/stats", "v2", reads="dialects.v2.metadata:statistics") for path in V2_MODEL),
    *(Route("POST", f"{path}/infer", "v2", "predict", _V2, smallest_compressed=0) for path in V2_MODEL),
)


class Table:
    """The routes of an endpoint, by path and method."""

    def __init__(self, *, predict_path: str = "", health_path: str = "") -> None:
        """Add the paths that Vertex AI chooses; where it chooses one of ours, its `instances` are meant as it does."""
        self._methods: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        for route in ROUTES:
            self._methods.setdefault(route.path, {})[route.method] = route
        if predict_path:
            at_path = self._methods.setdefault(predict_path, {})
            at_path["POST"] = _with_vertex(at_path.get("POST"), predict_path)
        if health_path:
            ready = Route("GET", health_path, "native", reads="dialects.native:ready")
            self._methods.setdefault(health_path, {})["GET"] = ready
        self.routes = [route for methods in self._methods.values() for route in methods.values()]

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Return the route, and what stands in its places; raises UnknownPath or MethodNotAllowed."""
        methods = self._methods.get(path)
        places: Mapping[str, str] = {}
        if methods is None or "{" in path:
            template, places = self._match(path)
            methods = self._methods[template]
        route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if route is None:
            allowed = ", ".join(methods)
            raise MethodNotAllowed(f"This path takes {allowed}.", headers={"allow": allowed})
        return route, places

    def dialect(self, path: str) -> str:
        """Return the dialect in which errors are told at a path, known or not."""
        for start, dialect in (("/v2", "v2"), ("/v1/", "v1")):
            if path.startswith(start):
                return dialect
        return next((route.dialect for route in self._methods.get(path, {}).values()), "native")

    def _match(self, path: str) -> tuple[str, Mapping[str, str]]:
        """Return the path with places that fits; patterns are made when the first path needs one."""
        if not self._patterns:
            self._patterns = [(compile_path(known)[0], known) for known in self._methods if "{" in known]
        for pattern, template in self._patterns:
            if match := pattern.fullmatch(path):
                return template, match.groupdict()
        raise UnknownPath("Nothing lives here; GET / lists the known paths.")


def media_types(headers: Headers, name: bytes) -> list[str]:
    """Return the media types of a header in their order, without parameters; an empty one where there is no header."""
    offers = headers.get(name, b"").decode("latin-1").lower().split(",")
    return [offer.partition(";")[0].strip() for offer in offers]


def is_wrapper(content: Mapping[str, Any], name: str, names: frozenset[str]) -> bool:
    """Tell whether an object's name wraps instances, rather than being one of a model's features."""
    return name in content and (name not in names or isinstance(content[name], list | dict))


def _with_vertex(ours: Route | None, path: str) -> Route:
    if ours is None or ours.kind != "predict":
        return Route("POST", path, "vertex", "predict", _VERTEX)
    return ours._replace(takes=ours.takes._replace(wrappers={**ours.takes.wrappers, "instances": "vertex"}))


def _is_utf8(parameter: str) -> bool:
    """Tell whether a parameter of the content type is none of a charset, or one that UTF-8 covers."""
    name, _, value = parameter.partition("=")
    return name.strip() != "charset" or value.strip('" ') in ("utf-8", "utf8", "us-ascii")
