"""Values the tests of the sandbox share: the provider's moment in them, and the path all resources begin with."""

from datetime import date, time

from sandbox.traffic import clock_at

NOW = "2026-11-08T20:30:07Z"
CLOCK = clock_at(date(2026, 11, 8), time(20, 30, 7))
BASE = "/2010-04-01/Accounts"
