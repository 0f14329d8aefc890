"""Holds when jobs come against PyPI's croniter: the schedules of `expressions.txt`, over 2028.

`cron.py quick|full`, called by `cron.sh`. Either looks at the whole year of each schedule in its time
zone; `full` also at the days of change, and month ends, of each schedule in every zone. The
gateway's answer comes from `examples/occurrences.rs`, searched forwards and backwards, which have
to agree. Two things are asked of it:

1. It is what croniter finds on a clock that never changes, put into the time zone by the rule of
   `docs/protocol.md`, "Cron", which stands here a second time (`by_the_rule`), in other words and
   over other rules of time zones (PyPI's tzdata).
2. It is what croniter finds in the time zone by itself, but for the days on which the clock
   changes, where croniter has another rule. Every such difference is listed with its reason in
   `target/oracle/differences.txt`; one without a reason is a failure.

croniter is installed into `target/oracle/venv`, as `requirements.txt` pins it, and kept for the next
run. If it cannot be had, the whole is skipped, with a line in `target/skipped-tests.txt`;
`REQUIRE_ALL=1` makes that a failure. Exit code: 0 passed or skipped, 1 failed, 2 wrong usage.
"""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))
from run import ROOT, Broken, Missing, process, quietly, skip  # noqa: E402

WORK = ROOT / "target" / "oracle"
VENV = WORK / "venv"
PYTHON_MIN = (3, 11)

BEGIN = datetime(2028, 1, 1, tzinfo=UTC)  # A leap year.
END = datetime(2029, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
# What is looked at besides the changes of the clock where not all of the year is.
TURNS = [datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2028, 12, 31, tzinfo=UTC)]
# How far around each of these.
AROUND = 2 * DAY
# The gateway's answer to everything takes seconds; a search that does not go on would never end.
ANSWER_SECONDS = 600


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in ("quick", "full"):
        print("usage: cron.sh quick|full", file=sys.stderr)
        return 2
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        python = install()
        if sys.prefix != str(VENV):
            # Once more, with croniter at hand and no time zones but those of tzdata.
            os.environ["PYTHONTZPATH"] = ""
            os.execv(python, [python, "-B", __file__, *sys.argv[1:]])
        return 0 if run(sys.argv[1] == "full") else 1
    except Missing as missing:
        return 0 if skip(f"cron-oracle: {missing}") else 1
    except Broken as broken:
        print(f"cron-oracle: {broken}", file=sys.stderr)
        return 1


def install():
    """The Python that has croniter."""
    if sys.version_info < PYTHON_MIN:
        raise Missing(f"python {'.'.join(map(str, PYTHON_MIN))} or later not found")
    python = VENV / "bin" / "python"
    # The mark names the place too: the programs in a venv do not survive its being moved.
    mark = VENV / "installed"
    wanted = f"{VENV}\n{sys.version}\n{(HERE / 'requirements.txt').read_text()}"
    if not mark.exists() or mark.read_text() != wanted:
        pip = [python, "-m", "pip", "install", "--quiet", "--retries", "1"]
        exact = ["--only-binary", ":all:", "--no-deps", "-r", HERE / "requirements.txt"]
        quietly([sys.executable, "-m", "venv", "--clear", VENV])
        quietly([*pip, "--disable-pip-version-check", *exact])
        mark.write_text(wanted)
    return str(python)


def run(is_full):
    """All schedules. True if all is as it should be."""
    started = time.monotonic()
    schedules = read_schedules()
    zones = sorted({zone for _, zone in schedules})
    changes = {zone: changes_of(zone) for zone in zones}
    if sum(map(len, changes.values())) < 10:
        raise Broken("the time zones hardly change their clocks: wrong rules?")
    plan = []
    for expr, own in schedules:
        for zone in zones if is_full else [own]:
            around = [(at - AROUND, at + AROUND) for at in sorted(changes[zone] + TURNS)]
            for begin, end in [(BEGIN, END)] if zone == own else around:
                plan.append((expr, zone, begin, end))
    compared, differences, failures = 0, {}, []
    # croniter takes some milliseconds for each hundred occurrences, and there are many.
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        others = pool.map(others_say, plan)
        answers = list(zip(plan, ask(plan), others, strict=True))
    for (expr, zone, begin, end), (ours, backwards), (expected, theirs) in answers:
        what = f"{expr!r} in {zone}"
        compared += len(ours)
        if backwards != ours:
            failures.append(f"{what}: {shown(ours, backwards, zone)} forwards but not backwards")
        if ours != expected:
            failures.append(f"{what}: {shown(ours, expected, zone)} against the rule")
        for at in sorted(set(ours) ^ set(theirs)):
            reason = why(at, at in ours, changes[zone], expr, zone)
            if reason:
                differences.setdefault((expr, zone, reason), set()).add(at)
            else:
                failures.append(f"{what}: {shown(ours, theirs, zone)} against croniter's own")
                break
    listed = [
        f"{expr}  {zone}: {reason}: {', '.join(local(at, zone) for at in sorted(moments))}"
        for (expr, zone, reason), moments in sorted(differences.items())
    ]
    (WORK / "differences.txt").write_text("\n".join(listed) + "\n")
    for failure in failures[:20]:
        print(f"cron-oracle: FAILED: {failure}")
    seconds = time.monotonic() - started
    print(
        f"cron-oracle: {len(schedules)} schedules in {len(zones)} zones, {compared} occurrences,"
        f" {len(failures)} wrong, {len(listed)} explained differences, in {seconds:.1f} s"
    )
    if compared < 1_000:
        raise Broken("so few occurrences compare nothing")
    return not failures


