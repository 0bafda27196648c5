"""Rate cards and look-ups; event → charge. Pure functions from frames to frames.

``card``    what the CSV files hold, and whether they can be trusted
``charge``  quantities, increments and amounts of each event, by the longest prefix (`etl.prefixes`)
``monthly`` what is charged by the month and not by the event
``tiers``   ladders: what a month's usage costs by its quantity
``diff``    two rate cards compared
"""
