"""outspool: a durable outbox that lets agents send email safely.

The layers, from the top; imports only go down:

- `cli`: commands
- `app`: composition root, from settings to a running outspool
- `mcp`, `http` and `adapters`: faces and adapters, which never import each other
- `api`: requests and results that all faces share
- `services`: acceptance (request to stored email), delivery (claim, deliver, record), templates, doctor
- `message` and `ports`: composing; Protocols for what services need from outside
- `domain`: email, status, transition, settlement, policy, schedule: pure
- `errors`: every deliberate error

`templates/` holds the templates that come with outspool.
"""

__version__ = "0.1.0"
