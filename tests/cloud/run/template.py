"""Revision templates of Cloud Run: the defaults that the service fills in, and what it refuses."""

from __future__ import annotations

import re

from tests.cloud.errors import invalid
from tests.cloud.schemas import Json

# https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services
DEFAULT_TIMEOUT, MOST_SECONDS = "300s", 3600
DEFAULT_MAX_INSTANCES, DEFAULT_CONCURRENCY, MOST_CONCURRENCY = 100, 80, 1000
DEFAULT_LIMITS = {"cpu": "1000m", "memory": "512Mi"}
LIMITS = ("cpu", "memory", "nvidia.com/gpu")
# The most Mi of memory from so many CPUs on.
MOST_MEMORY = ((8, 32768), (6, 24576), (4, 16384), (2, 8192), (1, 4096), (0.5, 1024), (0, 512))
SECOND_GENERATION, LEAST_OF_SECOND = "EXECUTION_ENVIRONMENT_GEN2", 512
DEFAULT_PORT = 8080
DEFAULT_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "failureThreshold": 3}
PROBE_ACTIONS = ("httpGet", "tcpSocket", "grpc")
# Of one period in seconds: https://cloud.google.com/run/docs/configuring/healthchecks
LONGEST_PERIOD = {"startupProbe": 240, "livenessProbe": 3600, "readinessProbe": 300}
# The environment that Cloud Run sets itself.
RESERVED_VARIABLES = {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}
RESERVED_PREFIX = "X_GOOGLE_"
NUL = "\0"
# Of quantities as Kubernetes writes them.
UNITS = {"": 1, "m": 1e-3, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
QUANTITY = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(UNITS)})")
IMAGE = re.compile(r"[a-z0-9][\w.\-/:]*(@sha256:[0-9a-f]{64})?")


def check(template: Json) -> None:
    """Refuse a template that Cloud Run refuses.

    Raises CloudError: 400, naming the field.
    """
    containers = template.get("containers") or []
    if not containers:
        raise _violation("template.containers", "At least one container is required.")
    for index, container in enumerate(containers):
        _check_container(container, f"template.containers[{index}]")
    if len(containers) > 1 and sum(bool(container.get("ports")) for container in containers) != 1:
        raise _violation("template.containers", "Exactly one container must have an exposed port.")
    if float((template.get("timeout") or DEFAULT_TIMEOUT).rstrip("s")) > MOST_SECONDS:
        raise _violation("template.timeout", f"The timeout must be at most {MOST_SECONDS}s.")
    if not 0 <= (template.get("maxInstanceRequestConcurrency") or 0) <= MOST_CONCURRENCY:
        raise _violation("template.maxInstanceRequestConcurrency", f"must be from 0 to {MOST_CONCURRENCY}.")
    if len(containers) == 1:  # several share what an instance has
        _check_instance(template, containers[0].get("resources"))
    _check_scaling(template.get("scaling") or {})


def completed(template: Json, project_number: str) -> Json:
    """Return a template with the defaults of what it leaves open."""
    containers = [_container(container) for container in template["containers"]]
    cpu = quantity(containers[0]["resources"]["limits"]["cpu"])
    return {
        **template,
        "containers": containers,
        "timeout": template.get("timeout") or DEFAULT_TIMEOUT,
        "serviceAccount": template.get("serviceAccount") or f"{project_number}-compute@developer.gserviceaccount.com",
        "scaling": {"maxInstanceCount": DEFAULT_MAX_INSTANCES, **(template.get("scaling") or {})},
        "maxInstanceRequestConcurrency": template.get("maxInstanceRequestConcurrency")
        or (DEFAULT_CONCURRENCY if cpu >= 1 else 1),
    }


def default_startup(port: int) -> Json:
    """Return the startup probe of a container that declares none."""
    return {"timeoutSeconds": 240, "periodSeconds": 240, "failureThreshold": 1, "tcpSocket": {"port": port}}


def quantity(text: str) -> float:
    """Return the number that a quantity means: 512Mi, 1Gi, 2 or 500m.

    Raises CloudError: 400.
    """
    found = QUANTITY.fullmatch(text)
    if found is None:
        raise invalid(f"A quantity such as 2, 500m or 512Mi is expected, found: {text}")
    return float(found[1]) * UNITS[found[2]]


def _container(container: Json) -> Json:
    given = container.get("resources")
    billed = {"cpuIdle": True, "startupCpuBoost": True} if given is None else {}
    completed = {**container, "resources": {**billed, **(given or {})}}
    completed["resources"]["limits"] = {**DEFAULT_LIMITS, **((given or {}).get("limits") or {})}
    if not container.get("ports") and container.get("dependsOn"):
        return completed
    ports = container.get("ports") or [{}]
    completed["ports"] = [{"name": "http1", "containerPort": DEFAULT_PORT, **_without_zero(port)} for port in ports]
    return _probed(completed)


def _probed(container: Json) -> Json:
    port = container["ports"][0]["containerPort"]
    probes = {kind: _probe(container[kind], port) for kind in LONGEST_PERIOD if container.get(kind)}
    return {**container, "startupProbe": default_startup(port), **probes}


def _probe(probe: Json, port: int) -> Json:
    completed = {**DEFAULT_PROBE, **_without_zero(probe)}
    for action in PROBE_ACTIONS:
        if action in probe:
            path = {"path": "/"} if action == "httpGet" else {}
            completed[action] = {**path, "port": port, **_without_zero(probe[action] or {})}
    return completed


