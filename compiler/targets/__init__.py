"""
What becomes of generated sources: each target is one module here, with its templates.
"""
