"""
`policyc serve` under load, beside what else puts a policy behind HTTP. `python -m benchmarks.http` measures.
"""
