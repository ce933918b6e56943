"""The environment, read once into frozen Settings; every fault of it is reported at once."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from function.store import open_store

ROOT = Path(__file__).resolve().parent.parent


class SettingsError(Exception):
    """One line for each variable that cannot be used: its name, what was expected, what was found."""


class Settings(BaseModel):
    """What the serving process takes from its environment; a variable is the field's name in capitals."""

    model_config = ConfigDict(frozen=True)

    model_store: str = Field(
        default=(ROOT / "build" / "store").as_uri(),
        description="Where versions live: gs://bucket/prefix or file:///folder",
    )
    pin_file: Path = Field(default=ROOT / "function" / "pin.json", description="The pin: which version to serve")
    max_body_mb: float = Field(default=16, gt=0, le=1024, description="The largest request body, in MiB")
    max_instances: int = Field(default=100_000, ge=1, description="The most instances in one request")
    max_in_flight: int = Field(default=200, ge=1, description="Requests under way before a 429")
    max_in_flight_mb: float = Field(default=32, gt=0, description="Their bodies together, in MiB, before a 429")
    body_timeout_seconds: float = Field(default=30, gt=0, description="How long a body may take to arrive")
    store_timeout_seconds: float = Field(default=20, gt=0, description="How long one object of the store is asked for")
    load_timeout_seconds: float = Field(default=60, gt=0, description="How long a request waits for the model")
    record_kb: float = Field(default=64, ge=1, le=200, description="The largest prediction record, in KiB")
    record_hash_key: str = Field(default="", description="Key for features that model.yaml hashes in records")
    aip_predict_route: str = Field(default="", description="Where Vertex AI sends predictions; it sets this")
    aip_health_route: str = Field(default="", description="Where Vertex AI asks for health; it sets this")
    aip_storage_uri: str = Field(default="", description="Vertex AI's copy of the version's folder; it sets this")
    k_service: str = Field(default="", description="The service's name; Cloud Run sets it")
    k_revision: str = Field(default="", description="The revision's name; Cloud Run sets it")
    google_cloud_project: str = Field(default="", description="The project that traces belong to")

    @field_validator("model_store", "aip_storage_uri")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        open_store(value)
        return value

    @field_validator("aip_predict_route", "aip_health_route")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if not value.startswith("/"):
            raise ValueError("expected a path that begins with /")
        return value


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings; raises SettingsError that names every variable at fault."""
    given = {name: environment[name.upper()] for name in Settings.model_fields if environment.get(name.upper())}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        lines = [
            f"{str(fault['loc'][0]).upper()}: {fault['msg'].removeprefix('Value error, ')}, found {fault['input']!r}"
            for fault in error.errors()
        ]
        raise SettingsError("\n".join(["The environment cannot be used:", *lines])) from None
