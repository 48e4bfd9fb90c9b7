"""The SHA-256 of every file of the layers that are deployed, in the form of sha256sum.

    scripts/build_layers --checksums [--target lambda-arm64]    write SHA256SUMS beside the built layers
    scripts/build_layers --verify [--target lambda-arm64]       compare them with it: nothing changed, added or gone

The same layers give the same file. A release publishes it for each architecture, so `sha256sum --check` in an unpacked
layer says whether it is the released one. Bytecode depends on the patch version of the Python that compiled it.
"""

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.layers import BUILT, LAYERS, TARGETS, LayerError, built

SUMS = "SHA256SUMS"


def sums(folder: Path, layers: Sequence[str] = LAYERS) -> dict[str, str]:
    """SHA-256 by path below the folder, of the files of these layers in it."""
    files = sorted(file for layer in layers for file in (folder / layer).rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def written(found: Mapping[str, str]) -> str:
    """The file's text."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(found.items()))


def differences(text: str, found: Mapping[str, str]) -> list[str]:
    """What is not as the file says, by path."""
    known = {name: sha256 for sha256, _, name in (line.partition("  ") for line in text.splitlines())}
    words = dict.fromkeys(known.keys() - found.keys(), "is gone")
    words |= dict.fromkeys(found.keys() - known.keys(), "was added")
    words |= {name: "does not match" for name in known.keys() & found.keys() if known[name] != found[name]}
    return [f"{name} {why}" for name, why in sorted(words.items())]


def main(arguments: Sequence[str] | None = None) -> int:
    """The options `--checksums` and `--verify` of `scripts/build_layers`."""
    parser = argparse.ArgumentParser(prog="scripts/build_layers", description="Checksums of the files of layers.")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--checksums", action="store_true", help="write them")
    wanted.add_argument("--verify", action="store_true", help="compare the layers with them")
    parser.add_argument("--target", choices=TARGETS, default="lambda-x86_64")
    chosen = parser.parse_args(arguments)
    folder = BUILT / chosen.target
    try:
        for layer in LAYERS:
            built(chosen.target, layer)
        text = "" if chosen.checksums else (folder / SUMS).read_text("utf-8")
    except (FileNotFoundError, LayerError) as error:
        print(f"build_layers: {error}", file=sys.stderr)
        return 1
    found = sums(folder)
    if chosen.checksums:
        (folder / SUMS).write_text(written(found), "utf-8")
        return 0
    faults = differences(text, found)
    print("\n".join(faults) or f"{len(found):,} files of {len(LAYERS)} layers are as {SUMS} says")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
