"""
`python -m compiler.cli` is `policyc`.
"""

from compiler.cli import main

if __name__ == "__main__":
    main()
