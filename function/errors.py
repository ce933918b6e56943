"""The one tree of errors, and the one shape in which callers see them.

PilotlightError
├── RequestError            the caller's mistake, always 4xx (and 501 for what a protocol has and we do not)
│   ├── MalformedJson           400
│   ├── MalformedBody           400
│   ├── InvalidBody             400
│   ├── AmbiguousBody           400
│   ├── UnknownPath             404
│   ├── UnknownModel            404
│   ├── MethodNotAllowed        405
│   ├── BodyTimeout             408
│   ├── BodyTooLarge            413
│   ├── TooManyInstances        413
│   ├── UnsupportedMediaType    415
│   ├── InvalidInstances        422
│   ├── InvalidOutcomes         422
│   ├── Overloaded              429   retry_after_seconds
│   └── NotOffered              501
└── ServiceError            ours, always 5xx
    ├── PredictionFailed        500
    ├── ModelUnavailable        503   retry_after_seconds
    └── NotRecorded             503   retry_after_seconds
"""

from typing import ClassVar, TypedDict


class Detail(TypedDict):
    """One fault: where (a JSON pointer into the body), what was expected there, and what was found."""

    at: str
    expected: str
    found: str


class ErrorBody(TypedDict, total=False):
    """The value of `error` in every answer that is not 2xx."""

    code: str
    message: str
    details: list[Detail]


class PilotlightError(Exception):
    """An error with an HTTP status, a stable code for programs and a message for people."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        details: list[Detail] | None = None,
        *,
        headers: dict[str, str] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or []
        self.headers = headers or {}
        if retry_after_seconds is not None:
            self.headers["retry-after"] = str(retry_after_seconds)

    def body(self) -> dict[str, ErrorBody]:
        """Return the JSON shape that callers see."""
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}

    def text(self) -> str:
        """Return all of it as one text, for dialects whose errors have no other room."""
        faults = [
            f"{fault['at'] or 'body'}: expected {fault['expected']}, found {fault['found']}" for fault in self.details
        ]
        return " ".join([self.message, *([f"{'; '.join(faults)}."] if faults else [])])


class RequestError(PilotlightError):
    """The caller can mend it."""

    status = 400
    code = "invalid_request"


class MalformedJson(RequestError):
    """The body is not JSON."""

    code = "malformed_json"


class MalformedBody(RequestError):
    """The body is not what its content type or its encoding says."""

    code = "malformed_body"


class InvalidBody(RequestError):
    """The body can be decoded, but is not one of the forms that this endpoint reads."""

    code = "invalid_body"


class AmbiguousBody(RequestError):
    """The body has several of the forms that this path reads, and nothing says which is meant."""

    code = "ambiguous_body"


class UnknownPath(RequestError):
    """Nothing lives at this path."""

    status = 404
    code = "unknown_path"


class UnknownModel(RequestError):
    """The path names another model or version than the one that is served here."""

    status = 404
    code = "unknown_model"


class MethodNotAllowed(RequestError):
    """The path exists, but not for this method."""

    status = 405
    code = "method_not_allowed"


class BodyTimeout(RequestError):
    """The body did not arrive in time."""

    status = 408
    code = "body_timeout"


class BodyTooLarge(RequestError):
    """The body holds more bytes than are read."""

    status = 413
    code = "body_too_large"


class TooManyInstances(RequestError):
    """The body holds more instances than one request may."""

    status = 413
    code = "too_many_instances"


class UnsupportedMediaType(RequestError):
    """The body's content type or encoding is none that is read here."""

    status = 415
    code = "unsupported_media_type"


class InvalidInstances(RequestError):
    """Instances that do not fit the model's signature; `invalid` counts them all, `details` is capped."""

    status = 422
    code = "invalid_instances"

    def __init__(self, message: str, details: list[Detail] | None = None, invalid: int = 0) -> None:
        super().__init__(message, details)
        self.invalid = invalid


class InvalidOutcomes(RequestError):
    """Outcomes that do not fit the model's targets, or ids that are none; `details` is capped."""

    status = 422
    code = "invalid_outcomes"


class Overloaded(RequestError):
    """More is under way than can be answered in time."""

    status = 429
    code = "overloaded"


class NotOffered(RequestError):
    """The protocol knows this, but this endpoint does not have it."""

    status = 501
    code = "not_offered"


class ServiceError(PilotlightError):
    """The caller did nothing wrong."""


class PredictionFailed(ServiceError):
    """The model raised on instances that its signature allows."""

    code = "prediction_failed"


class ModelUnavailable(ServiceError):
    """The pinned model version is not loaded, and this says why without naming paths."""

    status = 503
    code = "model_unavailable"


class NotRecorded(ServiceError):
    """Feedback that could not be written down; sending it again is right."""

    status = 503
    code = "not_recorded"
