"""outspool: a durable, honest, safe outbox for agents.

The layers, from the top; imports go down only::

    cli                        commands
    app                        composition root: settings → a running outspool
    tools · http · adapters    faces and adapters; they never see each other
    services                   outbox (accept …), dispatcher (claim → deliver → record), composer (email → message)
    ports                      EmailStore, Queue, BlobStore, Transport, Clock …: what services need from outside
    domain                     email, status, transition, settlement, policy, schedule …: pure
    errors                     every deliberate error

Beside them stand `settings`, which only `cli` and `app` read, and `templates/`, the templates that come along.
"""

__version__ = "0.1.0"
