"""Tests of `verdict.py`, run by `run.py` before every conformance run: they take milliseconds."""

import json
import tempfile
import unittest
from pathlib import Path

from verdict import ALL_CASES, Outcome, judge, read_allowed, read_report, select

OK = Outcome("OK", "OK")


class VerdictTest(unittest.TestCase):
    def check(self, outcomes, problems, expected=("1.1.1",), allowed=(), remarks=()):
        verdict = judge(list(expected), outcomes, dict.fromkeys(allowed, "reason"))
        self.assertEqual(verdict.problems, list(problems))
        self.assertEqual(verdict.remarks, list(remarks))

    def test_conforming_and_informational_outcomes_pass(self):
        self.check({"1.1.1": OK}, [])
        self.check({"1.1.1": Outcome("INFORMATIONAL", "INFORMATIONAL")}, [])

    def test_every_other_outcome_fails_with_its_explanation(self):
        for behavior, close in [
            ("FAILED", "OK"),
            ("FAILED", "FAILED"),
            ("ERROR", "FAILED"),
            ("OK", "FAILED"),
            ("OK", "UNCLEAN"),
            ("OK", "WRONG CODE"),
            ("OK", "FAILED BY CLIENT"),
            ("UNIMPLEMENTED", "OK"),
            ("never heard of", "OK"),
        ]:
            outcome = Outcome(behavior, close, "because")
            self.check({"1.1.1": outcome}, [f"1.1.1 {behavior}, close {close}: because"])

    def test_non_strict_passes_only_where_it_is_allowed(self):
        outcome = Outcome("NON-STRICT", "OK", "late")
        self.check({"1.1.1": outcome}, ["1.1.1 NON-STRICT, close OK: late"])
        self.check({"1.1.1": outcome}, [], allowed=["1.1.1"])

    def test_an_allowed_non_strict_excuses_no_failure(self):
        outcome = Outcome("NON-STRICT", "UNCLEAN", "cut")
        self.check({"1.1.1": outcome}, ["1.1.1 NON-STRICT, close UNCLEAN: cut"], allowed=["1.1.1"])

    def test_an_allowance_that_is_not_needed_is_remarked(self):
        remark = "1.1.1 is allowed to be NON-STRICT but is not"
        self.check({"1.1.1": OK}, [], allowed=["1.1.1"], remarks=[remark])

    def test_a_missing_case_fails_by_name(self):
        self.check(
            {"1.1.1": OK},
            ["section 1, not in the report: 1.1.2, 1.2.1", "section 2, not in the report: 2.1"],
            ["1.1.1", "1.1.2", "1.2.1", "2.1"],
            allowed=["2.1"],
        )

    def test_a_run_of_no_case_fails(self):
        self.check({}, ["no case was asked for"], [])

    def test_a_case_that_nobody_asked_for_fails(self):
        self.check({"1.1.1": OK, "12.1.1": OK}, ["12.1.1 ran but was not asked for"])

    def test_the_table_counts_by_section(self):
        outcomes = {
            "1.1.1": OK,
            "1.1.2": Outcome("FAILED", "OK"),
            "2.1": Outcome("NON-STRICT", "OK"),
        }
        table = judge(["1.1.1", "1.1.2", "2.1", "2.2"], outcomes, {}).table
        self.assertEqual(
            [line.split() for line in table.splitlines()],
            [
                ["section", "cases", "ok", "info", "non-strict", "bad", "missing"],
                ["1", "framing", "2", "1", "0", "0", "1", "0"],
                ["2", "pings", "and", "pongs", "2", "0", "0", "1", "0", "1"],
                ["all", "4", "1", "0", "1", "1", "1"],
            ],
        )


class CasesTest(unittest.TestCase):
    def test_the_suite_has_its_301_cases_in_the_sections_asked_for(self):
        self.assertEqual(len(ALL_CASES), 301)
        self.assertEqual(len(set(ALL_CASES)), 301)

    def test_a_pattern_takes_a_section_and_not_its_namesakes(self):
        self.assertEqual(len(select(["1.*"])), 16)
        self.assertEqual(select(["10.*", "9.1.1"]), ["9.1.1", "10.1.1"])


class AllowedTest(unittest.TestCase):
    def test_entries_are_a_case_and_a_reason(self):
        self.assertEqual(read_allowed("# why\n\n6.4.3  cut  short\n"), {"6.4.3": "cut  short"})

    def test_a_malformed_entry_is_refused_by_line(self):
        for text, complaint in [
            ("6.4.3", "line 1: case 6.4.3 has no reason"),
            ("\n6.4.9 why", "line 2: there is no case 6.4.9"),
            ("2.1 a\n2.1 b", "line 2: case 2.1 is listed twice"),
        ]:
            with self.assertRaises(ValueError) as raised:
                read_allowed(text)
            self.assertEqual(str(raised.exception), complaint)


class ReportTest(unittest.TestCase):
    def test_outcomes_are_joined_with_their_explanations(self):
        with tempfile.TemporaryDirectory() as directory:
            entry = {"behavior": "OK", "behaviorClose": "WRONG CODE", "remoteCloseCode": 1002}
            index = {"echo": {"2.1": {**entry, "reportfile": "case.json"}}}
            Path(directory, "index.json").write_text(json.dumps(index))
            detail = {"result": "Fine.", "resultClose": "Not so."}
            Path(directory, "case.json").write_text(json.dumps(detail))
            self.assertEqual(
                read_report(directory),
                {"2.1": Outcome("OK", "WRONG CODE", "Fine. Not so. (close code 1002)")},
            )

    def test_an_absent_report_has_no_outcomes(self):
        with tempfile.TemporaryDirectory() as directory:
            self.assertEqual(read_report(directory), {})
