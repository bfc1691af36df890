"""
Predictors behind HTTP: `policyc serve`.

    settings.py      what the command line decides
    server.py        the process around everything: granian's master and its workers, signals, reloading
    application.py   a request's way: route, limits, handler, answer
    models.py        the packages that are served, under their names
    policies.py      a policy: its requests, what it computes, its answers
    programs.py      the same for a PyTorch program
    requests.py      types of JSON made from spaces; arrays that come as text or bytes

granian (RSGI) speaks HTTP, msgspec reads and writes JSON. Nothing of the compiler is needed to serve a package.
"""
