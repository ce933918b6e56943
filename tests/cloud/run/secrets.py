"""Environment variables from Secret Manager: read for a revision's identity, or refused in Cloud Run's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.cloud.errors import CloudError, unimplemented
from tests.cloud.schemas import Json

LATEST = "latest"
# Gives an account what a version holds, by its full name; raises CloudError as Secret Manager's access does.
Reading = Callable[[str, str], str]


@dataclass(frozen=True)
class SecretVariable:
    """A variable whose value is a version of a secret; `field` is where the template says so."""

    name: str
    field: str
    secret: str
    version: str

    def full_name(self, project_number: str) -> str:
        """Return the version's name; a secret without a project is the service's own project's."""
        prefix = "" if "/" in self.secret else f"projects/{project_number}/secrets/"
        return f"{prefix}{self.secret}/versions/{self.version}"


class SecretsUnavailable(Exception):
    """Not all secrets can be read; the message has a line for each that cannot."""


def secret_variables(container: Json) -> tuple[SecretVariable, ...]:
    """Return the variables of a container that are secrets.

    Raises CloudError: 501 for versions that are neither a number nor `latest`.
    """
    variables = enumerate(container.get("env", ()))
    return tuple(_variable(index, variable) for index, variable in variables if "valueSource" in variable)


def read_secrets(
    variables: Iterable[SecretVariable], account: str, project_number: str, read: Reading
) -> dict[str, str]:
    """Return the values of secret variables as an account may read them at this moment.

    Raises SecretsUnavailable.
    """
    values, faults = {}, []
    for variable in variables:
        name = variable.full_name(project_number)
        try:
            values[variable.name] = read(account, name)
        except CloudError as error:
            faults.append(f"{variable.field}: {_words(error, name, account)}")
    if faults:
        raise SecretsUnavailable("\n".join(faults))
    return values


def _variable(index: int, variable: Json) -> SecretVariable:
    reference = variable["valueSource"]["secretKeyRef"]
    version = reference.get("version", "")
    if version != LATEST and not version.isdigit():
        raise unimplemented(f"the version {version!r} of a secret: a number or latest")
    # Cloud Run names the fields as its older API has them.
    field = f"spec.template.spec.containers[0].env[{index}].value_from.secret_key_ref.name"
    return SecretVariable(variable["name"], field, reference["secret"], version)


def _words(error: CloudError, name: str, account: str) -> str:
    if error.status == 404:
        return f"Secret {name} was not found"
    if error.status == 403 and not error.details:  # with details it is the API that is not enabled
        return (
            f"Permission denied on secret: {name} for Revision service account {account}. The service account used "
            "must be granted the 'Secret Manager Secret Accessor' role (roles/secretmanager.secretAccessor) at the "
            "secret, project or higher level."
        )
    return str(error)