def read_schedules():
    lines = (HERE / "expressions.txt").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("# ")]
    return [tuple(part.strip() for part in line.rsplit(None, 1)) for line in lines]


# ---- the gateway's


def ask(plan):
    """What the gateway says, forwards and backwards, in the order of the plan."""
    lines = [json.dumps([expr, zone, millis(begin), millis(end)]) for expr, zone, begin, end in plan]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with process([build()], **options) as child:
        try:
            said, _ = child.communicate("\n".join(lines), timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            raise Broken(f"no answer in {ANSWER_SECONDS} s: a search does not go on") from None
    if child.returncode != 0:
        raise Broken("examples/occurrences.rs failed")
    return [json.loads(line) for line in said.splitlines()]


def build():
    """The path of the example, as cargo tells it: the target directory may be anywhere."""
    command = ["cargo", "build", "--locked", "--example", "occurrences"]
    command += ["--message-format=json-render-diagnostics"]
    with process(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as cargo:
        lines = cargo.communicate()[0].splitlines()
    for message in map(json.loads, lines if cargo.returncode == 0 else []):
        if message.get("executable") and message["target"]["name"] == "occurrences":
            return message["executable"]
    raise Broken("examples/occurrences.rs does not build")


# ---- the other


def others_say(planned):
    """What the rule makes of croniter's answer, and croniter's own idea of time zones."""
    return by_the_rule(*planned), by_croniter(*planned)


def spelled(expr):
    """As croniter has it: the last Friday is L5 there."""
    return re.sub(r"\b([0-7])L$", r"L\1", expr)


def on_a_plain_clock(expr, begin, end):
    """The wall-clock times from the first to the last, on a clock that never changes."""
    from croniter import croniter

    times = croniter(spelled(expr), begin - MINUTE, ret_type=datetime)
    found = []
    while (at := times.get_next()) <= end:
        found.append(at)
    return found


def by_the_rule(expr, zone, begin, end):
    """The rule: an interval follows the clock; a time of the day comes once, the first time, or
    right after the gap that leaves it out."""
    from zoneinfo import ZoneInfo

    rules = ZoneInfo(zone)
    follows_the_clock = is_interval(expr)
    found = set()
    # Wherever on earth: no offset is over a day.
    for wall in on_a_plain_clock(expr, naive(begin) - DAY, naive(end) + DAY):
        first, second = (
            wall.replace(tzinfo=rules, fold=fold).astimezone(UTC) for fold in (0, 1)
        )
        if first.astimezone(rules).replace(tzinfo=None) != wall:
            # In a gap: read either way, it is on the other side of it.
            moments = [] if follows_the_clock else [change_between(second, first, rules)]
        else:
            moments = [first, second] if follows_the_clock else [first]
        found.update(moments)
    return sorted(millis(at) for at in found if begin < at <= end)


def by_croniter(expr, zone, begin, end):
    """croniter's own idea of time zones."""
    from croniter import croniter
    from zoneinfo import ZoneInfo

    times = croniter(spelled(expr), begin.astimezone(ZoneInfo(zone)), ret_type=datetime)
    found, before = [], begin
    while before < (at := times.get_next().astimezone(UTC)) <= end:
        found.append(millis(at))
        before = at
    if at <= before:
        raise Broken(f"croniter does not go on with {expr!r} in {zone} from {at}")
    return found


def why(at, is_ours, changes, expr, zone):
    """Which sentence of our rule croniter does not follow there; None if it is no such case."""
    from zoneinfo import ZoneInfo

    at = datetime.fromtimestamp(at / 1_000, UTC)
    is_repeated = at.astimezone(ZoneInfo(zone)).fold == 1
    cases = {
        # An interval?, repeated?, right after a gap?, only ours?
        (False, True, False, False): "a time of the day that is repeated comes the first time only",
        (False, False, True, True): "a time of the day that is left out comes right after the gap",
        (True, False, True, False): "of an interval, what is left out does not come",
        (True, True, False, True): "of an interval, what is repeated comes twice",
    }
    return cases.get((is_interval(expr), is_repeated, at in changes and not is_repeated, is_ours))


def is_interval(expr):
    return expr == "@hourly" or any(field.startswith("*") for field in expr.split()[:2])


# ---- time


def changes_of(zone):
    """When the clocks of a zone are put forward or back in that year."""
    from zoneinfo import ZoneInfo

    rules = ZoneInfo(zone)
    days = [BEGIN + DAY * number for number in range((END - BEGIN).days + 1)]
    return [
        change_between(day, after, rules)
        for day, after in zip(days, days[1:])
        if offset(day, rules) != offset(after, rules)
    ]


def change_between(before, after, rules):
    """The one moment at which the clock changes, to the minute."""
    while after - before > MINUTE:
        middle = before + ((after - before) / 2) // MINUTE * MINUTE
        if offset(middle, rules) == offset(before, rules):
            before = middle
        else:
            after = middle
    return after


def offset(at, rules):
    return at.astimezone(rules).utcoffset()


def naive(at):
    return at.replace(tzinfo=None)


def millis(at):
    return round(at.timestamp() * 1_000)


def local(ms, zone):
    from zoneinfo import ZoneInfo

    return f"{datetime.fromtimestamp(ms / 1_000, ZoneInfo(zone)):%F %R%z}"


def shown(ours, theirs, zone):
    """The first difference."""
    at = min(set(ours) ^ set(theirs), default=None)
    if at is None:
        return "another order"
    return f"{local(at, zone)} is {'there' if at in set(ours) else 'not there'}"


if __name__ == "__main__":
    sys.exit(main())
