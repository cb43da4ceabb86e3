"""Fails when too little of the code was run by the tests: 95 % of each domain package, 85 % overall."""

import sys
from pathlib import Path

import coverage

DOMAIN = ("core", "store", "bars", "graphs", "models", "backtests", "forecasts", "registry", "monitoring")
DOMAIN_FLOOR = 95.0
OVERALL_FLOOR = 85.0
PACKAGE = Path(__file__).parent.parent / "gnn_assets"


def shares(data: coverage.Coverage) -> dict[str, float]:
    """Percentage of statements run, by package and overall."""
    seen: dict[str, list[int]] = {}
    omitted = data.get_option("run:omit") or []
    for path in sorted(PACKAGE.rglob("*.py")):
        if any(path.match(pattern) for pattern in omitted):
            continue
        _, statements, _, missing, _ = data.analysis2(str(path))
        part = path.relative_to(PACKAGE).parts[0]
        for name in (part, "overall"):
            total = seen.setdefault(name, [0, 0])
            total[0] += len(statements)
            total[1] += len(statements) - len(missing)
    return {name: 100 * run / total if total else 100.0 for name, (total, run) in seen.items()}


def below_floor(measured: dict[str, float]) -> list[str]:
    """A sentence for every package below its floor."""
    floors = {**dict.fromkeys(DOMAIN, DOMAIN_FLOOR), "overall": OVERALL_FLOOR}
    return [
        f"coverage of {name}: expected at least {floor:.0f} %, was {measured[name]:.1f} %"
        for name, floor in floors.items()
        if measured[name] < floor
    ]


def main() -> None:
    """Reads .coverage of the working directory."""
    data = coverage.Coverage()
    data.load()
    measured = shares(data)
    print("coverage: " + ", ".join(f"{name} {measured[name]:.1f} %" for name in (*DOMAIN, "overall")))
    problems = below_floor(measured)
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
