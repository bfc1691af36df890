"""
policyc: compiles trained policies into predictors.
"""

__version__ = "0.1.0"