def _check_container(container: Json, where: str) -> None:
    if not IMAGE.fullmatch(container.get("image") or ""):
        raise _violation(f"{where}.image", f"The image '{container.get('image')}' is no reference of an image.")
    _check_names([variable.get("name", "") for variable in container.get("env") or []], f"{where}.env")
    _check_sources(container.get("env") or [], f"{where}.env")
    _check_texts(container, where)
    for kind, longest in LONGEST_PERIOD.items():
        if container.get(kind):
            _check_probe(container[kind], longest, f"{where}.{kind}")
    _check_limits((container.get("resources") or {}).get("limits") or {}, f"{where}.resources.limits")


def _check_names(names: list[str], where: str) -> None:
    # https://cloud.google.com/run/docs/configuring/services/overview-environment-variables
    for name in names:
        if name in RESERVED_VARIABLES or name.startswith(RESERVED_PREFIX):
            raise _violation(where, f"The following reserved env names were provided: {name}.")
        if not name or "=" in name or NUL in name:
            raise _violation(where, f"The env name {name!r} is empty or holds a character that no name can.")
        if names.count(name) > 1:
            raise _violation(where, f"The env name {name} was provided more than once.")


def _check_texts(container: Json, where: str) -> None:
    """Refuse what no process can be given."""
    values = [variable.get("value", "") for variable in container.get("env") or []]
    for field, texts in {"env": values, **{name: container.get(name) or [] for name in ("command", "args")}}.items():
        if any(NUL in text for text in texts):
            raise _violation(f"{where}.{field}", "must not hold the character NUL.")


def _check_sources(variables: list[Json], where: str) -> None:
    for index, variable in enumerate(variables):
        source = variable.get("valueSource")
        if source is not None and not (source.get("secretKeyRef") or {}).get("secret"):
            raise _violation(f"{where}[{index}].valueSource.secretKeyRef.secret", "must be set.")
        if source is not None and variable.get("value"):
            raise _violation(f"{where}[{index}]", "value and valueSource exclude each other.")


def _check_probe(probe: Json, longest: int, where: str) -> None:
    if sum(action in probe for action in PROBE_ACTIONS) != 1:
        raise _violation(where, "Exactly one of httpGet, tcpSocket or grpc must be specified.")
    timeout, period = probe.get("timeoutSeconds") or 1, probe.get("periodSeconds") or 10
    if period > longest:
        raise _violation(f"{where}.periodSeconds", f"must be at most {longest}.")
    if timeout > period:
        raise _violation(f"{where}.timeoutSeconds", "must not be greater than periodSeconds.")


def _check_instance(template: Json, resources: Json | None) -> None:
    """Refuse what CPU, memory, generation, billing and concurrency cannot be together.

    https://cloud.google.com/run/docs/configuring/services/cpu and .../memory-limits
    """
    where = "template.containers[0].resources"
    given = {**DEFAULT_LIMITS, **((resources or {}).get("limits") or {})}
    cpu, memory = quantity(given["cpu"]), quantity(given["memory"]) / UNITS["Mi"]
    second = template.get("executionEnvironment") == SECOND_GENERATION
    most = next(largest for least, largest in MOST_MEMORY if cpu >= least)
    if memory > most:
        raise _violation(f"{where}.limits.memory", f"For {cpu:g} CPU, memory must be at most {most}Mi.")
    if second and memory < LEAST_OF_SECOND:
        raise _violation(f"{where}.limits.memory", f"The second generation needs at least {LEAST_OF_SECOND}Mi.")
    if cpu >= 1:
        return
    if (template.get("maxInstanceRequestConcurrency") or 1) > 1:
        raise _violation("template.maxInstanceRequestConcurrency", "must be 1 with less than 1 CPU.")
    if resources is not None and not resources.get("cpuIdle"):
        raise _violation(f"{where}.cpuIdle", "must be true with less than 1 CPU.")
    if second:
        raise _violation("template.executionEnvironment", "must be the first generation with less than 1 CPU.")


def _check_limits(given: Json, where: str) -> None:
    # https://cloud.google.com/run/docs/configuring/services/cpu
    for name in given:
        if name not in LIMITS:
            raise _violation(f"{where}.{name}", f"Only {', '.join(LIMITS)} can be limited.")
    cpu, memory = (quantity({**DEFAULT_LIMITS, **given}[name]) for name in ("cpu", "memory"))
    least = {4: 2048, 6: 4096, 8: 4096}.get(cpu, 128)
    if cpu not in (1, 2, 4, 6, 8) and not 0.08 <= cpu <= 1:
        raise _violation(f"{where}.cpu", "Invalid value specified for cpu. Must be from 80m to 1, or 2, 4, 6 or 8.")
    if memory < least * UNITS["Mi"]:
        raise _violation(
            f"{where}.memory",
            f"Invalid value specified for container memory. For {cpu:g} CPU, memory must be at least {least}Mi.",
        )


def _check_scaling(scaling: Json) -> None:
    least, most = scaling.get("minInstanceCount") or 0, scaling.get("maxInstanceCount") or DEFAULT_MAX_INSTANCES
    if least > most:
        raise _violation("template.scaling", "The minimum number of instances must not be above the maximum.")


def _without_zero(values: Json) -> Json:
    return {name: value for name, value in values.items() if value not in (0, "")}


def _violation(field: str, text: str) -> Exception:
    return invalid(f"Violation in CreateServiceRequest.service.{field}: {text}")
