"""
The servers that `policyc serve` is measured against, each written as its own documentation shows.

All answer `POST /predict` alike: `{"observation": [...]}` with `{"action": 1}`, `{"observations": [[...], ...]}` with
`{"actions": [1, ...]}`, and float32 little endian as `application/octet-stream` with the actions as int64.
"""
