"""Refusals, in the JSON shape in which Google's APIs answer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# google.rpc.Code of a status, as newer APIs add it to the body.
RPC_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
REASONS = {
    401: "authError",
    403: "forbidden",
    429: "rateLimitExceeded",
    500: "internalError",
    503: "backendError",
    504: "backendError",
}


class CloudError(Exception):
    """A request that Google would refuse with this status, reason and one or more messages."""

    def __init__(
        self,
        status: int,
        reason: str,
        *messages: str,
        headers: dict[str, str] | None = None,
        rpc: str | None = None,
        details: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Keep what Google would say; `rpc` is the google.rpc.Code where it is not the usual one of the status."""
        super().__init__("; ".join(messages))
        self.status = status
        self.reason = reason
        self.messages = messages
        self.headers = headers or {}
        self.rpc = rpc or RPC_STATUS.get(status)
        self.details = list(details)

    def body(self) -> dict[str, Any]:
        """Return the error as the JSON document of the older APIs: Cloud Storage, BigQuery."""
        errors = [{"message": text, "domain": "global", "reason": self.reason} for text in self.messages]
        error: dict[str, Any] = {"code": self.status, "message": "\n".join(self.messages), "errors": errors}
        return {"error": error | self._rest()}

    def rpc_body(self) -> dict[str, Any]:
        """Return the error as the JSON document of the APIs that are gRPC underneath: all the others."""
        return {"error": {"code": self.status, "message": "\n".join(self.messages)} | self._rest()}

    def _rest(self) -> dict[str, Any]:
        rest = {"status": self.rpc, "details": self.details}
        return {name: value for name, value in rest.items() if value}


def invalid(*messages: str) -> CloudError:
    """Return the refusal of a value."""
    return CloudError(400, "invalid", *messages)


def invalid_fields(faults: Sequence[tuple[str, str]]) -> CloudError:
    """Return the refusal of a body: pairs of a field's path and what is wrong with it."""
    violations = [{"field": field, "description": text} for field, text in faults]
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}]
    return CloudError(400, "invalid", *(text for _, text in faults), details=details)


def failed_precondition(message: str) -> CloudError:
    """Return the refusal of what the state of things does not allow, as the newer APIs answer it."""
    return CloudError(400, "failedPrecondition", message, rpc="FAILED_PRECONDITION")


def denied(message: str, *details: dict[str, Any]) -> CloudError:
    """Return the refusal of what the caller may not do."""
    return CloudError(403, "forbidden", message, details=details)


class NotEnabled(CloudError):
    """A call to an API that is not enabled, which the newer APIs refuse in the older form as well."""

    def __init__(self, message: str, detail: dict[str, Any]) -> None:
        """Take what to do about it, and the detail that programs read."""
        super().__init__(403, "accessNotConfigured", message, details=[detail])

    def body(self) -> dict[str, Any]:
        """Return the error with the reason by which older clients know it."""
        error = super().body()["error"]
        legacy = {"domain": "usageLimits", "extendedHelp": "https://console.developers.google.com"}
        return {"error": {**error, "errors": [{**one, **legacy} for one in error["errors"]]}}

    def rpc_body(self) -> dict[str, Any]:
        """Return the same: Terraform's provider looks for the reason in whatever API it asks."""
        return self.body()


def exhausted(message: str) -> CloudError:
    """Return the refusal of a request more than a quota allows."""
    return CloudError(429, "rateLimitExceeded", message)


def unauthenticated() -> CloudError:
    """Return the refusal of a token that cannot be believed."""
    text = (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    challenge = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    return CloudError(401, "authError", text, headers={"WWW-Authenticate": challenge})


def aborted(message: str) -> CloudError:
    """Return the refusal of a write that was made from an older state than the present one."""
    return CloudError(409, "aborted", message, rpc="ABORTED")


def required(name: str) -> CloudError:
    """Return the refusal of a request that lacks a parameter or field."""
    return CloudError(400, "required", f"Required parameter: {name}")


def not_found(message: str) -> CloudError:
    """Return the refusal for something that does not exist."""
    return CloudError(404, "notFound", message)


def conflict(message: str) -> CloudError:
    """Return the refusal for something that exists already or is still in use."""
    return CloudError(409, "conflict", message)


def condition_not_met() -> CloudError:
    """Return the refusal of a request whose precondition does not hold."""
    return CloudError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")


def not_modified() -> CloudError:
    """Return the answer to a read that asked only for something newer."""
    return CloudError(304, "notModified", "Not Modified")


def unimplemented(what: str) -> CloudError:
    """Return the double's own refusal: Google can do this, the double cannot, and clients do not retry a 501."""
    return CloudError(501, "notImplemented", f"The local double does not implement {what}.")


def played(status: int) -> CloudError:
    """Return an error that Google may answer at any time, whatever was asked."""
    return CloudError(status, REASONS.get(status, "backendError"), f"The local double was told to answer {status}.")
