"""Makes the environments of all clients: python -m tests.clients."""

from tests import environments
from tests.clients import REQUIREMENTS

for name, requirements in REQUIREMENTS.items():
    print(f"{name}: {environments.scripts(requirements).parent}", flush=True)
