"""Which version of a model is to be released: the newest that was made for it, unless it was refused already."""

from function.store import Store
from lifecycle.pinning import pin_of
from lifecycle.rollout.images import tag_of
from lifecycle.rollout.verdict import AGAINST, Verdict, read_verdicts
from lifecycle.versions import CHALLENGER, CHAMPION, Version, find_number, read_aliases, read_version


def to_release(store: Store, model: str) -> Version:
    """Return the challenger unless it was refused, else the champion, else the newest version; raises Missing."""
    aliases = read_aliases(store, model)
    if CHALLENGER in aliases:
        challenger = read_version(store, model, aliases[CHALLENGER])
        if CHAMPION not in aliases or standing(store, challenger) is None:
            return challenger
    return read_version(store, model, find_number(store, model, None))


def standing(store: Store, version: Version, image: str = "") -> Verdict | None:
    """Return the verdict that stands against a version with the code of this checkout, or in an image that is given.

    Other code is another release: what it was refused for may be mended. What was promoted since, or only interrupted,
    stands against nothing.
    """
    manifest = version.manifest
    tag = tag_of(manifest.version, pin_of(version))
    verdicts = read_verdicts(store, manifest.model, manifest.version)
    about = [
        one
        for one in verdicts
        if (one.image == image if image else one.tag == tag) and one.outcome in ("promoted", *AGAINST)
    ]
    return about[-1] if about and about[-1].outcome != "promoted" else None
