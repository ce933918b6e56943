"""Needs a package that the image lacks: no process of it ever listens."""

import a_package_that_nobody_installed  # type: ignore[import-not-found]  # noqa: F401
