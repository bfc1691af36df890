"""
Predictors behind HTTP: `policyc serve`.

    settings.py      what the command line decides

  Processes
    server.py        the master: begins, replaces and ends workers, takes signals
    slots.py         the places of workers
    worker.py        a worker: loads packages, answers until it is told to end
    watch.py         finds workers that hang
    http.py          granian, in a worker
    listening.py     sockets
    certificate.py   certificates
    processors.py    how workers and threads share the machine
    started.py       what is said once the server answers
    logs.py          a line for each request
    metrics.py       what workers count, in memory that they share
    exposition.py    the same as Prometheus reads it

  Requests
    application.py   a request's way: route, limits, handler, answer
    bodies.py        its body, within limits
    handlers.py      what answers it, at once or in turn
    batching.py      what waits together is computed together
    answers.py       what goes back
    refusals.py      what is wrong with a request, in words
    requests.py      types of JSON, and the arrays that come in them
    encoded.py       arrays as base64
    observations.py  the same for spaces
    states.py        a recurrent model's memory as a text
    sessions.py      the same, kept here
    tensors.py       tensors of the Open Inference Protocol
    inference_v2.py  models as such tensors
    openapi.py       all of it as a document
    schemas.py       pieces of its schemas
    pages.py         the page, and page/ its files
    wasm.py          builds for WebAssembly that the page plays

  Models
    models.py        the packages that are served, under their names
    endpoint.py      what the server needs of one
    policies.py      a policy: its requests, what it computes, its answers
    programs.py      the same for a PyTorch program

granian (RSGI) speaks HTTP, msgspec reads and writes JSON. Nothing of the compiler is needed to serve a package.
"""
