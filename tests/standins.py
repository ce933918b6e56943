"""Stand in for verbs that take minutes: publish a version, let the challenger be champion, report on a draft.

They need the same rights as the verbs: to write versions, to read the champion, to find an image.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from function.contract import MANIFEST, Manifest
from function.store import FileStore, Store, open_store
from lifecycle.environment import Environment, read_environment
from lifecycle.google_apis import release_credentials
from lifecycle.pinning import pin_of
from lifecycle.rollout.chosen import to_release
from lifecycle.rollout.images import find_image, tag_of
from lifecycle.versions import CHALLENGER, CHAMPION, list_numbers, move_alias, publish, read_aliases, read_version

REFUSED_GATE, REFUSED_RELEASE = 3, 10
TEMPLATE = Path("version")  # the files of a version, for every version that is made here


class Copy(NamedTuple):
    """A version of a model whose files are the template's."""

    model: str

    def finish(self, number: int) -> tuple[Mapping[str, bytes], Manifest]:
        """Return the files and the manifest of the version of this number."""
        template = Manifest.model_validate_json((TEMPLATE / MANIFEST).read_bytes())
        files = {name: (TEMPLATE / name).read_bytes() for name in template.files}
        return files, template.model_copy(update={"model": self.model, "version": number})


def train(store: Store, target: Environment, arguments: Sequence[str]) -> int:
    """Publish a version of each model that has no version, or for those named; into a draft where one is asked for.

    A model is refused where the file refuse-MODEL is there.
    """
    code, changed = 0, "--changed" in arguments
    names = sorted(target.models) if changed else [name for name in arguments if not name.startswith("-")]
    draft = FileStore(Path(arguments[arguments.index("--draft") + 1]).resolve()) if "--draft" in arguments else None
    for name in names:
        known = list_numbers(store, name)
        if Path(f"refuse-{name}").exists():
            print(f"{name}: a limit is missed")
            code = REFUSED_GATE
        elif draft is not None or not known or not changed:
            version = publish(draft or store, name, Copy(name)).manifest.version
            print(f"{name}: version {version} is published in {(draft or store).url}")
            if draft is None:
                move_alias(store, name, CHALLENGER, version)
        else:
            print(f"{name}: keeps version {known[-1]}")
    return code


def rollout(store: Store, target: Environment, arguments: Sequence[str]) -> int:
    """Let each challenger that has an image be champion, unless the file bad-MODEL is there."""
    code, named = 0, [name for name in arguments if not name.startswith("-")]
    for name in named or sorted(target.models):
        if not list_numbers(store, name):
            continue
        number = to_release(store, name).manifest.version
        if read_aliases(store, name).get(CHAMPION) == number:
            print(f"{name}: nothing to do")
            continue
        pin = pin_of(read_version(store, name, number))
        image = find_image(target, name, tag_of(number, pin), release_credentials(target))
        if Path(f"bad-{name}").exists():
            print(f"{name}: version {number} is rolled back")
            code = REFUSED_RELEASE
            continue
        move_alias(store, name, CHAMPION, number)
        print(f"{name}: version {number} answers, {image}")
    return code


def report(store: Store, target: Environment, arguments: Sequence[str]) -> int:
    """Write which versions are drafts, and what Terraform would change."""
    options = dict(zip(arguments[::2], map(Path, arguments[1::2]), strict=True))
    names = [file.parent.parent.name for file in sorted(options["--draft"].rglob(MANIFEST))]
    lines = [
        "# What would change",
        *(f"- {name}: a new version beside {len(list_numbers(store, name))}" for name in names),
    ]
    if options["--plan"].exists():
        lines.append(options["--plan"].read_text(encoding="utf-8"))
    options["--out"].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def main() -> int:
    """Carry out a verb for the environment and the store that the variables name."""
    import os

    store, target = open_store(os.environ["MODEL_STORE"]), read_environment(os.environ["ENVIRONMENT"])
    verb = {"train": train, "rollout": rollout, "report": report}[sys.argv[1]]
    return verb(store, target, [argument for argument in sys.argv[2:] if argument != "--"])


if __name__ == "__main__":
    sys.exit(main())
