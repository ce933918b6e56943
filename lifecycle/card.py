"""The model card: Markdown, every figure of it measured."""

from function.contract import Feature, Manifest
from lifecycle.decision import Decision, markdown_table, write_decision
from lifecycle.recipe import Maintenance


def write_card(manifest: Manifest, maintenance: Maintenance | None, decision: Decision | None = None) -> str:
    """Return the card of a version; `manifest` needs no file list yet."""
    sections = [
        _head(manifest),
        ["## What it takes", "", *_features(manifest)],
        ["## What it gives", "", *_outputs(manifest)],
        ["## How good it is", "", *_metrics(manifest)],
        ["## Limits it was accepted against", "", *_limits(manifest)],
        ["## What it was held against", "", *_decision(decision)],
        ["## How it is computed", "", describe_engine(manifest)],
        ["## What it was made of", "", *_origin(manifest)],
        ["## What is kept out of prediction records", "", *_privacy(manifest)],
        ["## Maintenance", "", *_maintenance(maintenance)],
    ]
    if manifest.notes:
        sections.append(["## Notes", "", *(f"- {note}" for note in manifest.notes)])
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def describe_engine(manifest: Manifest) -> str:
    """Return which engine serves a version and why, in one sentence."""
    proof = manifest.proof
    if proof.verdict == "not compiled":
        return f"Not compiled, so served by scikit-learn: {proof.reason}."
    if proof.verdict == "fails":
        return f"Served by scikit-learn, as the compiled model differs from the fitted pipeline: {proof.reason}."
    largest = max(proof.largest_differences.values(), default=0.0)
    rows = f"{proof.rows} rows of data and {proof.hard_rows} built to break it ({proof.refused_rows} refused by both)"
    same = f"numbers differ by at most {largest:.1e} of their scale" if largest else "bit for bit"
    return f"Compiled, and proved equal to the fitted pipeline on {rows}: {same}."


def _head(manifest: Manifest) -> list[str]:
    return [
        f"# {manifest.model}, version {manifest.version}",
        "",
        manifest.purpose,
        "",
        f"Owner: {manifest.owner}. Made {manifest.created_at}. Engine: {manifest.engine}.",
    ]


def _features(manifest: Manifest) -> list[str]:
    rows = [
        (feature.name, feature.type, "yes" if feature.nullable else "no", _known(feature))
        for feature in manifest.signature.features
    ]
    seen = "in training" if manifest.data.test_rows else "in the examples"
    return markdown_table(("feature", "type", "may be missing", seen), rows)


def _known(feature: Feature) -> str:
    if feature.categories is not None:
        shown = ", ".join(map(str, feature.categories[:8]))
        return shown + (f" and {len(feature.categories) - 8} more" if len(feature.categories) > 8 else "")
    if feature.minimum is not None:
        return f"{feature.minimum:g} to {feature.maximum:g}"
    return "free text" if feature.type == "text" else ""


def _outputs(manifest: Manifest) -> list[str]:
    lines = []
    for output in manifest.signature.outputs:
        classes = f": one of {', '.join(map(str, output.classes))}" if output.classes else ": a number"
        lines.append(f"- `{output.name}`{classes}")
    return lines


def _metrics(manifest: Manifest) -> list[str]:
    if not manifest.metrics:
        return ["Not measured: no target was given."]
    means = f" The positive class is {manifest.positive}." if manifest.positive is not None else ""
    rows = [
        (
            name,
            f"{metric.value:.4g}",
            f"{metric.low:.4g} to {metric.high:.4g}",
            "" if metric.train is None else f"{metric.train:.4g}",
        )
        for name, metric in manifest.metrics.items()
    ]
    head = [f"On {_measured_on(manifest)}.{means}", ""]
    return head + markdown_table(("metric", "value", "interval", "on training rows"), rows) + _slices(manifest)


def _measured_on(manifest: Manifest) -> str:
    """Return which rows the metrics are of; without test rows they are the examples of a packaged pipeline."""
    data = manifest.data
    if data.test_rows:
        return f"{data.test_rows} rows, with a 95 % bootstrap interval"
    rows = f"the {data.train_rows} example rows, with a 95 % bootstrap interval"
    return f"{rows}; it is not known whether the pipeline was fitted on them"


def _slices(manifest: Manifest) -> list[str]:
    rows = [(column, value, f"{found:.4g}") for column, by in manifest.slices.items() for value, found in by.items()]
    return ["", *markdown_table(("column", "slice", "value"), rows)] if rows else []


def _limits(manifest: Manifest) -> list[str]:
    if not manifest.limits:
        return ["They were not held: no target was given." if manifest.recipe else "None were stated."]
    rows = [
        (limit.name, limit.rule, "not measured" if limit.value is None else f"{limit.value:.4g}", limit.stands)
        for limit in manifest.limits
    ]
    return markdown_table(("limit", "expected", "found", "stands in"), rows)


def _decision(decision: Decision | None) -> list[str]:
    return ["Nothing: there is no decision."] if decision is None else write_decision(decision)


def _origin(manifest: Manifest) -> list[str]:
    data = manifest.data
    rows = f"{data.train_rows} training rows and {data.test_rows} test rows"
    if not data.test_rows:
        rows = f"described by {data.train_rows} example rows; it is not known whether the pipeline was fitted on them"
    return [
        f"- {rows}, digest `{data.sha256[:16]}`",
        f"- {manifest.estimator.name}",
        f"- git commit {manifest.git_commit or 'unknown'}",
        f"- {', '.join(f'{name} {version}' for name, version in manifest.libraries.items())}",
    ]


def _privacy(manifest: Manifest) -> list[str]:
    privacy = manifest.privacy
    omitted = f"Left out: {', '.join(privacy.omit)}." if privacy.omit else "Nothing is left out."
    hashed = f"Hashed: {', '.join(privacy.hash)}." if privacy.hash else "Nothing is hashed."
    return [f"{omitted} {hashed}"]


def _maintenance(maintenance: Maintenance | None) -> list[str]:
    if maintenance is None:
        return ["Not stated: there is no model.yaml."]
    return [
        f"- Retrain: {maintenance.retrain}, with {maintenance.data}",
        f"- Tell: {maintenance.tell}",
        f"- Go back: `{maintenance.go_back}`",
    ]
