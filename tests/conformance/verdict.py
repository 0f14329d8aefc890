"""What a conformance run must have shown, and whether it did.

Owns the list of expected cases, the reading of reports and of the allow-list, and the judgement.
Starts nothing: `run.py` does, and calls this. `test_verdict.py` holds it to its word.
"""

import fnmatch
import json
from dataclasses import dataclass, field
from pathlib import Path

SECTIONS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits and speed",
    "10": "many fragments",
}

# How many cases each group has, numbered from 1. Written down here rather than asked of the
# client, so that a client that finds fewer cases than the suite has is not believed.
CASES_IN_GROUP = {
    **{"1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20},
    **{"6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2},
    **{"6.9": 4, "6.10": 3, "6.11": 5, "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3},
    **{"6.17": 5, "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8, "6.22": 34, "6.23": 7},
    **{"7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2},
    **{"9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6},
    **{"10.1": 1},
}

ALL_CASES = [f"{group}.{n}" for group, count in CASES_IN_GROUP.items() for n in range(1, count + 1)]


@dataclass(frozen=True)
class Outcome:
    """How one case ended: its two verdicts, in the suite's words, and its explanations."""

    behavior: str
    close: str
    why: str = ""


@dataclass
class Verdict:
    """What is wrong, empty when nothing is; remarks that fail nothing; and the table."""

    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    table: str = ""


def select(patterns):
    """The expected case ids that match any of the patterns (`*` is a wildcard), in suite order."""
    return [case for case in ALL_CASES if any(fnmatch.fnmatchcase(case, p) for p in patterns)]


def read_allowed(text):
    """The allow-list as `{case id: reason}`. Raises `ValueError` naming the line at fault."""
    allowed = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        case, _, reason = line.strip().partition(" ")
        if case not in ALL_CASES:
            raise ValueError(f"line {number}: there is no case {case}")
        if case in allowed:
            raise ValueError(f"line {number}: case {case} is listed twice")
        if not reason.strip():
            raise ValueError(f"line {number}: case {case} has no reason")
        allowed[case] = reason.strip()
    return allowed


def read_report(directory):
    """The outcomes in a report directory, as `{case id: Outcome}`.

    No report at all is an empty result, which `judge` then finds wanting.
    """
    directory = Path(directory)
    try:
        agents = json.loads((directory / "index.json").read_text())
    except FileNotFoundError:
        return {}
    outcomes = {}
    # The index is grouped by the peer's `Server` header, which a failed upgrade lacks.
    for cases in agents.values():
        for case, entry in cases.items():
            detail = json.loads((directory / entry["reportfile"]).read_text())
            why = f"{detail['result']} {detail['resultClose']}"
            if entry["remoteCloseCode"] is not None:
                why += f" (close code {entry['remoteCloseCode']})"
            outcomes[case] = Outcome(entry["behavior"], entry["behaviorClose"], why)
    return outcomes


def judge(expected, outcomes, allowed):
    """Holds the outcomes against the expected cases and the allow-list."""
    verdict = Verdict()
    if not expected:
        verdict.problems.append("no case was asked for")
    tallies, missing = {}, {}
    for case in expected:
        section = case.split(".")[0]
        kind, problem = classify(case, outcomes.get(case), allowed)
        if problem:
            verdict.problems.append(problem)
        elif case in allowed and kind in ("ok", "info"):
            verdict.remarks.append(f"{case} is allowed to be NON-STRICT but is not")
        if kind == "missing":
            missing.setdefault(section, []).append(case)
        tally = tallies.setdefault(section, dict.fromkeys(COLUMNS, 0))
        tally["cases"] += 1
        tally[kind] += 1
    # A line per section: a client that did not get through misses many cases at once.
    for section, cases in missing.items():
        verdict.problems.append(f"section {section}, not in the report: {', '.join(cases)}")
    for case in sorted(outcomes.keys() - set(expected)):
        verdict.problems.append(f"{case} ran but was not asked for")
    verdict.table = render(tallies)
    return verdict


COLUMNS = ["cases", "ok", "info", "non-strict", "bad", "missing"]


def classify(case, outcome, allowed):
    """The column in which a case counts, and what is wrong with it, if anything."""
    if outcome is None:
        return "missing", None
    shown = f"{case} {outcome.behavior}, close {outcome.close}: {outcome.why}"
    verdicts = {outcome.behavior, outcome.close}
    # Every verdict not named here is a failure: FAILED, UNCLEAN, WRONG CODE, FAILED BY CLIENT,
    # ERROR, UNIMPLEMENTED, and any that a later suite invents.
    if not verdicts <= {"OK", "INFORMATIONAL", "NON-STRICT"}:
        return "bad", shown
    if "NON-STRICT" in verdicts:
        return "non-strict", None if case in allowed else shown
    # INFORMATIONAL: the RFC leaves it open, and the suite only notes what was done.
    return ("info" if "INFORMATIONAL" in verdicts else "ok"), None


def render(tallies):
    """One row per section and a sum."""
    rows = [(f"{s} {SECTIONS[s]}", tally) for s, tally in tallies.items()]
    rows.append(("all", {c: sum(t[c] for t in tallies.values()) for c in COLUMNS}))
    lines = [f"{'section':<20}" + "".join(f"{c:>12}" for c in COLUMNS)]
    for name, tally in rows:
        lines.append(f"{name:<20}" + "".join(f"{tally[c]:>12}" for c in COLUMNS))
    return "\n".join(lines)
