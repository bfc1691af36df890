"""
The hostile files of the project, made in memory and always the same: `HOSTILE` has them all by name.

Rows are those of the list of hostile inputs that policyc survives: 1 to 14 and 16 to 18. No binary file is kept.
"""

from tests.hostile import pickle_cases, policy_cases, tensor_cases, vecnormalize_cases, zip_cases
from tests.hostile.case import HostileCase

HOSTILE: dict[str, HostileCase] = {
    **pickle_cases.EXECUTED,
    **zip_cases.CASES,
    **tensor_cases.CASES,
    **policy_cases.CASES,
    **vecnormalize_cases.CASES,
}
