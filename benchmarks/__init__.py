"""
Measurements of generated predictors, side by side with their peers: `python -m benchmarks`.
"""
