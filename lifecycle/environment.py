"""An environment of infra/, as its .tfvars file names it: where a model's service, images and versions are."""

from pathlib import Path
from typing import Any, NamedTuple

import hcl2
from lark.exceptions import LarkError

from lifecycle.errors import Missing, RecipeInvalid

ROOT = Path(__file__).resolve().parent.parent  # not the recipe's, which takes scikit-learn's seconds to import
FOLDER = ROOT / "infra"
NEEDED = ("project", "region", "prefix", "model_bucket")


class Environment(NamedTuple):
    """What a release has to know of a place that Terraform made; `models` holds what the file says of each endpoint."""

    name: str
    project: str
    region: str
    prefix: str
    model_bucket: str
    models: dict[str, dict[str, Any]]

    @property
    def store(self) -> str:
        """The URL of the store of versions."""
        return f"gs://{self.model_bucket}"

    @property
    def release_identity(self) -> str:
        """The e-mail address of the service account that releases (infra/delivery.tf)."""
        return f"{self.prefix}-deliver@{self.project}.iam.gserviceaccount.com"

    def service(self, model: str) -> str:
        """Return the full name of a model's Cloud Run service."""
        return f"projects/{self.project}/locations/{self.region}/services/{self.prefix}-{model}"

    def images(self, model: str) -> str:
        """Return the name of a model's images, without tag or digest."""
        return f"{self.region}-docker.pkg.dev/{self.project}/{self.prefix}/{model}"


def read_environment(name: str, folder: Path = FOLDER) -> Environment:
    """Return an environment; raises Missing where no file is called so, RecipeInvalid with what the file lacks."""
    path = folder / f"{name[:100]}.tfvars"  # longer ones are no names of files
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.tfvars"))) or "none yet"
        raise Missing(f"There is no {path}; the environments are: {there}.")
    try:
        content = hcl2.loads(path.read_text(encoding="utf-8"))
    except (LarkError, UnicodeDecodeError) as error:
        raise RecipeInvalid(f"{path} is no file of variables: {str(error).partition(chr(10))[0]}") from None
    values = [_plain(content.get(variable)) for variable in NEEDED]
    missing = [variable for variable, value in zip(NEEDED, values, strict=True) if not isinstance(value, str)]
    if missing:
        raise RecipeInvalid(f"{path} does not say {', '.join(missing)}.")
    project, region, prefix, bucket = values
    return Environment(name, project, region, prefix, bucket, _plain(content.get("models", {})))


def _plain(value: Any) -> Any:
    """Return what HCL means: python-hcl2 leaves quotes around texts and names."""
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items() if not str(key).startswith("__")}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value[1:-1] if isinstance(value, str) and value[:1] == value[-1:] == '"' else value
