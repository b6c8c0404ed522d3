"""EXPORT.json."""

from __future__ import annotations

import json
import math

from inlay.adapters.export.report import Check, Report, versions_of


def report(*checks: Check) -> Report:
    return Report(
        target="hf", adapter="mine", system="llava", options={}, versions={}, checks=checks, notes=(), facts={}
    )


def test_a_check_holds_what_was_measured_and_allowed() -> None:
    held = json.loads(report(Check.within("logits", 2e-6, 1e-4, compared=3)).text())
    assert held["checks"] == [
        {"name": "logits", "passed": True, "compared": 3, "difference": 2e-6, "allowed": 1e-4, "detail": ""}
    ]


def test_not_a_number_does_not_pass_and_is_valid_json() -> None:
    check = Check.within("logits", math.nan, 1.0)
    assert not check.passed
    assert json.loads(report(check).text(), parse_constant=lambda text: 1 / 0)["checks"][0]["difference"] == "nan"


def test_versions_of_packages_that_are_not_installed_are_left_out() -> None:
    assert {"inlay", "torch"} <= set(versions_of(["no-such-package"])) <= {"inlay", "torch"}
