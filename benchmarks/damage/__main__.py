"""Does damage to trainings, files, options and commands, and counts what comes of it.

    python -m benchmarks.damage [--quick] [--only kills] [--python OTHER/bin/python] [--out FILE]
        [--page docs/reliability.md]

Every module of this folder that has a function ``provoke`` does damage of its kind. Prints one
table, writes it as JSON, and ends with status 1 if anything failed without a name. Needs
``pip install -e '.[dev]'``; docs/reliability.md shows one full run.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import pkgutil
import platform
import sys
import tempfile
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

from tabulate import tabulate

HEADERS = ("damage", "tried", "named", "survived", "unnamed", "note")


def modules() -> dict[str, ModuleType]:
    """The modules that do damage, by name."""
    names = [each.name for each in pkgutil.iter_modules([str(Path(__file__).parent)])]
    found = {n: importlib.import_module(f"benchmarks.damage.{n}") for n in names if n[0] != "_"}
    return {name: module for name, module in found.items() if hasattr(module, "provoke")}


def run(
    module: ModuleType, budget: int, seed: int, folder: Path, python: str | None
) -> dict[str, Any] | None:
    """Lets a module do its damage.

    Args:
        module: it.
        budget: about how many tries.
        seed: of what is drawn.
        folder: an empty folder.
        python: another interpreter.

    Returns:
        Its outcomes as plain values; ``None`` if it cannot do damage to another interpreter.
    """
    more = {}
    if python is not None:
        if "python" not in inspect.signature(module.provoke).parameters:
            return None
        more["python"] = python
    outcomes = module.provoke(budget, seed, folder, **more)
    return {
        "budget": budget, "seed": seed, "date": date.today().isoformat(),
        "load": round(os.getloadavg()[0], 1), "outcomes": [each.as_json() for each in outcomes],
    }  # fmt: skip


def table(results: dict[str, Any]) -> str:
    """The counts of all modules, a row for each kind of damage."""
    rows = [
        [each["damage"], each["tried"], each["named"], each["survived"], len(each["unnamed"]),
         each["note"]]
        for module in results["modules"].values() for each in module["outcomes"]
    ]  # fmt: skip
    return tabulate(rows, HEADERS, tablefmt="github")


def fill(page: Path, mark: str, text: str) -> None:
    """Puts a table between the two comments of a page that bear a mark."""
    contents = page.read_text(encoding="utf-8")
    before, begin, rest = contents.partition(f"<!-- {mark} -->")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    if not end:
        sys.exit(f"{page}: has no place for the table: <!-- {mark} --> and <!-- /{mark} -->")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def main() -> None:
    found = modules()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.damage", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="little damage, in a minute or two")
    parser.add_argument("--budget", type=int, help="about how many tries of every kind")
    parser.add_argument("--only", nargs="+", choices=list(found), help="kinds of damage")
    parser.add_argument("--python", help="the interpreter of another version of the package")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--keep", type=Path, help="a new folder where everything damaged stays")
    parser.add_argument(
        "--out", type=Path, help="JSON; results of other kinds that are in the file stay there"
    )
    parser.add_argument(
        "--page", type=Path, help="a page that gets the table; that of another interpreter, too"
    )
    arguments = parser.parse_args()

    results: dict[str, Any] = {"modules": {}}
    if arguments.out is not None and arguments.out.exists():
        results = json.loads(arguments.out.read_text(encoding="utf-8"))
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    results |= {"machine": machine, "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        for name in arguments.only or found:
            own = folder / name
            own.mkdir(parents=True)
            module = found[name]
            budget = arguments.budget or (module.QUICK if arguments.quick else module.FULL)
            done = run(module, budget, arguments.seed, own, arguments.python)
            if done is None:
                print(f"{name}: skipped, its damage is done in this process", file=sys.stderr)
                continue
            results["modules"][name] = done
            if arguments.out is not None:
                arguments.out.write_text(
                    json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
                )
    print(table(results))
    if arguments.page is not None:
        fill(arguments.page, "before" if arguments.python else "counts", table(results))
    failed = [
        f"{name}: {each['damage']}: {text}"
        for name, module in results["modules"].items()
        for each in module["outcomes"] for text in each["unnamed"]
    ]  # fmt: skip
    print("\n".join(failed) if failed else "no failure without a name")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
