"""What an endpoint's locals come to: terraform itself evaluates them, in a root without any provider."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.cloud.terraform import run_terraform
from tests.infra.code import ENDPOINT

LOCALS = re.compile(r"^locals \{\n.*?^\}\n", re.M | re.S)
# goals.tf's locals name what a provider makes; tests of the applied Terraform look at those.
FILES = ("metrics.tf", "alerts.tf", "dashboard.tf")
SHOWN = ("alerts", "counters", "distributions", "metric", "tiles", "run_errors", "run_requests")
EXAMPLE: dict[str, Any] = {
    "channels": [],
    "deletion_protection": True,
    "deliver_member": "serviceAccount:pilot-deliver@local-project.iam.gserviceaccount.com",
    "endpoint": {
        "access": "private",
        "concurrency": 40,
        "cpu": 1,
        "hash_key_secret": None,
        "ingress": "all",
        "invokers": [],
        "max_instances": 3,
        "memory_mib": 1024,
        "min_instances": 0,
        "network": None,
        "request_timeout_seconds": 60,
        "settings": {},
        "silence_hours": 6,
        "startup_seconds": 120,
        "uptime_check": False,
    },
    "goals": {"availability": 0.995, "drift_threshold": 0.2, "latency_goal": 0.99, "latency_ms": 300},
    "model": "binary",
    "model_bucket": "models",
    "name": "pilot-binary",
    "owner": "owner@example.com",
    "prices": {"gib_second": 0.0000025, "million_requests": 0.4, "vcpu_second": 0.000024},
    "project": "local-project",
    "project_number": "123456789012",
    "region": "europe-west6",
    "runbook": "https://example.com/runbook.md",
}


@cache
def render() -> dict[str, Any]:
    """Return the locals named in SHOWN of the example endpoint; needs terraform on PATH, and no provider."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ENDPOINT / "variables.tf", folder)
        for file in FILES:
            blocks = LOCALS.findall((ENDPOINT / file).read_text(encoding="utf-8"))
            (folder / file).write_text("\n".join(blocks), encoding="utf-8")
        (folder / "outputs.tf").write_text(_outputs(), encoding="utf-8")
        (folder / "terraform.tfvars.json").write_text(json.dumps(EXAMPLE), encoding="utf-8")
        run_terraform(folder, {}, "init")
        run_terraform(folder, {}, "apply", "-auto-approve")
        shown = subprocess.run(
            ["terraform", "output", "-json"], cwd=folder, capture_output=True, text=True, check=True, timeout=60
        )
    return {name: output["value"] for name, output in json.loads(shown.stdout).items()}


def _outputs() -> str:
    return "\n".join(f'output "{name}" {{\n  value = local.{name}\n}}' for name in SHOWN)
