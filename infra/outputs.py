"""Prints Terraform's outputs, read from standard input as JSON, so that commands and addresses can be pasted."""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Print each output below its name; those by model with the model's name before each."""
    for name, output in json.load(sys.stdin).items():
        value = output["value"]
        print(name)
        if isinstance(value, dict):
            for model, one in value.items():
                print(f"  {model}: {one if isinstance(one, str) else json.dumps(one)}")
        else:
            print(f"  {value}")


if __name__ == "__main__":
    main()
