"""outspool: a durable, honest, safe outbox for agents.

The layers, from the top; imports go down only::

    cli                        commands
    app                        composition root: settings → a running outspool
    tools · http · adapters    faces and adapters; they never see each other
    services                   outbox (accept …), dispatcher (claim → deliver → record), composer (email → bytes)
    ports                      EmailStore, Transport, Alarm, Clock
    domain                     email, status, transition, delivery, policy, retry, schedule: pure
    errors                     every deliberate error
"""

__version__ = "0.1.0"
